// Telemetry: pino writes log lines, prom-client holds metrics. Every metric is declared here, with its labels.
//
//   T1. One call writes one line: control characters in a message are escaped, so no text can forge a line or move a
//       terminal's cursor.
//   T2. Labels have closed sets of values; a metric that is not declared is not kept; beyond SERIES_MAX combinations of
//       labels of one metric, the label values become `other`. So memory is bounded whatever is reported.
//   T3. Secrets are not written: fields with the usual names are redacted, and a Secret prints as ***.

import { pino } from 'pino';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Labels, Logger, Meter, Sample } from '../telemetry.ts';

export interface LogSettings {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Log lines for people, instead of JSON. */
  readonly pretty: boolean;
  /** Where lines are written; standard error by default, so that a command's output is not mixed with them. */
  readonly destination?: { write(line: string): void };
}

export function createLogger(settings: LogSettings): Logger {
  const options = {
    level: settings.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err, cause: pino.stdSerializers.err },
    hooks: { streamWrite: (line: string) => line.replace(/[\u007f-\u009f\u2028\u2029]/g, escapedChar) }, // JSON lets them pass.
    redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: '***' },
  };
  const lines =
    settings.destination !== undefined
      ? pino(options, settings.destination)
      : settings.pretty
        ? pino({ ...options, transport: { target: 'pino-pretty', options: { destination: 2 } } })
        : pino(options, pino.destination({ dest: 2, sync: true }));
  return {
    debug: (facts, message) => lines.debug(facts, escaped(message)),
    info: (facts, message) => lines.info(facts, escaped(message)),
    warn: (facts, message) => lines.warn(facts, escaped(message)),
    error: (facts, message) => lines.error(facts, escaped(message)),
  };
}

const REDACTED = ['password', 'token', 'authorization', 'secret', 'readToken', 'adminToken', 'saslPassword'];

const escapedChar = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
/** Escapes twice: a tool that prints the parsed JSON line on a terminal then prints the escape, not the character. */
const escaped = (message: string): string => message.replace(/[\p{Cc}\u2028\u2029]/gu, escapedChar);

interface Declared {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly string[];
  readonly buckets?: readonly number[];
}

/** From a local commit (2 ms) to one during an election of Kafka's brokers (30 s). */
const SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** All metrics; a test checks that the sources use no other. */
export const METRICS: Readonly<Record<string, Declared>> = {
  foreshard_consumed_total: { kind: 'counter', help: 'Records read.', labels: ['group', 'topic'] },
  foreshard_stepped_total: { kind: 'counter', help: 'Records that stages processed.', labels: ['group', 'topic'] },
  foreshard_applied_total: { kind: 'counter', help: 'Subscription rows that changed something in a shard.' },
  foreshard_stale_total: {
    kind: 'counter',
    help: 'Subscription rows that changed nothing: the shard had the same or a newer version.',
  },
  foreshard_foreign_removals_total: {
    kind: 'counter',
    help: 'Unsubscribes by a broker that no longer held the subscription: the client had subscribed through another.',
  },
  foreshard_superseded_total: {
    kind: 'counter',
    help: 'Events of a session that the client had left for a later one: they came late and changed nothing.',
  },
  foreshard_spilled_rows: {
    kind: 'gauge',
    help: 'Writes that wait on disk for a shard that does not answer.',
    labels: ['shard'],
  },
  foreshard_spill_alarms_total: {
    kind: 'counter',
    help: 'How often the writes waiting for a shard reached half of their limit, or the limit.',
    labels: ['shard', 'spill'],
  },
  foreshard_duplicate_total: {
    kind: 'counter',
    help: 'Records that were delivered again and skipped.',
    labels: ['group', 'topic'],
  },
  foreshard_refused_total: { kind: 'counter', help: 'Records refused, by reason.', labels: ['topic', 'code'] },
  foreshard_refused_commands_total: {
    kind: 'counter',
    help: 'Commands refused: no planner can have sent them, or what they would destroy is in use.',
    labels: ['reason'],
  },
  foreshard_refused_pointers_total: {
    kind: 'counter',
    help: 'Records of the pointer table refused: no planner can have written them.',
    labels: ['reason'],
  },
  foreshard_refused_records_total: { kind: 'counter', help: 'Records refused, by group.', labels: ['group', 'topic'] },
  foreshard_dead_lettered_total: { kind: 'counter', help: 'Refused records kept in dead-letters.' },
  foreshard_commits_total: { kind: 'counter', help: 'Commits.', labels: ['group'] },
  foreshard_commit_seconds: {
    kind: 'histogram',
    help: 'Duration of a commit, without its effects on shards.',
    labels: ['group'],
    buckets: SECONDS,
  },
  foreshard_lag_records: {
    kind: 'gauge',
    help: 'Records of a partition that are not consumed yet, as the log says; absent while unknown. Reported by the instance that has the task, and by every instance when none is known to have it.',
    labels: ['group', 'topic', 'partition'],
  },
  foreshard_standing_partitions: {
    kind: 'gauge',
    help: 'Partitions with records to consume whose position does not move, on any instance.',
    labels: ['group'],
  },
  foreshard_restored_records_total: { kind: 'counter', help: 'State records restored.', labels: ['group'] },
  foreshard_restore_percent: { kind: 'gauge', help: 'Percentage of local state that has been restored.' },
  foreshard_effects_seconds: {
    kind: 'histogram',
    help: 'Duration of the effects of one commit on shards.',
    labels: ['group'],
    buckets: SECONDS,
  },
  foreshard_store_waiting_seconds: {
    kind: 'gauge',
    help: 'How long a task has waited for a shard whose store does not answer; absent for tasks that wait for none.',
    labels: ['group', 'partition'],
  },
  foreshard_damaged_batches_total: {
    kind: 'counter',
    help: 'Batches in Kafka whose checksum did not match, even when fetched again.',
    labels: ['topic'],
  },
  foreshard_input_truncated_total: {
    kind: 'counter',
    help: 'Times that reading could not continue at its position because records were gone, before or after they were read.',
    labels: ['topic'],
  },
  foreshard_effect_retries_total: {
    kind: 'counter',
    help: 'Effects on shards repeated because a store did not answer.',
  },
  foreshard_shards_lost: { kind: 'gauge', help: 'Shards whose data this process found to be lost.' },
  foreshard_moves_waiting: {
    kind: 'gauge',
    help: 'Moves that wait for their source, which does not answer: either before the switch, where somebody may abort them, or because it did not answer at the switch itself.',
    labels: ['shard'],
  },
  foreshard_slices_left: {
    kind: 'gauge',
    help: 'Slices that moved away from a shard while it did not answer, and whose rows there have yet to be erased.',
    labels: ['shard'],
  },
  foreshard_slices_left_total: {
    kind: 'counter',
    help: 'Moves that ended without one of their shards, which did not answer.',
    labels: ['shard'],
  },
  foreshard_forgotten_total: {
    kind: 'counter',
    help: 'Subscriptions that ended long ago, with their session, and are no longer remembered in the subscription table.',
  },
  foreshard_fill_rows_total: {
    kind: 'counter',
    help: 'Rows of shards that were read to fill the subscription table, where it was not kept from the first event on.',
  },
  foreshard_partial_tables: {
    kind: 'gauge',
    help: 'Partitions of this process whose subscription table is incomplete, so that their shards are neither checked nor rebuilt.',
  },
  foreshard_checked_rows_total: {
    kind: 'counter',
    help: 'Rows of shards that were compared with the subscription table.',
  },
  foreshard_mended_rows_total: {
    kind: 'counter',
    help: 'Rows of shards that differed from the subscription table and were corrected by a check.',
  },
  foreshard_check_age_seconds: {
    kind: 'gauge',
    help: 'How long ago the last complete pass of the continuous check ended, for the partition of this process where it is longest ago.',
  },
  foreshard_check_differences: {
    kind: 'gauge',
    help: 'What the last pass of the continuous check found: rows that are missing, extra, different or stray (in the wrong shard), and slices that could not be checked (unchecked).',
    labels: ['kind'],
  },
  foreshard_snapshot_failures_total: {
    kind: 'counter',
    help: 'Snapshots of trie shards that could not be written to the disk.',
  },
  foreshard_session_events_total: {
    kind: 'counter',
    help: 'Subscriptions that were removed or moved because a session has ended or changed its broker.',
    labels: ['action'],
  },
  foreshard_session_operations_total: {
    kind: 'counter',
    help: 'Operations on the sessions of a broker that a partition has finished, by cause (broker lost, restarted or back) and by how they ended.',
    labels: ['action', 'state'],
  },
  foreshard_session_operations: {
    kind: 'gauge',
    help: 'Operations on the sessions of a broker that are under way in a partition of this instance.',
    labels: ['action'],
  },
  foreshard_session_work: {
    kind: 'gauge',
    help: 'Clients whose subscriptions are still to be removed or moved, in the partitions of this instance.',
  },
  foreshard_session_records_ignored_total: {
    kind: 'counter',
    help: 'Session records that changed nothing: repeated, or too late to have an effect.',
  },
  foreshard_moves: { kind: 'gauge', help: 'Moves, by state.', labels: ['state'] },
  foreshard_operation_cost: {
    kind: 'gauge',
    help: 'Assumed cost of a visit, match, subscribe, unsubscribe, or an entry each second, in operations of the catalogue.',
    labels: ['store_kind', 'operation'],
  },
  foreshard_memory_footprint: {
    kind: 'gauge',
    help: 'Assumed memory of a store without a disk: base, as a share of an instance; bytes for an entry; bytes for a byte of rows.',
    labels: ['store_kind', 'part'],
  },
  foreshard_decisions_total: { kind: 'counter', help: 'Decisions of the planner.', labels: ['kind'] },
  foreshard_forecasts_total: { kind: 'counter', help: 'Forecasts made.', labels: ['model'] },
  foreshard_series: { kind: 'gauge', help: 'Series with a history.' },
  foreshard_series_distrusted: {
    kind: 'gauge',
    help: 'Series whose forecast is not trusted, by signal: they are planned from measurements.',
    labels: ['signal'],
  },
  foreshard_forecast_error_ratio: {
    kind: 'gauge',
    help: 'Recent error one minute ahead, divided by that of the seasonal naive forecast; median of all series, by signal.',
    labels: ['signal'],
  },
  foreshard_forecast_coverage: {
    kind: 'gauge',
    help: 'Share of minutes at or below the 0.95 quantile forecast fifteen minutes before; mean of all series, by signal.',
    labels: ['signal'],
  },
  foreshard_fits_pending: { kind: 'gauge', help: 'Model fits that wait or run.' },
  foreshard_fit_seconds: { kind: 'histogram', help: 'Duration of a fit, waiting included.', buckets: SECONDS },
  foreshard_fit_failures_total: { kind: 'counter', help: 'Fits that failed.' },
  foreshard_http_requests_total: { kind: 'counter', help: 'HTTP requests.', labels: ['route', 'status'] },
  foreshard_http_seconds: {
    kind: 'histogram',
    help: 'Duration of HTTP requests.',
    labels: ['route'],
    buckets: SECONDS,
  },
  foreshard_http_bad_tokens_total: { kind: 'counter', help: 'HTTP requests with a wrong token.' },
};

/** More than partitions times topics of a large fleet. */
const SERIES_MAX = 20_000;

export interface Telemetry {
  readonly meter: Meter;
  /** Prometheus text. */
  text(): Promise<string>;
}

/** `processMetrics`: also report memory, event loop and garbage collection of this process. */
export function createTelemetry(logger: Logger, processMetrics = true): Telemetry {
  const registry = new Registry();
  if (processMetrics) collectDefaultMetrics({ register: registry, prefix: 'foreshard_' });
  const metrics = new Map(
    Object.entries(METRICS).map(([name, declared]) => [name, metricOf(name, declared, registry)]),
  );
  const unknown = new Set<string>();
  const named = (name: string): Metric | undefined => {
    const metric = metrics.get(name);
    if (metric === undefined && unknown.size < 100 && !unknown.has(name)) {
      unknown.add(name);
      logger.warn({ name }, 'an undeclared metric was reported and is not kept');
    }
    return metric;
  };
  return {
    meter: {
      add: (name, by, labels) => named(name)?.add(by, labels),
      set: (name, value, labels) => named(name)?.set(value, labels),
      observe: (name, value, labels) => named(name)?.observe(value, labels),
      replace: (name, series) => named(name)?.replace(series),
    },
    text: () => registry.metrics(),
  };
}

interface Metric {
  add(by: number, labels?: Labels): void;
  set(value: number, labels?: Labels): void;
  observe(value: number, labels?: Labels): void;
  replace(series: readonly Sample[]): void;
}

const nothing = (): void => {};

function metricOf(name: string, declared: Declared, registry: Registry): Metric {
  const { kind, help, labels: labelNames = [] } = declared;
  const own = { name, help, labelNames: [...labelNames], registers: [registry] };
  const bounded = bounder(labelNames);
  if (kind === 'counter') {
    const counter = new Counter(own);
    return {
      add: (by, labels) => (by >= 0 && Number.isFinite(by) ? counter.inc(bounded(labels), by) : undefined),
      set: nothing,
      observe: nothing,
      replace: nothing,
    };
  }
  if (kind === 'gauge') {
    const gauge = new Gauge(own);
    return {
      add: (by, labels) => gauge.inc(bounded(labels), by),
      set: (value, labels) => gauge.set(bounded(labels), value),
      observe: nothing,
      replace(series) {
        gauge.reset();
        const anew = bounder(labelNames);
        for (const { value, labels } of series) gauge.set(anew(labels), value);
      },
    };
  }
  const histogram = new Histogram({ ...own, buckets: [...(declared.buckets ?? SECONDS)] });
  return {
    add: nothing,
    set: nothing,
    observe: (value, labels) => histogram.observe(bounded(labels), value),
    replace: nothing,
  };
}

/** Keeps only declared labels, and replaces all values by `other` when there are too many combinations (T2). */
function bounder(names: readonly string[]): (labels: Labels | undefined) => Record<string, string> {
  const seen = new Set<string>();
  return (labels) => {
    const values = names.map((name) => labels?.[name] ?? '');
    const key = values.join('\u0000');
    if (!seen.has(key)) {
      if (seen.size >= SERIES_MAX) return Object.fromEntries(names.map((name) => [name, 'other']));
      seen.add(key);
    }
    return Object.fromEntries(names.map((name, at) => [name, values[at]!]));
  };
}
