// Rounds of plans over a made cluster, without stage or time-outs: what a plan says is done before the next one. Shows what
// the planner's decisions lead to, thousands of rounds in a second. All randomness is an argument.

import type { Action } from '../../../processors/plan/cluster/actions.ts';
import { typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import type { Snapshot } from '../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedShard, PlannedSlice } from '../../../processors/plan/cluster/cluster-shard.ts';
import { emptyTotal, type TotalLoads } from '../../../processors/plan/demand/ahead.ts';
import { emptyLoad, type Load, wholeLoad } from '../../../processors/plan/demand/demand.ts';
import { type Plan, plan } from '../../../processors/plan/plan.ts';
import type { PlanSettings } from '../../../processors/plan/settings.ts';
import type { Spending } from '../../../processors/plan/stage/rows.ts';
import { eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { isTrieSlice } from '../../../state/keys.ts';
import { CATALOG, FOOTPRINTS, SETTINGS, T0 } from './stage-by-hand.ts';

export const ROUND_MS = SETTINGS.tickMs;
const HOUR_MS = 3_600_000;

export interface Cluster {
  readonly settings: PlanSettings;
  readonly now: number;
  readonly shards: readonly PlannedShard[];
  readonly slices: readonly PlannedSlice[];
  readonly ledger: readonly Spending[];
  /** What the last plans wanted of each kind. */
  readonly planned: Snapshot['plannedBefore'];
  readonly nextShard: number;
}

/** Hash slices and whole groups of a few partitions, all on the two shards of genesis, with loads as `perSecond` says. */
export function genesisOf(partitions: number, bits: number, perSecond: (slice: SliceKey) => number): Cluster {
  const shard = (id: string, type: string): PlannedShard => ({
    id: id as ShardId,
    kind: typeNamed(CATALOG, type).kind,
    type: typeNamed(CATALOG, type),
    ready: true,
    resizing: false,
    first: true,
    measuredUtilisation: undefined,
    roomyPlans: 0,
  });
  const keys = Array.from({ length: partitions }, (_, partition) => [
    `w/${partition}/`,
    ...Array.from(
      { length: 2 ** bits },
      (_, i) => `c/${partition}/${i.toString(2).padStart(bits, '0').slice(0, bits)}`,
    ),
  ]).flat() as SliceKey[];
  return {
    settings: { ...SETTINGS, partitions },
    now: T0,
    shards: [shard('shard-0001', 'kv'), shard('shard-0002', 'trie')],
    slices: keys.map((slice) => ({
      slice,
      shard: (isTrieSlice(slice) ? 'shard-0002' : 'shard-0001') as ShardId,
      entries: 1_000,
      bytes: 200_000,
      load: steadily(perSecond(slice)),
      busy: false,
      coolUntil: eventTime(0),
    })),
    ledger: [],
    planned: { KEY_VALUE: [], TRIE: [] },
    nextShard: 3,
  };
}

/** The same load at each step, with a spread of that share of it. */
export function steadily(perSecond: number, spreadShare = 0): Load {
  const load = emptyLoad(SETTINGS.horizonSteps);
  load.now = perSecond;
  load.median.fill(perSecond);
  load.spread.fill(perSecond * spreadShare);
  return load;
}

/** One plan, and the cluster a round later with all of it done. */
export function roundOf(cluster: Cluster): { readonly after: Cluster; readonly made: Plan } {
  const made = plan(snapshotOf(cluster));
  const roomy = new Set(made.roomy);
  const counted = cluster.shards.map((shard) => ({
    ...shard,
    ready: true,
    roomyPlans: roomy.has(shard.id) ? shard.roomyPlans + 1 : 0,
  }));
  const planned = (kind: StoreKind): number[] =>
    [...cluster.planned[kind], made.fleet[kind]!.capacityPerSecond].slice(-cluster.settings.agreeingPlans);
  const noted = { KEY_VALUE: planned('KEY_VALUE'), TRIE: planned('TRIE') };
  const after = made.actions.reduce(done, { ...cluster, shards: counted, planned: noted });
  return { after: { ...after, now: cluster.now + ROUND_MS }, made };
}

/** What is wrong with the cluster, or with what a plan did to it (I5, I12); empty when nothing is. */
export function problemsBetween(before: Cluster, after: Cluster, made: Plan): string[] {
  const { settings } = before;
  const problems: string[] = [];
  const kinds = new Map(after.shards.map((shard) => [shard.id, shard.kind]));
  for (const { slice, shard } of after.slices)
    if (kinds.get(shard) !== (isTrieSlice(slice) ? 'TRIE' : 'KEY_VALUE'))
      problems.push(`${slice} is on ${shard}, which is ${kinds.get(shard) ?? 'not there'}`);
  problems.push(...coverProblems(after));
  const count = (kind: Action['kind']): number => made.actions.filter((action) => action.kind === kind).length;
  const recent = after.ledger.filter(({ at }) => before.now - at < HOUR_MS);
  for (const [name, value, most] of [
    ['moves at once', count('MOVE'), settings.movesMax],
    ['shards', after.shards.length, settings.shardsMax],
    ['shards made in an hour', recent.reduce((sum, each) => sum + each.shards, 0), settings.shardsPerHourMax],
    [
      'dollars an hour',
      after.shards.reduce((sum, { type }) => sum + type.dollarsPerHour, 0) +
        recent.reduce((sum, each) => sum + each.dollars, 0),
      settings.dollarsPerHourMax,
    ],
  ] as const)
    if (value > most) problems.push(`${name}: ${value}, of at most ${most}`);
  for (const action of made.actions) {
    if (action.kind !== 'MOVE') continue;
    if (action.slice.coolUntil > before.now) problems.push(`${action.slice.slice} moved while it was to rest`);
    if (!before.shards.some(({ id, ready }) => id === action.to && ready))
      problems.push(`${action.slice.slice} moved to ${action.to}, which was not ready`);
  }
  return problems;
}

/** The cluster as a plan sees it, with nothing in flight. */
export function snapshotOf(cluster: Cluster): Snapshot {
  const { settings, now, shards, slices, ledger, planned, nextShard } = cluster;
  return {
    now: eventTime(now),
    settings,
    catalog: settings.catalog,
    shards,
    slices,
    heavyTopics: [],
    heavyGroups: [],
    totals: totalsOf(cluster),
    footprints: FOOTPRINTS,
    plannedBefore: planned,
    distrust: '',
    measured: { copyBytesPerSecond: 8e6, propagationMs: 1_000, provisioningMs: {} },
    moves: 0,
    movesOf: new Map(),
    ledger,
    nextShard,
    avoided: new Set(),
  };
}

/** The sums of all slices, the same beyond the horizon as at its end. */
function totalsOf({ slices, settings }: Cluster): TotalLoads {
  const totals = { KEY_VALUE: emptyTotal(settings), TRIE: emptyTotal(settings) };
  for (const { slice, load } of slices) {
    const total = isTrieSlice(slice) ? totals.TRIE : totals.KEY_VALUE;
    total.now += load.now;
    for (let slot = 0; slot < total.median.length; slot++) {
      const step = Math.min(slot, settings.horizonSteps - 1);
      total.median[slot]! += load.median[step]!;
      for (const { sum, squares } of total.spreads) {
        sum[slot]! += load.spread[step]!;
        squares[slot]! += load.spread[step]! ** 2;
      }
    }
  }
  return totals;
}

function done(cluster: Cluster, action: Action): Cluster {
  const rest = eventTime(cluster.now + cluster.settings.coolDownMs);
  const spend = (more: Partial<Spending>): Spending[] => [
    ...cluster.ledger,
    { at: eventTime(cluster.now), keys: 0, urgent: action.urgent, shards: 0, dollars: 0, ...more },
  ];
  switch (action.kind) {
    case 'MOVE': {
      const { slice: moving, to, replicates } = action;
      const rested = (slice: PlannedSlice): PlannedSlice[] => {
        if (slice.slice !== moving.slice) return [slice];
        if (!replicates) return [{ ...slice, shard: to, coolUntil: rest }];
        const own = { ...moving, busy: true, coolUntil: rest };
        return [
          { ...own, replica: to },
          { ...own, shard: to, isReplica: true },
        ];
      };
      return { ...cluster, slices: cluster.slices.flatMap(rested), ledger: spend({ keys: moving.entries }) };
    }
    case 'UNREPLICATE': {
      const { replica: _, ...alone } = action.slice;
      const whole = { ...alone, load: wholeLoad(alone.load), busy: false, coolUntil: rest };
      const left = cluster.slices.filter(({ slice }) => slice !== alone.slice);
      return { ...cluster, slices: [...left, whole] };
    }
    case 'SPLIT':
    case 'MERGE': {
      const gone = new Set(action.before.map(({ slice }) => slice));
      const made = action.after.map((slice) => ({ ...slice, shard: action.shard, busy: false, coolUntil: rest }));
      return { ...cluster, slices: [...cluster.slices.filter(({ slice }) => !gone.has(slice)), ...made] };
    }
    case 'ALLOCATE': {
      const { shard: id, storeKind: kind, type } = action;
      const made = { id, kind, type, ready: false, resizing: false, first: false, measuredUtilisation: undefined };
      return {
        ...cluster,
        shards: [...cluster.shards, { ...made, roomyPlans: 0 }],
        ledger: spend({ shards: 1, dollars: type.dollarsPerProvisioning }),
        nextShard: cluster.nextShard + 1,
      };
    }
    case 'RESIZE':
      return {
        ...cluster,
        shards: cluster.shards.map((shard) =>
          shard.id === action.shard ? { ...shard, type: action.type, roomyPlans: 0 } : shard,
        ),
        ledger: spend({ dollars: action.type.dollarsPerProvisioning }),
      };
    case 'RETIRE':
      return { ...cluster, shards: cluster.shards.filter(({ id }) => id !== action.shard) };
    case 'WAIT':
      return cluster;
  }
}

/** Hash slices of each partition that do not cover it exactly once. */
function coverProblems({ slices, settings }: Cluster): string[] {
  const covered = Array<number>(settings.partitions).fill(0);
  for (const { slice } of slices) {
    const [kind, partition, bits] = slice.split('/') as [string, string, string];
    if (kind === 'c') covered[Number(partition)]! += 2 ** -bits.length;
  }
  return covered.flatMap((share, partition) =>
    share === 1 ? [] : [`partition ${partition} is covered ${share} times`],
  );
}
