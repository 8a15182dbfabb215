// Checks: requests to compare the rows of shards with the subscription table. The planner passes a request on to the
// tasks of the partitions, which make the check (apply/check.ts), and stores what they report.
//
//   Y1. A request has one effect, however often it comes. A request about something that does not exist is refused, and
//       stored as refused.
//   Y2. The last checks are stored, each with the last report of every partition. Of the continuous check, which nobody
//       requests, partitions report when they have found something, and when that is gone.

import type { ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { CheckProgress, CheckRequest } from '../../../schemas/records.ts';
import { parseSlice, partitionOfSlice } from '../../../state/keys.ts';
import { readerOf } from './cell-state.ts';
import type { PlanRows } from './rows.ts';
import type { Turn } from './turn.ts';

const LISTED_MAX = 200;
/** Apply's id of the continuous check. */
const CONTINUOUS = 'continuous';

export function takeCheckRequest(turn: Turn, { requestId: id, shardId, slice, repair }: CheckRequest): void {
  const { checks } = turn.state;
  if (checks.has(id) || id === CONTINUOUS) return; // Y1
  const refusal = refusalOf(turn, shardId, slice);
  const partitions = partitionsOf(turn, slice, refusal);
  checks.add({ kind: 'check', id, at: turn.now, shard: shardId, slice, repair, partitions, refusal });
  turn.keepCell();
  if (refusal !== '') {
    turn.decide({ kind: 'REFUSE', subject: shardId || slice, reason: refusal, constraint: 'request', requestId: id });
    return;
  }
  const ready = [...turn.shards.all()].filter(({ state, lost }) => state === 'READY' && lost === undefined);
  const searched = slice !== '' ? [] : shardId === '' ? ready : ready.filter((shard) => shard.id === shardId);
  const idsOf = (kind: 'KEY_VALUE' | 'TRIE'): ShardId[] =>
    searched.flatMap((shard) => (shard.storeKind === kind ? [shard.id] : []));
  const asked = { checkId: id, shardId, slice, repair, concreteShards: idsOf('KEY_VALUE'), trieShards: idsOf('TRIE') };
  const commandIds = partitions.map((partition) =>
    turn.commandPartition(id, partition, { kind: 'CheckSlices', ...asked }, `request ${id}`),
  );
  const what = slice !== '' ? slice : shardId !== '' ? `what is on ${shardId}` : 'every shard';
  const reason = `A check of ${what} was requested${repair ? ', with repair,' : ''} and passed on to apply.`;
  turn.decide({
    kind: 'KEEP',
    subject: shardId || slice || 'shards',
    reason,
    requestId: id,
    commandIds: commandIds.slice(0, 1),
  });
}

export function takeCheckProgress(turn: Turn, { kind: _, ...told }: CheckProgress): void {
  const { checks, checkParts } = turn.state;
  if (told.checkId !== CONTINUOUS && !checks.has(told.checkId)) return;
  checkParts.put({ kind: 'checkPart', ...told });
}

export interface CheckSummary {
  readonly checkId: string;
  /** 0 for the continuous check. */
  readonly at: number;
  readonly shardId: string;
  readonly slice: string;
  readonly repair: boolean;
  readonly state: 'RUNNING' | 'DONE' | 'REFUSED';
  readonly partitions: number;
  /** Partitions that have reported their progress. */
  readonly partitionsHeard: number;
  readonly partitionsDone: number;
  readonly slices: number;
  readonly slicesDone: number;
  readonly rows: number;
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  readonly stray: number;
  readonly mended: number;
  readonly unchecked: number;
  readonly differences: CheckProgress['differences'];
  readonly reasons: readonly string[];
}

/** Newest first; the continuous check is last, if it has found something. */
export function checksOf(rows: PlanRows): CheckSummary[] {
  const { checks, checkParts } = readerOf(rows);
  const parts = [...checkParts.all()];
  const found = [...checks.all()].map(({ id, at, shard: shardId, slice, repair, partitions, refusal }) => {
    const of = parts.filter(({ checkId }) => checkId === id);
    const ended = of.filter(({ state }) => state !== 'RUNNING').length;
    const isRefused = refusal !== '' || of.some(({ state }) => state === 'REFUSED');
    const state = isRefused
      ? ('REFUSED' as const)
      : ended < partitions.length
        ? ('RUNNING' as const)
        : ('DONE' as const);
    const summary = { checkId: id, at, shardId, slice, repair, state, partitions: partitions.length };
    return { ...summary, ...sumOf(of), reasons: refusal === '' ? reasonsIn(of) : [refusal] };
  });
  const always = parts.filter(({ checkId }) => checkId === CONTINUOUS);
  const about = { checkId: CONTINUOUS, at: 0, shardId: '', slice: '', repair: false, state: 'DONE' as const };
  const continuous = { ...about, partitions: always.length, ...sumOf(always), reasons: reasonsIn(always) };
  found.sort((a, b) => b.at - a.at || (a.checkId < b.checkId ? 1 : -1));
  return always.length === 0 ? found : [...found, continuous];
}

// ---- private -------------------------------------------------------------------------------------------------------

type Part = Omit<CheckProgress, 'kind'>;

function refusalOf(turn: Turn, shardId: string, slice: string): string {
  if (shardId !== '' && turn.shards.get(shardId as ShardId) === undefined) return `There is no shard ${shardId}.`;
  if (slice !== '' && turn.slices.get(slice as SliceKey) === undefined) return `There is no slice ${slice}.`;
  return '';
}

function partitionsOf(turn: Turn, slice: string, refusal: string): number[] {
  if (refusal !== '') return [];
  const { partitions } = turn.settings;
  const parsed = slice === '' ? undefined : parseSlice(slice);
  return parsed === undefined
    ? Array.from({ length: partitions }, (_, i) => i)
    : [partitionOfSlice(parsed, partitions)];
}

const SUMMED = [
  ...(['slices', 'slicesDone', 'rows', 'missing', 'extra', 'different', 'stray', 'mended', 'unchecked'] as const),
];

function sumOf(parts: readonly Part[]) {
  const sums = Object.fromEntries(
    SUMMED.map((name) => [name, parts.reduce((sum, part) => sum + part[name], 0)]),
  ) as Record<(typeof SUMMED)[number], number>;
  const partitionsDone = parts.filter(({ state }) => state !== 'RUNNING').length;
  return {
    ...sums,
    partitionsHeard: parts.length,
    partitionsDone,
    differences: parts.flatMap((part) => part.differences).slice(0, LISTED_MAX),
  };
}

const reasonsIn = (parts: readonly Part[]): string[] => [
  ...new Set(parts.flatMap(({ reason }) => (reason === '' ? [] : reason))),
];
