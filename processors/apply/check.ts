// Check: compares the rows of shards with the subscription table: continuously and slowly, and at once when
// somebody requests it. Differences are counted, listed, and corrected when that was requested.
//
//   V1. A page of the table is read and compared in one order with the writes of events: changes by earlier events are
//       in both the page and the shard, changes by later events in neither. So equal rows never look different.
//   V2. But an earlier run may have written rows to shards without committing. So checks begin some time after a start,
//       when the events of that run have been read again; and a difference counts only when the same difference is
//       found twice.
//   V3. A slice that moves, or whose shard does not answer, is skipped and counted as unchecked. A shard that does not
//       answer is not asked again for a while, since the partition waits for each request.
//   V4. A correction is based on rows read in an earlier commit: a task that has lost its partition, and does not know
//       yet, has not seen its successor's writes. Rows are forgotten only as they were seen (datastores/check.ts X3),
//       and corrected rows are read a third time. A correction moves the end of a page: the check continues where
//       the earliest of these readings ended, so that no row is passed over.
//   V5. A row is stray when it is in a shard that does not have its slice, is not receiving it, and is not about to
//       erase it.
//   V6. The continuous check makes one pass after the other, at the stated rate, and waits while a requested check
//       runs.
//   V7. A requested check starts again from the beginning after a restart. The same request twice has one effect.

import type { ShardId, SliceKey } from '../../schemas/ids.ts';
import type { CheckProgress, CheckSlices, DifferenceKind } from '../../schemas/records.ts';
import { integer } from '../../schemas/setting.ts';
import type { Cursor, Difference, Outcome } from '../../state/effects.ts';
import { groupSlice, hashSlice, isTrieSlice, isWithin } from '../../state/keys.ts';
import { NOTHING, type Page, type Rows } from '../step.ts';
import { leaveAlone, obstacleAt } from './away.ts';
import type { Checking, CheckRow, Findings, Leg } from './check-state.ts';
import { type FillSettings, fillText } from './fill.ts';
import { effect, type Kept, type Out, tell } from './out.ts';
import type { PartitionState, Row } from './partition-state.ts';
import { budgetAfter, cursorOf, earlierOf, isBehind, pageOf, rowIn } from './table-pages.ts';

export interface CheckSettings extends FillSettings {
  /** Rate of the continuous check in each partition; 0: there is none. */
  readonly checkRowsPerSecond: number;
  /** Rate of a requested check. */
  readonly copyRowsPerSecond: number;
}

export const CHECK_SETTINGS = {
  checkRowsPerSecond: integer(
    500,
    { min: 0, max: 1_000_000, unit: 'rows/s' },
    'How fast each partition’s shards are compared with the subscription table, all the time. 0 turns this off.',
  ),
};

const NO_FINDINGS: Findings = {
  ...{ rows: 0, missing: 0, extra: 0, different: 0, stray: 0, mended: 0, unchecked: 0 },
};

export const PASS = 'pass';
export const checkRow = (id: string): string => `check/${id}`;
export const CONTINUOUS = 'continuous';

/**
 * Each request counts as at least this many rows, so that a thousand empty slices do not cause a thousand requests a
 * second.
 */
const LOOK_ROWS = 100;
/** Far longer than it takes to read again the events of one commit (V2). */
const SETTLING_MS = 10_000;
/** Least time of a pass, so that a small table is not checked over and over. */
const PASS_MS_MIN = 60_000;
const REPORT_MS = 1_000;
const LISTED_MAX = 50;
const TEXT_MAX = 200;

/** The pages of the table that a tick will read. */
export function pagesOfCheck(state: PartitionState): readonly Page[] {
  const page = active(state)?.page;
  return page === undefined ? NOTHING : [page];
}

/** Handles a request to check everything, one shard, or one slice. */
export function askCheck(
  rows: Rows<Row>,
  state: PartitionState,
  { kind: _, checkId: id, shardId: shard, ...asked }: CheckSlices,
  offset: number,
): readonly Out[] {
  const key = checkRow(id);
  if (rows.get(key) !== undefined) return NOTHING;
  rows.set(key, { kind: 'check', id, offset, shard, ...asked });
  state.checks.push(key);
  return NOTHING;
}

export function onCheckTick(
  rows: Rows<Row>,
  state: PartitionState,
  elapsedMs: number,
  settings: CheckSettings,
  kept: Kept,
): readonly Out[] {
  const wallTime = state.wallTime!;
  state.checksFrom ??= wallTime + SETTLING_MS;
  if (wallTime < state.checksFrom) return NOTHING; // V2
  if (kept === undefined || !state.tableIsWhole) return refused(rows, state, settings, kept);
  const known = active(state);
  const checking = known ?? begun(rows, state, settings);
  if (checking === undefined) return NOTHING;
  const rate = checking.id === CONTINUOUS ? settings.checkRowsPerSecond : settings.copyRowsPerSecond;
  checking.budgetRows = budgetAfter(checking.budgetRows, rate, elapsedMs);
  checking.sinceReportMs += elapsedMs;
  if (checking.at === checking.legs.length) return ended(rows, state, checking);
  const out = known === undefined ? [] : looked(rows, state, checking, settings, kept);
  if (checking.id === CONTINUOUS || (known !== undefined && checking.sinceReportMs < REPORT_MS)) return out;
  checking.sinceReportMs = 0;
  return [...out, report(state, checking, 'RUNNING')];
}

export function onChecked(
  rows: Rows<Row>,
  state: PartitionState,
  outcome: Extract<Outcome, { readonly kind: 'checked' }>,
): readonly Out[] {
  const checking = awaiting(state, outcome.check);
  if (checking === undefined) return NOTHING;
  if (outcome.away !== '') {
    leaveAlone(state, outcome.shard); // V3
    passedOver(checking, `${outcome.slice} on ${outcome.shard}: ${outcome.away}`);
    return NOTHING;
  }
  const { strayAt } = checking.legs[checking.at]!;
  const found =
    strayAt === undefined
      ? outcome.differences
      : outcome.differences.filter((each) => isStray(rows, state, strayAt, each));
  checking.budgetRows -= Math.max(LOOK_ROWS, outcome.equal + outcome.differences.length);
  checking.upTo = checking.phase === 'look' ? outcome.upTo : earlierOf(checking.upTo, outcome.upTo); // V4
  const seen = new Set(checking.suspects.map(nameOf));
  const again = found.filter((each) => seen.has(nameOf(each)));
  switch (checking.phase) {
    case 'look':
      if (found.length === 0) goOn(checking, outcome.equal);
      else turnTo(checking, 'confirm', found);
      return NOTHING;
    case 'confirm':
      if (again.length > 0 && checking.repair) turnTo(checking, 'mend', again);
      else {
        counted(checking, outcome.shard, again, () => false);
        goOn(checking, outcome.equal + again.length);
      }
      return NOTHING;
    default: {
      const places = new Set(found.map(placeName));
      const read = checking.suspects.filter((each) => !isBehind(placeName(each), checking.upTo));
      counted(checking, outcome.shard, read, (each) => !places.has(placeName(each)));
      goOn(checking, outcome.equal);
      return NOTHING;
    }
  }
}

export function onMended(
  state: PartitionState,
  { check, shard, away }: Extract<Outcome, { readonly kind: 'mended' }>,
): readonly Out[] {
  const checking = awaiting(state, check);
  if (checking === undefined) return NOTHING;
  if (away === '') turnTo(checking, 'verify', checking.suspects);
  else {
    checking.reason = `not mended on ${shard}: ${away}`;
    counted(checking, shard, checking.suspects, () => false);
    goOn(checking, checking.suspects.length);
  }
  return NOTHING;
}

// ---- private -------------------------------------------------------------------------------------------------------

/** The check under way (V6). */
const active = ({ asked, checks, continuous }: PartitionState): Checking | undefined =>
  asked ?? (checks.length === 0 ? continuous : undefined);

function awaiting({ asked, continuous }: PartitionState, id: string): Checking | undefined {
  const checking = asked?.id === id ? asked : continuous?.id === id ? continuous : undefined;
  if (checking?.isAwaited !== true) return undefined;
  checking.isAwaited = false;
  return checking;
}

/** Refuses all requested checks: without a complete table there is nothing to compare with. */
function refused(rows: Rows<Row>, state: PartitionState, settings: CheckSettings, kept: Kept): readonly Out[] {
  const why =
    kept === undefined ? 'is not kept' : `is not whole in partition ${state.partition}: ${fillText(state, settings)}`;
  return state.checks.splice(0).map((key) => {
    const row = rows.get(key);
    rows.delete(key);
    const id = row?.kind === 'check' ? row.id : '';
    return report(
      state,
      {
        ...newChecking({ id, repair: false, beganWallMs: 0, pageRows: 0, legs: [] }),
        reason: `the subscription table ${why}`,
      },
      'REFUSED',
    );
  });
}

function begun(rows: Rows<Row>, state: PartitionState, settings: CheckSettings): Checking | undefined {
  const wallTime = state.wallTime!;
  const about = { beganWallMs: wallTime, pageRows: settings.checkPageRows };
  const asked = state.checks[0] === undefined ? undefined : rows.get(state.checks[0]);
  if (asked?.kind === 'check') {
    const { id, repair } = asked;
    state.asked = newChecking({ id, repair, ...about, legs: legsOf(state, asked) });
    return state.asked;
  }
  if (settings.checkRowsPerSecond === 0) return undefined;
  const last = rows.get(PASS);
  if (last?.kind === 'pass' && Math.abs(wallTime - last.beganWallMs) < PASS_MS_MIN) return undefined;
  const all = { shard: '', slice: '', concreteShards: shardsOf(state, false), trieShards: shardsOf(state, true) };
  state.continuous = newChecking({ id: CONTINUOUS, repair: false, ...about, legs: legsOf(state, all) });
  return state.continuous;
}

function newChecking(about: Pick<Checking, 'id' | 'repair' | 'beganWallMs' | 'pageRows' | 'legs'>): Checking {
  const checking: Checking = {
    ...{ ...about, at: 0, after: undefined, page: undefined, phase: 'look', isAwaited: false },
    ...{
      suspects: [],
      upTo: undefined,
      budgetRows: 0,
      sinceReportMs: 0,
      findings: NO_FINDINGS,
      listed: [],
      reason: '',
    },
  };
  checking.page = pageNext(checking);
  return checking;
}

function legsOf(
  { homes, partition }: PartitionState,
  asked: Pick<CheckRow, 'shard' | 'slice' | 'concreteShards' | 'trieShards'>,
): Leg[] {
  const legs: Leg[] = [];
  for (const [slice, { shard }] of homes)
    if ((asked.shard === '' || asked.shard === shard) && (asked.slice === '' || asked.slice === slice))
      legs.push({ slice });
  for (const strayAt of asked.concreteShards) legs.push({ slice: hashSlice(partition), strayAt });
  for (const strayAt of asked.trieShards) legs.push({ slice: groupSlice(partition), strayAt });
  return legs;
}

function shardsOf({ homes }: PartitionState, trie: boolean): ShardId[] {
  const shards = new Set<ShardId>();
  for (const [slice, { shard }] of homes) if (isTrieSlice(slice) === trie) shards.add(shard);
  return [...shards];
}

/** The next request of a leg, if it can be made now. */
function looked(
  rows: Rows<Row>,
  state: PartitionState,
  checking: Checking,
  settings: CheckSettings,
  kept: NonNullable<Kept>,
): readonly Out[] {
  if (checking.isAwaited || checking.budgetRows <= 0) return NOTHING;
  const { slice, strayAt } = checking.legs[checking.at]!;
  const shard = strayAt ?? state.homes.get(slice)?.shard;
  const obstacle = shard === undefined ? 'it was split or merged' : obstacleTo(state, slice, strayAt, shard);
  if (shard === undefined || obstacle !== undefined) {
    passedOver(checking, `${slice}: ${obstacle}`);
    return NOTHING;
  }
  const { id: check, page, after } = checking;
  if (checking.phase === 'mend') {
    const stray = strayAt !== undefined;
    const differences = stray
      ? checking.suspects.filter((each) => isStray(rows, state, shard, each))
      : checking.suspects;
    checking.isAwaited = true;
    return [effect({ kind: 'mend', check, shard, differences, stray })];
  }
  checking.isAwaited = true;
  const look = { kind: 'check', check, shard, after, limit: settings.checkPageRows } as const;
  if (page === undefined)
    return [effect({ ...look, range: { slice, except: [] }, owned: false, upTo: undefined, rows: [] })];
  const { rows: there, done, last } = kept.page(page);
  const live = there.flatMap(([key, row]) => rowIn(state, slice, key, row) ?? []);
  const upTo = done ? undefined : cursorOf(last!);
  return [effect({ ...look, range: state.rangeOf(slice), owned: true, upTo, rows: live })];
}

/** Why a leg cannot be checked now (V3). */
function obstacleTo(
  state: PartitionState,
  slice: SliceKey,
  strayAt: ShardId | undefined,
  shard: ShardId,
): string | undefined {
  if (strayAt === undefined && state.homeOf(slice).moving !== undefined) return 'it is moving';
  return obstacleAt(state, shard);
}

/** Whether the row is stray (V5). */
function isStray(rows: Rows<Row>, state: PartitionState, shard: ShardId, { found }: Difference): boolean {
  const slice = found === undefined ? undefined : state.tree.sliceOf(found.filter, found.clientId);
  const home = slice === undefined ? undefined : state.homes.get(slice);
  if (slice === undefined || home === undefined) return false;
  if (home.shard === shard || home.moving !== undefined) return false;
  for (const key of state.left.keys()) {
    const left = rows.get(key);
    if (left?.kind === 'left' && left.shard === shard && isWithin(slice, left.owner.slice, state.partitions))
      return false;
  }
  return true;
}

/** The same rows are read again, or corrected, at the next tick. */
function turnTo(checking: Checking, phase: Checking['phase'], suspects: readonly Difference[]): void {
  checking.phase = phase;
  checking.suspects = suspects;
}

/** Continues after the rows that were compared. */
function goOn(checking: Checking, rows: number): void {
  checking.findings = { ...checking.findings, rows: checking.findings.rows + rows };
  checking.after = checking.upTo;
  if (checking.after === undefined) checking.at += 1;
  turnTo(checking, 'look', []);
  checking.page = pageNext(checking);
}

function passedOver(checking: Checking, reason: string): void {
  checking.findings = { ...checking.findings, unchecked: checking.findings.unchecked + 1 };
  checking.reason = reason;
  checking.upTo = undefined;
  goOn(checking, 0);
}

function pageNext({ legs, at, after, pageRows }: Checking): Page | undefined {
  const leg = legs[at];
  return leg === undefined || leg.strayAt !== undefined ? undefined : pageOf(leg.slice, after, pageRows);
}

function counted(
  checking: Checking,
  shardId: ShardId,
  differences: readonly Difference[],
  isMended: (difference: Difference) => boolean,
): void {
  const { slice, strayAt } = checking.legs[checking.at]!;
  const findings = { ...checking.findings };
  for (const difference of differences) {
    const kind = kindOf(difference, strayAt !== undefined);
    findings[COUNTED[kind]] += 1;
    const mended = isMended(difference);
    if (mended) findings.mended += 1;
    if (checking.listed.length >= LISTED_MAX) continue;
    const { filter, clientId } = (difference.wanted ?? difference.found)!;
    const place = { topicFilter: filter.slice(0, TEXT_MAX), clientId: clientId.slice(0, TEXT_MAX) };
    checking.listed.push({ kind, slice: slice, shardId, ...place, mended });
  }
  checking.findings = findings;
}

const COUNTED = { MISSING: 'missing', EXTRA: 'extra', DIFFERENT: 'different', STRAY: 'stray' } as const;

function kindOf({ wanted, found }: Difference, isStrayRow: boolean): DifferenceKind {
  if (wanted === undefined) return isStrayRow ? 'STRAY' : 'EXTRA';
  return found === undefined || found.gone ? 'MISSING' : 'DIFFERENT';
}

function placeName({ wanted, found }: Difference): Cursor {
  const { filter, clientId } = (wanted ?? found)!;
  return `${filter}\u0000${clientId}`;
}

/** Identifies a difference, to recognise the same one (V2). */
function nameOf(difference: Difference): string {
  const { wanted, found } = difference;
  return `${placeName(difference)} ${JSON.stringify([wanted?.version, found?.version, found?.gone])}`;
}

function ended(rows: Rows<Row>, state: PartitionState, checking: Checking): readonly Out[] {
  if (checking.id !== CONTINUOUS) {
    rows.delete(state.checks.shift()!);
    state.asked = undefined;
    return [report(state, checking, 'DONE')];
  }
  const before = rows.get(PASS);
  const { beganWallMs, findings } = checking;
  rows.set(PASS, { kind: 'pass', beganWallMs, endedWallMs: state.wallTime!, findings });
  state.continuous = undefined;
  const isNews = differencesIn(findings) > 0 || (before?.kind === 'pass' && differencesIn(before.findings) > 0);
  return isNews ? [report(state, checking, 'DONE')] : NOTHING;
}

export const differencesIn = ({ missing, extra, different, stray, mended }: Findings): number =>
  missing + extra + different + stray - mended;

function report(state: PartitionState, checking: Checking, is: CheckProgress['state']): Out {
  const { id, legs, at, findings, listed, reason } = checking;
  return tell(state, id, {
    ...{ kind: 'CheckProgress', checkId: id, partition: state.partition, state: is, ...findings, dropped: 0 },
    ...{ slices: legs.length, slicesDone: at, differences: is === 'DONE' ? listed : [], reason },
  });
}
