// Check state: what is remembered of the checks of one partition (check.ts).

import type { ShardId, SliceKey } from '../../schemas/ids.ts';
import type { CheckProgress } from '../../schemas/records.ts';
import type { Cursor, Difference } from '../../state/effects.ts';
import type { Page } from '../step.ts';

/** What a check has seen so far. Of the differences `mended` are gone. */
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

/** A check that was asked for, until it is done (V7 of check.ts). */
export interface CheckRow {
  readonly kind: 'check';
  readonly id: string;
  /** In the commands topic. */
  readonly offset: number;
  /** '' for all. */
  readonly shard: string;
  readonly slice: string;
  readonly repair: boolean;
  /** Where stray rows are looked for. */
  readonly concreteShards: readonly ShardId[];
  readonly trieShards: readonly ShardId[];
}

/** What the last whole pass of the continuous check has found. */
export interface PassRow {
  readonly kind: 'pass';
  readonly beganWallMs: number;
  readonly endedWallMs: number;
  readonly findings: Findings;
}

/** One thing to look at: a slice where it lives, or all that a shard has of the partition (V5 of check.ts). */
export interface Leg {
  readonly slice: SliceKey;
  /** Of a search for stray rows. */
  readonly strayAt?: ShardId;
}

/** One check under way, in memory. */
export interface Checking {
  readonly id: string;
  readonly repair: boolean;
  readonly beganWallMs: number;
  readonly pageRows: number;
  readonly legs: readonly Leg[];
  /** Which of them is looked at. */
  at: number;
  after: Cursor | undefined;
  /** What the next tick reads of the table. */
  page: Page | undefined;
  phase: 'look' | 'confirm' | 'mend' | 'verify';
  isAwaited: boolean;
  suspects: readonly Difference[];
  /** Where the confirmed differences end. */
  upTo: Cursor | undefined;
  /** At or below 0: what was looked at has to be waited for. */
  budgetRows: number;
  sinceReportMs: number;
  findings: Findings;
  readonly listed: CheckProgress['differences'][number][];
  reason: string;
}

/** Where the pass over the table that drops what has ended is, in memory (ended.ts). */
export interface EndedPass {
  readonly prefix: 'c' | 'w';
  readonly after: string | undefined;
  waitMs: number;
  /** It has met something that has ended. */
  isNeeded: boolean;
}
