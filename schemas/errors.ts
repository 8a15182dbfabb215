// The closed list of error codes. Operators see them in logs, dead letters, HTTP answers and metrics; a code is
// never renamed. Each says what happened and what to do next; docs/errors.md is generated from this list.
interface ErrorHelp {
  readonly happened: string;
  readonly action: string;
}

/** Every code, by where it occurs. */
export const ERROR_CODES = {
  /** The record goes to `dead-letters` under this code, and its partition goes on. */
  record: {
    VALUE_MISSING: { happened: 'A record has no value.', action: 'Fix the producer.' },
    VALUE_TOO_LARGE: {
      happened:
        'A value is larger than 1 MiB after decompression, or Kafka refuses a record of Foreshard as too large.',
      action: 'Fix the producer; or raise `max.message.bytes` of the topic that the message names.',
    },
    KEY_MISSING: { happened: 'A record has no key.', action: 'Fix the producer.' },
    KEY_MISMATCH: {
      happened: 'The key is not the topic filter of the event.',
      action: 'Let the producer use the topic filter as key.',
    },
    WRONG_PARTITION: {
      happened: 'The record is not in the partition that murmur2 gives its key.',
      action:
        'Set the producer’s partitioner to murmur2. librdkafka, and the clients built on it: `partitioner=murmur2_random` (its default is CRC32). Sarama: `NewMurmur2Partitioner` (its default is FNV-1a). kafkajs 2: `Partitioners.DefaultPartitioner`, which is the default, and not `LegacyPartitioner`. Java, franz-go, aiokafka and kafka-python put keys there by default.',
    },
    UNDECODABLE: {
      happened: 'The bytes cannot be decoded as a record of the topic.',
      action: 'Look at the dead letter; fix the producer.',
    },
    SCHEMA_UNKNOWN: {
      happened: 'The registry does not know the schema id in the record.',
      action: 'Register the schema, then replay the dead letter.',
    },
    SCHEMA_MISMATCH: {
      happened: 'The schema that the record was written with is not compatible with Foreshard’s.',
      action: 'Upgrade Foreshard before the producer, or fix the schema.',
    },
    FILTER_INVALID: { happened: 'A topic filter is not valid in MQTT 5.', action: 'Fix the client.' },
    TOPIC_INVALID: { happened: 'A topic name is not valid in MQTT 5.', action: 'Fix the client.' },
    CLIENT_INVALID: { happened: 'The client id is empty or too long.', action: 'Fix the producer.' },
    BROKER_INVALID: { happened: 'The broker id is too long, or not printable.', action: 'Fix the producer.' },
    QOS_INVALID: { happened: 'The QoS is not 0, 1 or 2.', action: 'Fix the producer.' },
    OPTIONS_INVALID: {
      happened: 'A subscription option is out of its bounds, or a shared subscription has `noLocal`.',
      action: 'Fix the producer; a broker that follows MQTT 5 has refused such a SUBSCRIBE (0x82) itself.',
    },
    SESSION_INVALID: {
      happened: 'A session epoch is not a whole number of 0 or more.',
      action: 'Fix the producer.',
    },
    TIMESTAMP_INVALID: {
      happened: 'A time is not in milliseconds since 1970.',
      action: 'Fix the producer; seconds and microseconds are the usual mistakes.',
    },
    METRIC_INVALID: { happened: 'A field of a metric is out of its bounds.', action: 'Fix the exporter.' },
    SHARD_INVALID: {
      happened: 'A shard id is not 1 to 128 letters, digits, `_`, `.` or `-`.',
      action: 'Fix the exporter.',
    },
  },

  /** An HTTP request that cannot be answered. */
  request: {
    REQUEST_INVALID: {
      happened: 'A request or a command is not valid, or cannot be carried out now; `field` names the place.',
      action: 'Fix the request as the message says.',
    },
    UNAUTHORIZED: {
      happened: 'The request has no token, or one that is not configured.',
      action: 'Send a token that is configured.',
    },
    FORBIDDEN: {
      happened: 'The token allows reading only, and the request changes something.',
      action: 'Send the admin token.',
    },
    NOT_FOUND: {
      happened: 'The route, or what was asked for, does not exist.',
      action: 'See `GET /` for the routes, or list what exists.',
    },
    NOT_READY: {
      happened: 'Tasks are being given to instances, or their state is being restored.',
      action: 'Try again in a moment; `/readyz` shows the progress.',
    },
    OWNER_UNREACHABLE: {
      happened: 'The instance that owns the key did not answer, or advertises no address.',
      action: 'Look at that instance; set `FORESHARD_HTTP_ADVERTISED` on each.',
    },
    TOO_MANY_REQUESTS: {
      happened: 'Too many wrong tokens came from one address.',
      action: 'Wait for the time that `Retry-After` gives.',
    },
  },

  /** A setting or a file that an operator provided. The message names the field or the line. */
  given: {
    CONFIG_INVALID: { happened: 'A setting is wrong, or two contradict each other.', action: 'Fix the setting.' },
    CATALOG_INVALID: { happened: 'A field of the catalogue is wrong.', action: 'Fix the catalogue.' },
    TRACE_INVALID: { happened: 'A line of a trace is wrong, or a series is not in it.', action: 'Fix the trace.' },
    PROTOCOL_INVALID: { happened: 'A field of a protocol or score file is wrong.', action: 'Fix the file.' },
    OUTPUT_UNWRITABLE: {
      happened: 'An output file cannot be written. This is checked before the work begins.',
      action: 'Check that the folder exists and may be written to.',
    },
    WEIGHTS_INVALID: {
      happened: 'The weights of the LSTM cannot be read, or are not all finite numbers.',
      action: 'Write them again with `foreshard train --out FILE`, or use the built-in ones.',
    },
  },

  /** The log, the stores, the process. */
  process: {
    TOPOLOGY_INVALID: { happened: 'The topology contradicts itself: a bug.', action: 'Report it.' },
    TOPIC_MISCONFIGURED: {
      happened: 'A topic is missing, or has another number of partitions or another clean-up policy than it needs.',
      action: 'Create or change the topic as the message says.',
    },
    TASK_FENCED: {
      happened: 'Another instance has this task now; the commit had no effect.',
      action: 'Nothing: that instance continues from the last commit.',
    },
    COMMIT_UNKNOWN: {
      happened: 'It is not known whether a commit took effect.',
      action: 'Nothing: the task restarts from its last commit, and finds out.',
    },
    LOG_UNAVAILABLE: {
      happened: 'Kafka does not answer (everything waits for it), or the embedded log cannot be read or written.',
      action: 'Look at Kafka, or at the disk.',
    },
    INPUT_TRUNCATED: {
      happened:
        'Records were deleted from Kafka before they were read, a changelog is gone, or a log is not the one that was read before.',
      action: 'See the runbook: when subscriptions are lost, a person has to consent before the process continues.',
    },
    RECORDS_CORRUPT: {
      happened: 'The checksum of a batch in Kafka does not match. Its partition waits, and nothing is skipped.',
      action: 'Check the disk of the partition’s leader; make another replica the leader, and reading continues.',
    },
    STORE_CLOSED: { happened: 'A store was used after it was closed: a bug.', action: 'Report it.' },
    STORE_CORRUPT: {
      happened: 'What a store holds does not match its checksums.',
      action:
        'Local state: nothing, it is rebuilt from the changelog. A shard or an embedded log: restore its folder. An outbox: put its folder aside; the broker’s clients subscribe anew.',
    },
    STORE_FORMAT: {
      happened: 'A store was written by another version, or by another `FORESHARD_STORE_ENGINE`.',
      action: 'Local state: nothing, it is rebuilt. A shard or an embedded log: start the version that wrote it.',
    },
    STORE_UNAVAILABLE: {
      happened: 'The store of a shard does not answer, or its disk refuses reads or writes.',
      action: 'Bring the shard server or the disk back; waiting tasks then continue by themselves.',
    },
    OUTBOX_FULL: {
      happened: 'As many events as a broker’s outbox may hold wait for the log; this one is refused.',
      action:
        'Bring Kafka back. The broker refuses the SUBSCRIBE or CONNECT meanwhile; a larger outbox bridges a longer time.',
    },
    OUTBOX_UNAVAILABLE: {
      happened: 'The folder of a broker’s outbox cannot be read or written, or another process has it.',
      action: 'Look at the disk; give each broker a folder of its own.',
    },
    SHARD_UNKNOWN: {
      happened: 'No store and no shard server has this shard.',
      action: 'Bring back the one that has it, or add it to `FORESHARD_SHARD_SERVERS`.',
    },
    SHARD_LOST: {
      happened:
        'The data of a shard that was in use is gone or empty, or another store is in its place. Nothing is read from it or written to it.',
      action:
        'None, where the subscription table is whole: what it held is rebuilt on another shard. Elsewhere put its folder back from a copy.',
    },
    FLEET_MISMATCH: {
      happened: 'A shard was made for a fleet with another number of partitions, or with topics of another name.',
      action: 'Give the fleet its own shard server, or correct `FORESHARD_PARTITIONS` or `FORESHARD_TOPIC_PREFIX`.',
    },
    REGISTRY_UNAVAILABLE: {
      happened: 'The schema registry does not answer; a running process waits for it.',
      action: 'Bring it back.',
    },
    POINTER_STALE: {
      happened: 'A reader was redirected again after waiting twice for a newer pointer table.',
      action: 'Let the reader catch up; check that it can read the `pointer-table` topic.',
    },
    STOPPED: {
      happened: 'A component was used after it had been stopped.',
      action: 'Report it, unless it happened during a shutdown.',
    },
  },
} as const satisfies Record<string, Record<string, ErrorHelp>>;

type Groups = typeof ERROR_CODES;
export type ErrorCode = { [Group in keyof Groups]: keyof Groups[Group] }[keyof Groups];

/** A failure an operator can act on: a stable code, one sentence, the facts, the cause. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, facts: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
  }
}

/** An expected refusal of one record: a value, not an exception. */
export interface Refusal {
  readonly code: ErrorCode;
  /** One sentence for an operator; names the field and the value's kind, never a secret. */
  readonly reason: string;
}

/** A bug, not an outcome: nobody catches it, the process stops. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
