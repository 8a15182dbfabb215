// Made fleets and types for the tests of what-if: small, with numbers that can be followed by hand.

import { Account, type Terms } from '../../../evaluation/what-if/account.ts';
import { SyntheticFleet } from '../../../evaluation/what-if/fleet.ts';
import type { Played } from '../../../evaluation/what-if/minutes.ts';
import { type Catalog, catalogOf } from '../../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../../processors/plan/settings.ts';

export const KV = {
  name: 'kv',
  kind: 'KEY_VALUE',
  operationsPerSecond: 100,
  entriesMax: 1e9,
  memoryBytes: 1e12,
  storageBytes: 0,
  clientsMax: 0,
  bytesPerSecondMax: 0,
  dollarsPerHour: 0.5,
  dollarsPerProvisioning: 0.1,
  dollarsPerGibMoved: 2,
  dollarsPerMillionRequests: 0,
  provisioningMs: 60_000,
} as const;

export const KV_LARGE = { ...KV, name: 'kv-large', operationsPerSecond: 400, dollarsPerHour: 1.8 } as const;
export const TRIE = { ...KV, name: 'trie', kind: 'TRIE', operationsPerSecond: 1_000, dollarsPerHour: 1 } as const;

export const CATALOG: Catalog = catalogOf({ types: [KV, KV_LARGE, TRIE] });

/** Series by name with their rate in each minute. */
export const played = (series: Readonly<Record<string, (minute: number) => number>>, minutes: number): Played[] =>
  Object.entries(series).map(([name, rate]) => ({
    name,
    perMinute: Float64Array.from({ length: minutes }, (_, minute) => rate(minute)),
  }));

export const fleetOf = (
  series: readonly Played[],
  {
    seed = 7,
    learnMinutes = 60,
    busyPerSecond = 100,
  }: { seed?: number; learnMinutes?: number; busyPerSecond?: number } = {},
): SyntheticFleet =>
  new SyntheticFleet(series, {
    seed,
    partitions: 4,
    leafBits: 2,
    coefficients: PLAN_DEFAULTS.coefficients,
    busyPerSecond,
    learnMinutes,
  });

export const accountOf = (terms: Partial<Terms> = {}): Account =>
  new Account({ stepSeconds: 10, firstMinute: 0, minutes: 60, dollarsPerViolationHour: 36, entries: 1_000, ...terms });

/** Runs a generator to its end. */
export function finished<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const next = steps.next();
    if (next.done === true) return next.value;
  }
}
