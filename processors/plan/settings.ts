// Settings of the planner: every number it is held to, with its unit and the reason for its default.

import type { GenesisSettings } from '../../state/genesis.ts';
import type { Catalog } from './catalog.ts';
import type { PlanPolicy } from './provisioning.ts';

/** `observe`: says what it would do. `approve`: proposes, and does what a person agrees to. `auto`: does it. */
export type PlanMode = 'observe' | 'approve' | 'auto';

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
  readonly genesis: GenesisSettings;
  readonly catalog: Catalog;
  readonly mode: PlanMode;
  /** In mode `approve`: how long a proposed plan waits for an answer, and how long the answer then holds. Event time. */
  readonly approvalMs: number;
  /** Asked for each action in mode `approve`; pure. Absent: nobody agrees unless a PlanRequest asks for that topic. */
  readonly approves?: (action: { readonly kind: string; readonly subject: string }) => boolean;
  readonly coefficients: CostCoefficients;

  readonly tickMs: number;
  readonly horizonMs: number;
  /** Buckets that the horizon is cut into; a bucket counts as its highest step. */
  readonly horizonSteps: number;
  /** How shortage is weighed against money when the number of shards is planned. */
  readonly policy: PlanPolicy;
  /** The quantile of a forecast that slices are placed by; below 0.99, which the number of shards is planned by too. */
  readonly upperQuantile: number;
  /** How far the forecast errors of slices go together, 0..1; decides how spreads of slices add up on a shard. */
  readonly errorCorrelation: number;

  readonly safeUtilisation: number;
  /** Room left below safe utilisation when a slice is placed, so that it need not move again soon. */
  readonly deadBand: number;
  /** Balance: act when the hottest shard is above its kind's mean by this share of the mean. */
  readonly balanceGap: number;
  /** No balancing below this utilisation by what is usual. */
  readonly balanceAbove: number;
  /** Plans in a row that must agree before something is taken away. */
  readonly agreeingPlans: number;

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
  readonly marginMs: number;

  /** Wall time, by ticks. */
  readonly moveSilentMs: number;
  readonly provisionSilentMs: number;
  readonly brokerSilentMs: number;
  readonly drainMs: number;
  readonly planRequestsPerTickMax: number;
}

export const PLAN_DEFAULTS: Omit<PlanSettings, 'partitions' | 'genesis' | 'catalog'> = {
  mode: 'auto',
  approvalMs: 1_800_000, // Time to be found, to read and to ask; longer and the forecast is another one.
  // A look-up by hash is the unit, and as much as a node of a trie. A subscribe is two puts (row and version), an
  // unsubscribe the same (its row becomes a tombstone).
  coefficients: {
    operationsPerConcreteLookup: 1,
    operationsPerWildcardLookup: 4,
    nodesPerWildcardLookup: 4,
    operationsPerSubscribe: 2,
    operationsPerUnsubscribe: 2,
  },
  tickMs: 60_000,
  horizonMs: 3_600_000, // Beyond any lead time; longer and a pass through a daily wave would keep every peak's shards.
  horizonSteps: 30,
  policy: 'balanced',
  upperQuantile: 0.95,
  errorCorrelation: 0.3, // Arbitrary, between independent (0) and one common cause (1).
  safeUtilisation: 0.8, // The bar that store vendors give for steady load; queues grow fast above it.
  deadBand: 0.1,
  balanceGap: 0.2,
  balanceAbove: 0.3,
  agreeingPlans: 10,
  movesMax: 4, // Each move fills one link.
  movesPerShardMax: 2,
  slicesMax: 100_000,
  shardsMax: 1_000,
  shardsPerHourMax: 8,
  dollarsPerHourMax: 100,
  churnShareMax: 0.04, // Slicer (OSDI 2016) stays below 4 % of keys an hour.
  coolDownMs: 600_000,
  paybackMs: 3_600_000,
  dollarsPerOverloadedHour: 50,
  copyBytesPerSecond: 8 * 1024 * 1024,
  propagationMs: 2_000,
  marginMs: 30_000,
  moveSilentMs: 60_000,
  provisionSilentMs: 600_000,
  brokerSilentMs: 30_000,
  drainMs: 5_000,
  planRequestsPerTickMax: 20,
};
