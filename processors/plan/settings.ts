// Settings of the planner: what an operator may set, and every other number it is held to, with its unit and the reason
// for its default.

import { choice, fallbacksOf, integer, number, type ValuesOf, valuesOf } from '../../schemas/setting.ts';
import type { GenesisSettings } from '../../state/genesis.ts';
import type { Catalog } from './cluster/catalog.ts';
import type { PlanPolicy } from './search/provisioning.ts';

/**
 * `observe`: only records what it would do. `approve`: proposes plans and carries out what a person approves. `auto`:
 * carries plans out.
 */
export type PlanMode = 'observe' | 'approve' | 'auto';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const PLAN_SETTINGS = {
  mode: choice(
    ['observe', 'approve', 'auto'],
    'auto',
    'observe: decide and do nothing. approve: a person confirms each plan. auto: carry out plans.',
  ),
  policy: choice(
    ['balanced', 'cautious'],
    'balanced',
    'How the planner weighs a shortage of capacity against money when it decides on the number of shards; cautious keeps more.',
  ),
  tickMs: integer(60_000, { min: 1_000, max: HOUR_MS, unit: 'ms' }, 'Time between two plans, in event time.'),
  // Longer than any lead time; with a longer horizon the shards of every daily peak would be kept all day.
  horizonMs: integer(HOUR_MS, { min: 60_000, max: 7 * DAY_MS, unit: 'ms' }, 'How far ahead the planner looks.'),
  movesMax: integer(4, { min: 1, max: 1_000, unit: 'moves' }, 'Most moves under way at once.'), // Each move fills one link.
  shardsMax: integer(1_000, { min: 2, max: 100_000, unit: 'shards' }, 'Most shards.'),
  shardsPerHourMax: integer(8, { min: 1, max: 10_000, unit: 'shards' }, 'Most new shards in an hour.'),
  dollarsPerHourMax: number(100, { min: 0, max: 1e6, unit: 'dollars/hour' }, 'Highest running cost.'),
  churnShareMax: number(
    0.04, // Slicer (OSDI 2016) stays below 4 % of keys an hour.
    { min: 0, max: 1, unit: 'share' },
    'Rate at which moves may use up keys, as a share of all keys for each hour. A single move may exceed it when nothing is owed; calm moves then wait until that is paid off. Moves against an overload are never held back, but count.',
  ),
  coolDownMs: integer(600_000, { min: 0, max: DAY_MS, unit: 'ms' }, 'Least time between two moves of a slice.'),
  drainMs: integer(
    5_000,
    { min: 0, max: DAY_MS, unit: 'ms' },
    'How long the source of a move still receives the events of its slice after the switch while no broker is alive.',
  ),
  brokerSilentMs: integer(
    30_000,
    { min: 1_000, max: DAY_MS, unit: 'ms' },
    'Silence after which a broker no longer counts as alive.',
  ),
  rebuildAfterMs: integer(
    5_000,
    { min: 0, max: DAY_MS, unit: 'ms' },
    'How long to wait for a shard that has lost its data to come back, before it is rebuilt from the subscription table.',
  ),
  leadMarginMs: integer(
    30_000,
    { min: 0, max: DAY_MS, unit: 'ms' },
    'Safety margin added to every computed lead time: an action against a shortage begins that much earlier than needed.',
  ),
};

/** What one event costs a datastore, in operations of the catalogue, before anything has been measured. */
export interface CostCoefficients {
  readonly operationsPerConcreteLookup: number;
  readonly operationsPerWildcardLookup: number;
  /** Nodes of a trie that such a look-up visits where no trie says. */
  readonly nodesPerWildcardLookup: number;
  readonly operationsPerSubscribe: number;
  readonly operationsPerUnsubscribe: number;
}

export interface PlanSettings {
  readonly partitions: number;
  /** The instance that this planner runs in, written into its records. */
  readonly planner: string;
  readonly genesis: GenesisSettings;
  readonly catalog: Catalog;
  readonly mode: PlanMode;
  /** In mode `approve`: how long a proposed plan waits for an answer, and how long the answer then holds. Event time. */
  readonly approvalMs: number;
  /** Asked for each action in mode `approve`; pure. Absent: only a PlanRequest for the topic counts as approval. */
  readonly approves?: (action: { readonly kind: string; readonly subject: string }) => boolean;
  readonly coefficients: CostCoefficients;

  readonly tickMs: number;
  readonly horizonMs: number;
  /** Buckets that the horizon is cut into; a bucket counts as the mean of its steps. */
  readonly horizonSteps: number;
  /** How a shortage is weighed against money when the number of shards is planned. */
  readonly policy: PlanPolicy;
  /** The quantile of a forecast that slices are placed by; below 0.99, which the number of shards is planned by too. */
  readonly upperQuantile: number;
  /** Correlation of the forecast errors of slices, 0..1; decides how their spreads add up on a shard. */
  readonly errorCorrelation: number;

  readonly safeUtilisation: number;
  /** Room left below safe utilisation when a slice is placed, so that it need not move again soon. */
  readonly deadBand: number;
  /** Balance: act when the hottest shard is above its kind's mean by this share of the mean. */
  readonly balanceGap: number;
  /** No balancing while the usual utilisation is below this. */
  readonly balanceAbove: number;
  /** Plans in a row that must agree before something is taken away. */
  readonly agreeingPlans: number;

  /** Lost shards are rebuilt from the subscription table, which is kept. */
  readonly rebuilds: boolean;
  readonly movesMax: number;
  readonly movesPerShardMax: number;
  readonly slicesMax: number;
  readonly shardsMax: number;
  readonly shardsPerHourMax: number;
  readonly dollarsPerHourMax: number;
  readonly churnShareMax: number;
  readonly coolDownMs: number;
  /** A saving must pay for its moves within this time. */
  readonly paybackMs: number;
  readonly dollarsPerOverloadedHour: number;

  readonly copyBytesPerSecond: number;
  readonly propagationMs: number;
  readonly leadMarginMs: number;

  /** Wall time, by ticks. */
  readonly moveSilentMs: number;
  readonly provisionSilentMs: number;
  readonly brokerSilentMs: number;
  readonly drainMs: number;
  readonly rebuildAfterMs: number;
  readonly planRequestsPerTickMax: number;
}

/** What no operator sets. */
const FIXED = {
  planner: 'foreshard',
  approvalMs: 1_800_000, // Time for a person to notice, read and ask; after a longer time the forecast has changed.
  // A look-up by hash is the unit; visiting a node of a trie costs the same. A subscribe is two puts (row and version),
  // and so is an unsubscribe (its row becomes a tombstone).
  coefficients: {
    operationsPerConcreteLookup: 1,
    operationsPerWildcardLookup: 4,
    nodesPerWildcardLookup: 4,
    operationsPerSubscribe: 2,
    operationsPerUnsubscribe: 2,
  },
  horizonSteps: 30,
  upperQuantile: 0.95,
  errorCorrelation: 0.3, // Arbitrary, between independent (0) and one common cause (1).
  safeUtilisation: 0.8, // The limit that store vendors recommend for steady load; queues grow fast above it.
  deadBand: 0.1,
  balanceGap: 0.2,
  balanceAbove: 0.3,
  agreeingPlans: 10,
  rebuilds: true,
  movesPerShardMax: 2,
  slicesMax: 100_000,
  paybackMs: 3_600_000,
  dollarsPerOverloadedHour: 50,
  copyBytesPerSecond: 8 * 1024 * 1024,
  propagationMs: 2_000,
  moveSilentMs: 60_000,
  provisionSilentMs: 600_000,
  planRequestsPerTickMax: 20,
};

/** The planner's settings, from what was configured and what the fleet is. */
export function planSettings(
  given: ValuesOf<typeof PLAN_SETTINGS>,
  fleet: Pick<PlanSettings, 'partitions' | 'genesis' | 'catalog'> & Partial<Pick<PlanSettings, 'planner' | 'rebuilds'>>,
): PlanSettings {
  return { ...FIXED, ...valuesOf(PLAN_SETTINGS, given), ...fleet };
}

/** What holds unless the configuration says otherwise. */
export const PLAN_DEFAULTS: Omit<PlanSettings, 'partitions' | 'genesis' | 'catalog'> = {
  ...FIXED,
  ...fallbacksOf(PLAN_SETTINGS),
};
