// Step: the contract of a processor. A step is synchronous, total and free of I/O: the same rows and input give the
// same rows and emits. The runner (runtime/runner.ts) loads the rows and writes the changed ones with the input's
// offset in one commit. After a crash it may run a step again, with the same result, but it never skips one.

import type { Offset, Partition } from '../schemas/ids.ts';

/**
 * A record as a step gets it: decoded and checked, with its position in the input. `Topic` distinguishes value types.
 */
export interface Input<Topic extends string, Value> {
  readonly topic: Topic;
  /** Partition it was read from. For local topics: the task's own number. */
  readonly partition: Partition;
  readonly offset: Offset;
  readonly key: string;
  readonly value: Value;
}

/**
 * The rows that one stage keeps for one task, all in memory: reads are free, `set` and `delete` mark a row for the next
 * commit. A row may be a mutable object when it is `set` again after each change.
 */
export interface Rows<Row> {
  get(key: string): Row | undefined;
  set(key: string, row: Row): void;
  delete(key: string): void;
  entries(): IterableIterator<[string, Row]>;
  readonly size: number;
  /**
   * How many times the task has been started, this time included: no two starts perform effects under the same number.
   */
  readonly starts?: number;
}

/** A table's name, and how its rows become bytes. A changed layout needs a new version that can read the old one. */
export interface Table<Row> {
  readonly name: string;
  encode(row: Row): Buffer;
  decode(bytes: Buffer): Row;
}

/** Rows as JSON: for rows that are small or seldom written. */
export function jsonTable<Row>(name: string): Table<Row> {
  return {
    name,
    encode: (row) => Buffer.from(JSON.stringify(row), 'utf8'),
    decode: (bytes) => JSON.parse(bytes.toString('utf8')) as Row,
  };
}

/** A record to be written to a topic; `null` removes the key from a compacted one. */
export interface Emit<Topic extends string = string, Value = unknown> {
  readonly topic: Topic;
  readonly key: string;
  readonly value: Value | null;
  /** The partition to write to; by default the one that Kafka's partitioner chooses for the key. */
  readonly partition?: Partition;
}

export const NOTHING: readonly never[] = [];

/** `OnDisk`: for a stage that keeps rows on disk too. */
export type Step<In, Row, Out extends Emit = Emit, OnDisk = never> = (
  rows: Rows<Row>,
  input: In,
  ...disk: [OnDisk] extends [never] ? [] : [DiskRows<OnDisk>]
) => readonly Out[];

/**
 * The rows of a stage where they may not all fit in memory. A step may read only rows that its stage has asked for, and
 * may write any row; it sees its own earlier writes.
 */
export interface DiskRows<Row> {
  get(key: string): Row | undefined;
  page(page: Page): PageOfRows<Row>;
  /** Whether the page was read before the step. */
  hasPage(page: Page): boolean;
  set(key: string, row: Row): void;
  delete(key: string): void;
}

/**
 * At most `limit` rows whose key begins with `prefix` and, where they are given, comes after `after` and before `below`,
 * ascending by UTF-8 bytes.
 */
export interface Page {
  readonly prefix: string;
  readonly after?: string | undefined;
  readonly below?: string | undefined;
  readonly limit: number;
}

export interface PageOfRows<Row> {
  readonly rows: readonly (readonly [key: string, row: Row])[];
  /** True when no rows follow. A page that is not done may be shorter than its limit, or empty. */
  readonly done: boolean;
  /** Where the next page continues. */
  readonly last: string | undefined;
}

/** The rows on disk that a step will read. */
export interface Needs {
  readonly keys?: readonly string[];
  readonly pages?: readonly Page[];
}

export const NEEDS_NOTHING: Needs = {};

/**
 * A table on disk, and the rows of it that each input needs. Rows for the inputs of one batch are read together, before
 * the first is stepped.
 */
export interface OnDisk<Row, In, Kept> {
  readonly table: Table<Kept>;
  readonly needs: (rows: Rows<Row>, input: In) => Needs;
}

export interface StepResult<Row, Out extends Emit = Emit> {
  readonly row: Row | undefined;
  readonly emit: readonly Out[];
}

/** The step of a stage that keeps one row for each key: `(row, input) -> { row, emit }`. An undefined row is removed. */
export function byKey<In, Row, Out extends Emit>(
  keyOf: (input: In) => string,
  step: (row: Row | undefined, input: In) => StepResult<Row, Out>,
): Step<In, Row, Out> {
  return (rows, input) => {
    const key = keyOf(input);
    const before = rows.get(key);
    const { row, emit } = step(before, input);
    if (row === undefined) rows.delete(key);
    else if (row !== before) rows.set(key, row);
    return emit;
  };
}

/** Time as a record: the runner puts it on the local `clock` topic of every task, about five times a second. */
export interface Tick {
  /** The highest event time that this process has seen on any input. */
  readonly eventTime: number;
  /** The host's clock: only for judging silence of people and machines, never for the order of events. */
  readonly wallTime: number;
  /**
   * The epoch of the pointer table as this process has read it; TABLE_UNREAD until that is complete, absent when it is
   * not read.
   */
  readonly pointerEpoch?: number;
}

/** Before the first epoch: nothing has been published yet, as far as is known. */
export const TABLE_UNREAD = 0;
