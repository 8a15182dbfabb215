// Run: all policies over the same fleet and the same hours, one after the other. Pure: the same series, settings and
// seed give the same result.
//
//   W1. Every policy has the same load, catalogue, prices and pace (account.ts, pace.ts).
//   W2. Only the perfect forecast knows a minute before it is over.

import { type Catalog, typesOfKind } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { Account, type Course, type Score } from './account.ts';
import { SyntheticFleet } from './fleet.ts';
import { LearnedForecasts, PerfectForecasts } from './forecast-source.ts';
import type { Played } from './minutes.ts';
import { STEP_SECONDS } from './pace.ts';
import { runPlanner } from './planned.ts';
import { REFERENCES, type ReferenceName, runReference } from './references.ts';

/** The planner with its own forecasts, the planner with a perfect one, and the references. */
export const POLICIES: readonly string[] = ['foreshard', 'perfect', ...Object.keys(REFERENCES)];

export interface WhatIf {
  /** Series of equal length: first the minutes to learn from, then those that are paid for. */
  readonly played: readonly Played[];
  readonly learnMinutes: number;
  readonly catalog: Catalog;
  readonly seed: number;
  readonly policies: readonly string[];
}

export interface PolicyResult {
  readonly policy: string;
  readonly score: Score;
  readonly course: Course;
}

export interface WhatIfResult {
  readonly series: number;
  readonly topics: number;
  readonly entries: number;
  /** Operations per second of all stores together, by paid minute. */
  readonly load: Float64Array;
  readonly results: readonly PolicyResult[];
}

export interface Progress {
  readonly policy: string;
  /** Minutes done, of all policies together. */
  readonly done: number;
}

/**
 * The planner has this long before the first paid minute to grow from its first two shards: a few rounds of its hourly
 * cap.
 */
export const SETTLE_MINUTES = 360;

const PARTITIONS = 8;
const LEAF_BITS = 2;
/**
 * The size of the fleet is limited by one instance: every PUBLISH asks the filters that begin with a wildcard, which
 * are in one trie. In busy times this trie uses this share of the catalogue's largest instance.
 */
const BUSY_SHARE = 0.6;
/** A Monday. Only differences of times matter. */
const START_AT = Date.UTC(2026, 0, 5);

/** Number of minutes in a run, for its progress. */
export const minutesOf = ({ played, policies }: Pick<WhatIf, 'played' | 'policies'>): number =>
  policies.length * (played[0]?.perMinute.length ?? 0);

export function* whatIf(run: WhatIf): Generator<Progress, WhatIfResult> {
  const { played, learnMinutes, catalog, seed, policies } = run;
  const { coefficients } = PLAN_DEFAULTS;
  const largest = Math.max(...typesOfKind(catalog, 'TRIE').map((type) => type.operationsPerSecond));
  const busyPerSecond = (BUSY_SHARE * largest) / coefficients.operationsPerWildcardLookup;
  const settings = { seed, partitions: PARTITIONS, leafBits: LEAF_BITS, coefficients, busyPerSecond, learnMinutes };
  const fleet = new SyntheticFleet(played, settings);
  const results: PolicyResult[] = [];
  for (const [index, policy] of policies.entries()) {
    const account = new Account({
      stepSeconds: STEP_SECONDS,
      firstMinute: learnMinutes,
      minutes: fleet.minutes - learnMinutes,
      dollarsPerViolationHour: PLAN_DEFAULTS.dollarsPerOverloadedHour,
      entries: fleet.entries,
    });
    const minutes = minuteByMinute(policy, fleet, catalog, account);
    for (let next = minutes.next(); next.done !== true; next = minutes.next())
      yield { policy, done: index * fleet.minutes + next.value };
    results.push({ policy, score: account.score(), course: account.course });
  }
  return {
    series: fleet.names.length,
    topics: fleet.topics.length,
    entries: fleet.entries,
    load: loadOf(fleet),
    results,
  };
}

function minuteByMinute(
  policy: string,
  fleet: SyntheticFleet,
  catalog: Catalog,
  account: Account,
): Generator<number, unknown> {
  if (policy !== 'foreshard' && policy !== 'perfect')
    return runReference(policy as ReferenceName, { fleet, catalog, account, startAt: START_AT });
  const counted = fleet.counted();
  const Source = policy === 'foreshard' ? LearnedForecasts : PerfectForecasts;
  return runPlanner({
    ...{ fleet, counted, catalog, account, startAt: START_AT },
    forecasts: new Source(fleet, counted),
    settleFrom: Math.max(0, fleet.settings.learnMinutes - SETTLE_MINUTES),
  });
}

function loadOf(fleet: SyntheticFleet): Float64Array {
  const { partitions, learnMinutes } = fleet.settings;
  const sum = fleet.zeros();
  for (const { operations } of fleet.weights(firstSlices(partitions)).values())
    for (let series = 0; series < sum.length; series++) sum[series]! += operations[series]!;
  return Float64Array.from({ length: fleet.minutes - learnMinutes }, (_, minute) =>
    fleet.sum(sum, learnMinutes + minute),
  );
}
