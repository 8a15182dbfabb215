// The closed list of error codes. An operator meets these in logs, dead letters, HTTP answers and metrics; a code is
// never renamed, and each says what to do next in README.md ("Error codes").

export type ErrorCode =
  // A record that cannot be taken: it goes to `dead-letters` under this code, and its partition goes on.
  | 'VALUE_MISSING'
  | 'VALUE_TOO_LARGE'
  | 'KEY_MISSING'
  | 'KEY_MISMATCH'
  | 'WRONG_PARTITION'
  | 'UNDECODABLE'
  | 'SCHEMA_UNKNOWN'
  | 'SCHEMA_MISMATCH'
  | 'FILTER_INVALID'
  | 'TOPIC_INVALID'
  | 'CLIENT_INVALID'
  | 'BROKER_INVALID'
  | 'QOS_INVALID'
  | 'TIMESTAMP_INVALID'
  | 'METRIC_INVALID'
  | 'SHARD_INVALID'
  // An HTTP request that cannot be answered.
  | 'REQUEST_INVALID'
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'NOT_READY'
  | 'OWNER_UNREACHABLE'
  | 'TOO_MANY_REQUESTS'
  // The log, the stores, the process.
  | 'CONFIG_INVALID'
  | 'CATALOG_INVALID'
  | 'TRACE_INVALID'
  | 'PROTOCOL_INVALID'
  | 'OUTPUT_UNWRITABLE'
  | 'WEIGHTS_INVALID'
  | 'TOPOLOGY_INVALID'
  | 'TOPIC_MISCONFIGURED'
  | 'TASK_FENCED'
  | 'COMMIT_UNKNOWN'
  | 'LOG_UNAVAILABLE'
  | 'INPUT_TRUNCATED'
  | 'RECORDS_CORRUPT'
  | 'STORE_CLOSED'
  | 'STORE_CORRUPT'
  | 'STORE_FORMAT'
  | 'STORE_UNAVAILABLE'
  | 'SHARD_UNKNOWN'
  | 'SHARD_LOST'
  | 'FLEET_MISMATCH'
  | 'REGISTRY_UNAVAILABLE'
  | 'POINTER_STALE'
  | 'STOPPED';

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

/** An expected "no" to one record: a value, not an exception. */
export interface Refusal {
  readonly code: ErrorCode;
  /** One sentence for an operator; names the field and the value's kind, never a secret. */
  readonly reason: string;
}

/** A bug, not an outcome: nobody catches it, the process stops. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
