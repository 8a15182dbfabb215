// Resource: shards of one kind under a load, row by row, by the rules of the protocol. An ordered shard serves, and a
// removed one stops serving, `leadRows` later; every shard that serves or is ordered is paid for.
//
//   P1. A policy decides about a row with what was known before it.
//   P2. Changes take effect in the order in which they were decided; at least one shard is left.

import { type ShardCount, shardsDecided } from '../../processors/plan/search/provisioning.ts';

/** The load of a series, the capacity of its shards, and the first row that is scored. */
export interface Load {
  /** By row. */
  readonly values: Float64Array;
  readonly testStart: number;
  readonly stepSeconds: number;
  readonly shardCapacity: number;
  readonly leadRows: number;
}

export interface Outcome {
  /** By scored row. */
  readonly serving: readonly number[];
  /** Shards that serve or are ordered. */
  readonly paid: readonly number[];
}

export interface Score {
  readonly shardHours: number;
  /** Share of rows, in per cent, in which the load was more than the serving shards' capacity. */
  readonly underPercent: number;
  /** Share of the load, in per cent, that exceeded the serving shards' capacity. */
  readonly lostPercent: number;
  readonly hours: number;
}

/** Utilisation that every policy starts with, and that the reactive one aims for. */
export const AIMED_UTILISATION = 0.6;

/** Number of shards that can carry the load; at least one. */
export const needOf = (value: number, capacity: number): number => Math.max(1, Math.ceil(value / capacity));

export class Resource {
  readonly #leadRows: number;
  /** The change that takes effect in each of the next rows, by row modulo the lead. */
  readonly #changes: number[];
  readonly #outcomes: { serving: number[]; paid: number[] } = { serving: [], paid: [] };
  #serving: number;
  #ordered = 0;
  #removing = 0;

  constructor({ values, testStart, shardCapacity, leadRows }: Load, start?: number) {
    this.#leadRows = leadRows;
    this.#changes = new Array<number>(leadRows).fill(0);
    this.#serving = start ?? needOf(values[testStart - 1]! / AIMED_UTILISATION, shardCapacity);
  }

  /** The shards at the start of the next row. */
  get shards(): ShardCount {
    const due = this.#changes[this.#outcomes.serving.length % this.#leadRows]!;
    return {
      serving: this.#serving + due,
      ordered: this.#ordered - Math.max(0, due),
      removing: this.#removing + Math.min(0, due),
    };
  }

  /** Passes one row; `change` shards are ordered at its start, or removed when it is negative. */
  pass(change: number): void {
    const { serving, ordered, removing } = this.shards;
    const bounded = Math.max(change, 1 - shardsDecided(this.shards)); // P2
    this.#changes[this.#outcomes.serving.length % this.#leadRows] = bounded;
    this.#serving = serving;
    this.#ordered = ordered + Math.max(0, bounded);
    this.#removing = removing - Math.min(0, bounded);
    this.#outcomes.serving.push(serving);
    this.#outcomes.paid.push(serving + this.#ordered);
  }

  get outcome(): Outcome {
    return this.#outcomes;
  }
}

/**
 * Runs a policy over the scored rows. `decide` returns how many shards to order (or, below 0, to remove) at the start
 * of a row.
 */
export function provision(load: Load, decide: (row: number, shards: ShardCount) => number, start?: number): Outcome {
  const resource = new Resource(load, start);
  for (let row = load.testStart; row < load.values.length; row++) resource.pass(decide(row, resource.shards));
  return resource.outcome;
}

export function scoreOf({ values, testStart, stepSeconds, shardCapacity }: Load, { serving, paid }: Outcome): Score {
  const hoursPerRow = stepSeconds / 3600;
  let under = 0;
  let lost = 0;
  let load = 0;
  for (const [index, shards] of serving.entries()) {
    const value = values[testStart + index]!;
    const beyond = value - shards * shardCapacity;
    load += value;
    if (!(beyond > 0)) continue;
    under++;
    lost += beyond;
  }
  return {
    shardHours: paid.reduce((sum, shards) => sum + shards, 0) * hoursPerRow,
    underPercent: (100 * under) / serving.length,
    lostPercent: load > 0 ? (100 * lost) / load : 0,
    hours: serving.length * hoursPerRow,
  };
}
