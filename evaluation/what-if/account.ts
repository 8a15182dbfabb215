// Account: what a policy costs and how well it serves, step by step, by the same rules for every policy. Pure.
//
//   A1. An instance is paid for from the moment it is ordered until it is given back; while one replaces another, both
//       are. Requests are charged to the one that serves.
//   A2. A shard is in violation while its load is more than its instance can do at full load. Each such second has the
//       stated price, for each shard separately.
//   A3. Nothing before the first paid minute counts.

import type { DatastoreType } from '../../processors/plan/cluster/catalog.ts';
import { moveDollars, requestDollarsPerHour } from '../../processors/plan/costs/cost.ts';

/** A shard that serves, with its load. */
export interface ServingShard {
  readonly type: DatastoreType;
  readonly perSecond: number;
}

export interface Terms {
  readonly stepSeconds: number;
  readonly firstMinute: number;
  readonly minutes: number;
  readonly dollarsPerViolationHour: number;
  /** Entries of the fleet. */
  readonly entries: number;
}

/** The result of a policy. */
export interface Score {
  readonly dollars: number;
  readonly runningDollars: number;
  readonly provisioningDollars: number;
  readonly movingDollars: number;
  readonly violationDollars: number;
  /** Seconds in which a shard is above its capacity, summed over shards. */
  readonly violationSeconds: number;
  readonly moves: number;
  /** Share of all keys that move in an hour, in per cent. */
  readonly churnPercent: number;
  /**
   * The fullest shard's utilisation divided by the mean of its kind, in the median minute; of the kind where it is
   * higher.
   */
  readonly peakToMean: number;
  readonly shardHours: number;
  readonly shardsMax: number;
}

/** Values minute by minute, for the chart. */
export interface Course {
  /** Paid so far. */
  readonly dollars: Float64Array;
  /** Operations per second that the serving shards do at full load. */
  readonly capacity: Float64Array;
  readonly violationSeconds: Float64Array;
}

const HOUR_SECONDS = 3_600;

export class Account {
  readonly course: Course;
  readonly #terms: Terms;
  #running = 0;
  #provisioning = 0;
  #moving = 0;
  #violation = 0;
  #moves = 0;
  #keysMoved = 0;
  #shardSeconds = 0;
  #shardsMax = 0;
  readonly #unevenness: number[] = [];
  #minute = 0;

  constructor(terms: Terms) {
    this.#terms = terms;
    this.course = {
      dollars: new Float64Array(terms.minutes),
      capacity: new Float64Array(terms.minutes),
      violationSeconds: new Float64Array(terms.minutes),
    };
  }

  /** A new account with the same rules, for a trial. */
  another(): Account {
    return new Account(this.#terms);
  }

  provisioned(type: DatastoreType): void {
    if (this.#counts) this.#provisioning += type.dollarsPerProvisioning;
  }

  moved(keys: number, bytes: number, to: DatastoreType): void {
    if (!this.#counts) return;
    this.#moves++;
    this.#keysMoved += keys;
    this.#moving += moveDollars(bytes, to);
  }

  /** One step within a minute: `paid` instances are paid for, `serving` shards serve. */
  step(minute: number, paid: readonly DatastoreType[], serving: readonly ServingShard[]): void {
    this.#minute = minute;
    if (!this.#counts) return;
    const { stepSeconds, firstMinute, dollarsPerViolationHour } = this.#terms;
    for (const type of paid) this.#running += (type.dollarsPerHour * stepSeconds) / HOUR_SECONDS;
    for (const { type, perSecond } of serving)
      this.#running += (requestDollarsPerHour(type, perSecond) * stepSeconds) / HOUR_SECONDS;
    this.#shardSeconds += paid.length * stepSeconds;
    this.#shardsMax = Math.max(this.#shardsMax, paid.length);
    const above = serving.filter(({ type, perSecond }) => perSecond > type.operationsPerSecond).length;
    this.#violation += above * stepSeconds;
    const at = minute - firstMinute;
    this.course.violationSeconds[at]! += above * stepSeconds;
    this.course.capacity[at] = serving.reduce((sum, { type }) => sum + type.operationsPerSecond, 0);
    this.course.dollars[at] =
      this.#running + this.#provisioning + this.#moving + (this.#violation / HOUR_SECONDS) * dollarsPerViolationHour;
    this.#unevenness.push(unevennessOf(serving));
  }

  score(): Score {
    const { minutes, entries, dollarsPerViolationHour } = this.#terms;
    const violationDollars = (this.#violation / HOUR_SECONDS) * dollarsPerViolationHour;
    const sorted = this.#unevenness.toSorted((a, b) => a - b);
    return {
      dollars: this.#running + this.#provisioning + this.#moving + violationDollars,
      runningDollars: this.#running,
      provisioningDollars: this.#provisioning,
      movingDollars: this.#moving,
      violationDollars,
      violationSeconds: this.#violation,
      moves: this.#moves,
      churnPercent: (100 * this.#keysMoved * 60) / (entries * minutes),
      peakToMean: sorted[sorted.length >> 1] ?? 1,
      shardHours: this.#shardSeconds / HOUR_SECONDS,
      shardsMax: this.#shardsMax,
    };
  }

  get #counts(): boolean {
    return this.#minute >= this.#terms.firstMinute;
  }
}

/** The highest utilisation divided by the mean, of the kind where it is higher. */
function unevennessOf(serving: readonly ServingShard[]): number {
  let most = 1;
  for (const kind of ['KEY_VALUE', 'TRIE'] as const) {
    const used = serving.filter(({ type }) => type.kind === kind);
    const utilisations = used.map(({ type, perSecond }) => perSecond / type.operationsPerSecond);
    const sum = utilisations.reduce((total, each) => total + each, 0);
    if (sum > 0) most = Math.max(most, (Math.max(...utilisations) * used.length) / sum);
  }
  return most;
}
