// Telemetry: contracts for logging and metrics, free of I/O. pino and prom-client implement them under edge/.

/** One line for an operator: what happened, to what, and what to do next; with the facts as fields. */
export interface Logger {
  debug(facts: Readonly<Record<string, unknown>>, message: string): void;
  info(facts: Readonly<Record<string, unknown>>, message: string): void;
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
  error(facts: Readonly<Record<string, unknown>>, message: string): void;
}

/** Label values are from closed lists (stage, topic, code, state names): never a topic filter or a client id. */
export type Labels = Readonly<Record<string, string>>;

/** Counters, gauges and histograms by their Prometheus name (`foreshard_…`), declared once in edge/telemetry.ts. */
export interface Meter {
  add(name: string, by: number, labels?: Labels): void;
  set(name: string, value: number, labels?: Labels): void;
  observe(name: string, value: number, labels?: Labels): void;
  /** Sets all series of a gauge; series that are not in the list are removed. */
  replace(name: string, series: readonly Sample[]): void;
}

export interface Sample {
  readonly value: number;
  readonly labels: Labels;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
export const silentMeter: Meter = { add() {}, set() {}, observe() {}, replace() {} };
