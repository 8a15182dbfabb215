// Ids and units: the words of the domain as types, so that one cannot be mistaken for another.

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** A shard's stable name, for example `shard-0007`. Never reused after the shard is gone. */
export type ShardId = Branded<string, 'ShardId'>;

/** The unit of placement; state/keys.ts says how it is written. */
export type SliceKey = Branded<string, 'SliceKey'>;

/** A stream of rates: a fixed leaf of a partition, a wildcard prefix, or one heavy topic. */
export type SeriesId = Branded<string, 'SeriesId'>;

/** One move of one slice; unique for ever. */
export type MoveId = Branded<string, 'MoveId'>;
/** A plan that was proposed for approval, for example `plan-000001`. */
export type PlanId = Branded<string, 'PlanId'>;

/** Version of the pointer table: grows by one with each change of it, and so also grows for each slice. Below 2^53. */
export type Epoch = Branded<number, 'Epoch'>;

/** Event time: milliseconds since the Unix epoch, UTC. Wall-clock time enters a step only through the clock topic. */
export type EventTime = Branded<number, 'EventTime'>;

/** Position of a record in its partition, below 2^53 (larger ones are refused where they enter). */
export type Offset = number;

/** A partition's number; also the number of the task that works on it. */
export type Partition = number;

export const shardId = (name: string): ShardId => name as ShardId;
export const sliceKey = (key: string): SliceKey => key as SliceKey;
export const seriesId = (name: string): SeriesId => name as SeriesId;
export const moveId = (name: string): MoveId => name as MoveId;
export const planId = (name: string): PlanId => name as PlanId;
export const epoch = (value: number): Epoch => value as Epoch;
export const eventTime = (millis: number): EventTime => millis as EventTime;
