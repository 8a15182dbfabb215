// Shards: requests the shards that slices are on, and reports the results.
//
//   P1. Every task requests the shards of its own first slices before its first write, and again after each start.
//   P2. One task reports about a shard: the one that got the command, or for the first shards the one that `reportsOn`
//       names.
//   P3. A shard that is not ready is requested again at each tick; after `provisionTriesMax` failures it is reported as
//       failed.
//   P4. A task knows only its own slices, so the store decides about its release: its records are those of all tasks.
//       When it refuses, nothing changes, and the planner is told. A store that does not answer is asked again later.
//   P5. A shard is created only while it is being allocated, and at genesis. Once it was ready no task has it created
//       again: it would come back empty, and its empty answers would be believed. It is lost then, and requested until
//       it is back.

import type { ShardId } from '../../schemas/ids.ts';
import type { Command, ShardProgressState } from '../../schemas/records.ts';
import type { Outcome } from '../../state/effects.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD, type GenesisSettings } from '../../state/genesis.ts';
import { NOTHING, type Rows } from '../step.ts';
import { isPausing } from './away.ts';
import { shardGone } from './left.ts';
import { effect, type Out, tell } from './out.ts';
import { type PartitionState, type Row, reportsOn, type ShardWork, shardRow, type Wanted } from './partition-state.ts';

export interface ShardSettings {
  readonly genesis: GenesisSettings;
  /** Failed tries, one for each tick, until a shard is reported as failed. */
  readonly provisionTriesMax: number;
}

/** The first effects of a task: they request its first shards, before anything is written to them (P1). */
export function firstShards(rows: Rows<Row>, state: PartitionState, settings: ShardSettings): Out[] {
  return genesisShards(settings.genesis).flatMap(([shard, datastoreType]) => {
    if (reportsOn(state, shard)) return ask(rows, state, shard, datastoreType, 'allocating');
    state.unready.set(shard, { datastoreType, resize: false, create: true, instanceId: '' });
    return [provision(state, shard)];
  });
}

/** After a start: requests every shard that this task answers for, and the first shards while slices are there (P1). */
export function shardsAgain(rows: Rows<Row>, state: PartitionState, settings: ShardSettings): Out[] {
  const out: Out[] = [];
  // The first effects of a task do not end before both exist, whichever task has created them.
  for (const [shard, datastoreType] of genesisShards(settings.genesis))
    if (state.uses(shard)) state.unready.set(shard, { datastoreType, resize: false, create: false, instanceId: '' });
  for (const [, row] of rows.entries()) {
    if (row.kind !== 'shard' || row.state === 'failed') continue;
    if (row.state === 'releasing') out.push(release(state, row.shard));
    else state.unready.set(row.shard, wanted(row));
  }
  return [...askedAgain(state, 0), ...out];
}

export const askedAgain = (state: PartitionState, elapsedMs: number): Out[] =>
  [...state.unready.keys()].flatMap((shard) => (isPausing(state, shard, elapsedMs) ? [] : [provision(state, shard)]));

/** At each tick: asks again the stores of shards that are to be released and have not answered (P4). */
export function releasedAgain(state: PartitionState, elapsedMs: number): Out[] {
  const out: Out[] = [];
  for (const [shard, waitMs] of state.releasing) {
    if (waitMs <= elapsedMs) out.push(release(state, shard));
    else state.releasing.set(shard, waitMs - elapsedMs);
  }
  return out;
}

export function onShardCommand(
  rows: Rows<Row>,
  state: PartitionState,
  body: Extract<Command['body'], { readonly kind: 'AllocateShard' | 'ResizeShard' | 'RetireShard' }>,
): Out[] {
  const { shardId: shard } = body;
  if (body.kind === 'AllocateShard') return ask(rows, state, shard, body.datastoreType, 'allocating');
  if (body.kind === 'ResizeShard') return ask(rows, state, shard, body.datastoreType, 'resizing');
  const known = rows.get(shardRow(shard));
  const row = known?.kind === 'shard' ? known : newWork(state, shard, '', 'releasing');
  const busy = state.uses(shard) || [...state.active].some((id) => isTargetOf(rows.get(`move/${id}`), shard));
  if (busy) return [report(state, row, 'FAILED', 'not released: a slice is on it or moves to it')];
  state.unready.delete(shard);
  rows.set(shardRow(shard), { ...row, state: 'releasing', sinceWallMs: state.wallTime ?? 0 });
  return [release(state, shard)];
}

export function onProvisioned(
  rows: Rows<Row>,
  state: PartitionState,
  outcome: Extract<Outcome, { readonly kind: 'provisioned' }>,
  settings: ShardSettings,
): readonly Out[] {
  const { shard, instanceId, address } = outcome;
  const wanted = state.unready.get(shard);
  if (wanted?.datastoreType !== outcome.datastoreType) return NOTHING; // The outcome of an earlier request.
  const row = rows.get(shardRow(shard));
  if (outcome.state === 'ready') {
    state.unready.delete(shard);
    if (row?.kind !== 'shard') return NOTHING; // P2
    const ready: ShardWork = { ...row, state: 'ready', failures: 0, instanceId, address };
    rows.set(shardRow(shard), ready);
    if (row.state === 'resizing') return [report(state, ready, 'RESIZED', outcome.reason)];
    const isNews = row.state !== 'ready' || row.address !== address || row.instanceId !== instanceId;
    return isNews ? [report(state, ready, 'READY', outcome.reason)] : NOTHING;
  }
  if (outcome.state === 'pending' || outcome.state === 'lost' || row?.kind !== 'shard') return NOTHING; // P3, P5
  const failures = row.failures + 1;
  if (failures < settings.provisionTriesMax) {
    rows.set(shardRow(shard), { ...row, failures });
    return NOTHING;
  }
  state.unready.delete(shard);
  const failed: ShardWork = { ...row, state: 'failed', failures };
  rows.set(shardRow(shard), failed);
  return [report(state, failed, 'FAILED', outcome.reason)];
}

export function onReleased(
  rows: Rows<Row>,
  state: PartitionState,
  { shard, refused }: Extract<Outcome, { readonly kind: 'released' }>,
): readonly Out[] {
  const row = rows.get(shardRow(shard));
  state.releasing.delete(shard);
  if (refused === '') shardGone(rows, state, shard);
  if (row?.kind !== 'shard' || row.state !== 'releasing') return NOTHING;
  if (refused === '' || row.datastoreType === '') rows.delete(shardRow(shard));
  else rows.set(shardRow(shard), { ...row, state: 'ready' });
  return [
    refused === '' ? report(state, row, 'RELEASED', '') : report(state, row, 'FAILED', `not released: ${refused}`),
  ];
}

// ---- private -------------------------------------------------------------------------------------------------------

const genesisShards = (genesis: GenesisSettings): readonly (readonly [ShardId, string])[] => [
  [FIRST_CONCRETE_SHARD, genesis.concreteType],
  [FIRST_TRIE_SHARD, genesis.trieType],
];

function ask(
  rows: Rows<Row>,
  life: PartitionState,
  shard: ShardId,
  datastoreType: string,
  state: 'allocating' | 'resizing',
): Out[] {
  const known = rows.get(shardRow(shard));
  const fresh = newWork(life, shard, datastoreType, state);
  const row: ShardWork =
    known?.kind === 'shard' ? { ...fresh, instanceId: known.instanceId, address: known.address } : fresh;
  rows.set(shardRow(shard), row);
  life.releasing.delete(shard);
  life.unready.set(shard, wanted(row));
  return [provision(life, shard), report(life, row, 'PROVISIONING', '')];
}

function release(state: PartitionState, shard: ShardId): Out {
  state.releasing.set(shard, RELEASE_AGAIN_MS);
  return effect({ kind: 'release', shard });
}

/** Nothing waits for a release, and a request may wait for a time-out. */
const RELEASE_AGAIN_MS = 60_000;

function provision(state: PartitionState, shard: ShardId): Out {
  return effect({ kind: 'provision', shard, ...state.unready.get(shard)! });
}

/** P5: a row has an instance once the shard was ready for the first time. */
const wanted = ({ datastoreType, state, instanceId }: ShardWork): Wanted => ({
  datastoreType,
  resize: state === 'resizing',
  create: instanceId === '',
  instanceId,
});

const newWork = (
  life: PartitionState,
  shard: ShardId,
  datastoreType: string,
  state: ShardWork['state'],
): ShardWork => ({
  kind: 'shard',
  shard,
  datastoreType,
  state,
  sinceWallMs: life.wallTime ?? 0,
  failures: 0,
  instanceId: '',
  address: '',
});

/** How long provisioning took is measured by the host's clock, since it does not depend on events; 0: not measured. */
function report(life: PartitionState, row: ShardWork, state: ShardProgressState, reason: string): Out {
  const { shard, datastoreType, instanceId, address, sinceWallMs } = row;
  const tookMs = sinceWallMs === 0 ? 0 : Math.max(0, (life.wallTime ?? sinceWallMs) - sinceWallMs);
  return tell(life, shard, {
    kind: 'ShardProgress',
    shardId: shard,
    datastoreType,
    state,
    instanceId,
    address,
    tookMs,
    reason,
  });
}

const isTargetOf = (row: Row | undefined, shard: ShardId): boolean => row?.kind === 'move' && row.to === shard;
