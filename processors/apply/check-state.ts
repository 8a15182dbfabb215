// Check state: what is stored of the checks of one partition (check.ts).

import type { ShardId, SliceKey } from '../../schemas/ids.ts';
import type { CheckProgress } from '../../schemas/records.ts';
import type { Cursor, Difference } from '../../state/effects.ts';
import type { Page } from '../step.ts';

/** The results of a check so far. `mended` of the differences were corrected. */
export interface Findings {
  readonly rows: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  readonly stray: number;
  readonly mended: number;
  /** Slices that could not be compared. */
  readonly unchecked: number;
}

/** A requested check, until it is done (check.ts V7). */
export interface CheckRow {
  readonly kind: 'check';
  readonly id: string;
  /** Offset of the request in the commands topic. */
  readonly offset: number;
  /** '' for all shards. */
  readonly shard: string;
  readonly slice: string;
  readonly repair: boolean;
  /** Shards that are searched for stray rows. */
  readonly concreteShards: readonly ShardId[];
  readonly trieShards: readonly ShardId[];
}

/** The results of the last complete pass of the continuous check. */
export interface PassRow {
  readonly kind: 'pass';
  readonly beganWallMs: number;
  readonly endedWallMs: number;
  readonly findings: Findings;
}

/** One part of a check: a slice on its shard, or all rows of the partition on a shard (check.ts V5). */
export interface Leg {
  readonly slice: SliceKey;
  /** For a search for stray rows: the shard. */
  readonly strayAt?: ShardId;
}

/** A check under way, in memory. */
export interface Checking {
  readonly id: string;
  readonly repair: boolean;
  readonly beganWallMs: number;
  readonly pageRows: number;
  readonly legs: readonly Leg[];
  /** Index of the current leg. */
  at: number;
  after: Cursor | undefined;
  /** The page of the table that the next tick reads. */
  page: Page | undefined;
  phase: 'look' | 'confirm' | 'mend' | 'verify';
  isAwaited: boolean;
  suspects: readonly Difference[];
  /** Where the confirmed differences end. */
  upTo: Cursor | undefined;
  /** At or below 0: the check has to wait, because of the rows already read. */
  budgetRows: number;
  sinceReportMs: number;
  findings: Findings;
  readonly listed: CheckProgress['differences'][number][];
  reason: string;
}

/** Progress of the pass over the table that drops ended subscriptions, in memory (ended.ts). */
export interface EndedPass {
  readonly prefix: 'c' | 'w';
  readonly after: string | undefined;
  waitMs: number;
  /** True when the pass has met an ended subscription. */
  isNeeded: boolean;
}
