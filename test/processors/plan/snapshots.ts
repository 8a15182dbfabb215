// Small snapshots of a cell, made by hand, and what a plan does with them, in short.

import { typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import type { Snapshot } from '../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedShard, PlannedSlice } from '../../../processors/plan/cluster/cluster-shard.ts';
import { emptyTotal } from '../../../processors/plan/demand/ahead.ts';
import { emptyLoad, type Load } from '../../../processors/plan/demand/demand.ts';
import type { plan } from '../../../processors/plan/plan.ts';
import { eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import { CATALOG, FOOTPRINTS, SETTINGS, T0 } from './stage-by-hand.ts';

export const NOW = eventTime(T0);
export const MINUTE_MS = 60_000;

/** A load that is `now` until bucket `from` (of two minutes each) and `later` from there on. */
export function load(now: number, later = now, from = 0): Load {
  const made = emptyLoad(SETTINGS.horizonSteps);
  made.now = now;
  for (let k = 0; k < made.median.length; k++) made.median[k] = k >= from ? later : now;
  return made;
}

export const shard = (id: string, more: Partial<PlannedShard> = {}): PlannedShard => ({
  id: id as ShardId,
  kind: 'KEY_VALUE',
  type: typeNamed(CATALOG, 'kv'),
  ready: true,
  resizing: false,
  first: false,
  measuredUtilisation: undefined,
  roomyPlans: 0,
  ...more,
});

export const slice = (
  key: string,
  on: string,
  perSecond: number | Load,
  more: Partial<PlannedSlice> = {},
): PlannedSlice => ({
  slice: key as SliceKey,
  shard: on as ShardId,
  entries: 1_000,
  bytes: 200_000,
  load: typeof perSecond === 'number' ? load(perSecond) : perSecond,
  busy: false,
  coolUntil: eventTime(0),
  ...more,
});

export const snapshot = (more: Partial<Snapshot>): Snapshot => ({
  now: NOW,
  settings: SETTINGS,
  catalog: CATALOG,
  shards: [],
  slices: [],
  heavyTopics: [],
  heavyGroups: [],
  totals: { KEY_VALUE: emptyTotal(SETTINGS), TRIE: emptyTotal(SETTINGS) },
  footprints: FOOTPRINTS,
  plannedBefore: { KEY_VALUE: [], TRIE: [] },
  distrust: '',
  measured: { copyBytesPerSecond: 8e6, propagationMs: 1_000, provisioningMs: {} },
  moves: 0,
  movesOf: new Map(),
  ledger: [],
  nextShard: 9,
  avoided: new Set(),
  ...more,
});

/** What a plan does, in short. */
export const said = (made: ReturnType<typeof plan>): string[] =>
  made.actions.map((action) => {
    if (action.kind === 'MOVE') return `MOVE ${action.slice.slice} ${action.slice.shard}>${action.to}`;
    if (action.kind === 'SPLIT' || action.kind === 'MERGE')
      return `${action.kind} ${action.before.map((each) => each.slice)}>${action.after.map((each) => each.slice)}`;
    if (action.kind === 'ALLOCATE' || action.kind === 'RESIZE')
      return `${action.kind} ${action.shard} ${action.type.name}`;
    return `${action.kind} ${action.kind === 'RETIRE' ? action.shard : ''}`;
  });

/** Totals by which key-value shards for so many operations are planned. */
export function wanting(perSecond: number): Snapshot['totals'] {
  const total = emptyTotal(SETTINGS);
  total.now = perSecond;
  total.median.fill(perSecond);
  return { KEY_VALUE: total, TRIE: emptyTotal(SETTINGS) };
}

/** So many plans that wanted one shard. */
export const plansForOne = (plans: number): Snapshot['plannedBefore'] => ({
  KEY_VALUE: Array(plans).fill(700),
  TRIE: [],
});

export const four = (on: string, perSecond: number | Load): PlannedSlice[] =>
  [0, 1, 2, 3].map((p) => slice(`c/${p}/`, on, perSecond));

/** Both stay, whatever is asked of them. */
export const STAYING = [shard('a', { first: true }), shard('b', { first: true })];
/** Two shards that are as full as each other. */
export const EVEN = { shards: STAYING, slices: [...four('a', 100), slice('c/4/', 'b', 400)] };

/** Of an action that answers no trouble. */
export const FACTS = {
  reason: '',
  forecastPerSecond: 1,
  capacityPerSecond: 1,
  crossingAt: NOW,
  leadTimeMs: 0,
  dollarsPerHour: 0,
  dollars: 0,
  savesDollars: 1,
  alternatives: [],
  urgent: false,
  concerns: 'a' as ShardId,
};
