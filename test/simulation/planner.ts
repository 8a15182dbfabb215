// Planner: the real plan stage, with a hand that begins what load would make it begin, far more often than any load would:
// shards, moves, replicas, splits of every kind, merges and retirements. What is begun is the stage's own business.

import type { PlanSettings } from '../../processors/plan/settings.ts';
import { CellState, cellOf } from '../../processors/plan/stage/cell-state.ts';
import { endReplica, replicaOf, startMove } from '../../processors/plan/stage/moves.ts';
import type { CellRow, Row, ShardRow, SliceRow } from '../../processors/plan/stage/rows.ts';
import { isFirst, startChange, startRetire, startShard } from '../../processors/plan/stage/shards.ts';
import { Turn } from '../../processors/plan/stage/turn.ts';
import { NOTHING, type Rows } from '../../processors/step.ts';
import type { SliceKey } from '../../schemas/ids.ts';
import {
  groupSlice,
  hashSlice,
  isTrieSlice,
  parseSlice,
  partitionOf,
  pinSlice,
  placeOf,
  spreadSlices,
} from '../../state/keys.ts';
import type { Stage } from '../../topology/graph.ts';
import type { Chance } from './scheduler.ts';

export interface HandSettings {
  readonly chance: Chance;
  readonly plan: PlanSettings;
  /** How likely it begins something at a tick. */
  readonly share: number;
  readonly shardsMax: number;
  readonly movesMax: number;
  /** Filters that may be carved out. */
  readonly filters: readonly string[];
  readonly isOver: () => boolean;
}

/** Fewer give moves nowhere to go. */
const SHARDS_MIN = 5;
/** Much of what is thought of cannot be done. */
const TRIES_MAX = 4;
const REASON = 'the simulation begins it';

/** The plan stage with the hand. */
export function withHand(stage: Stage, settings: HandSettings): Stage {
  return {
    ...stage,
    step: (rows, input, disk) => {
      const emits = stage.step(rows, input, disk);
      if (input.topic !== 'clock') return emits;
      const begun = begin(rows as unknown as Rows<Row>, settings);
      return begun.length === 0 ? emits : [...emits, ...begun];
    },
  };
}

function begin(rows: Rows<Row>, settings: HandSettings): Turn['emits'] | readonly never[] {
  const { chance, plan, share, isOver } = settings;
  const cell = cellOf(rows);
  if (cell === undefined || !cell.started || isOver() || !chance.hits(share)) return NOTHING;
  const state = states.get(cell) ?? new CellState(rows, cell);
  states.set(cell, state);
  const turn = new Turn(state, plan, []);
  if ([...turn.shards.all()].length < SHARDS_MIN) allocate(turn, settings);
  for (let tries = 0; tries < TRIES_MAX && turn.emits.length === 0; tries++) chance.oneOf(DEEDS)(turn, settings);
  return turn.emits;
}

/** One for each life of the rows. */
const states = new WeakMap<CellRow, CellState>();

type Deed = (turn: Turn, settings: HandSettings) => void;

const isServing = (shard: ShardRow): boolean => shard.state === 'READY' && shard.lost === undefined && shard.epoch > 0;
const freeSlices = (turn: Turn): SliceRow[] =>
  [...turn.slices.all()].filter(({ busyWith, shard }) => busyWith === '' && turn.shards.get(shard)?.lost === undefined);

const move =
  (replicates: boolean): Deed =>
  (turn, { chance, movesMax }) => {
    if (turn.cell.openMoves.length >= movesMax) return;
    const slices = freeSlices(turn);
    if (slices.length === 0) return;
    const slice = chance.oneOf(slices);
    const kind = turn.shards.get(slice.shard)!.storeKind;
    const targets = [...turn.shards.all()].filter(
      (shard) => shard.storeKind === kind && shard.id !== slice.shard && isServing(shard),
    );
    if (targets.length > 0) startMove(turn, slice, chance.oneOf(targets).id, REASON, {}, { replicates });
  };

const allocate: Deed = (turn, { chance, plan, shardsMax }) => {
  if ([...turn.shards.all()].length >= shardsMax) return;
  const kind = chance.hits(0.6) ? 'KEY_VALUE' : 'TRIE';
  startShard(turn, kind, kind === 'TRIE' ? plan.genesis.trieType : plan.genesis.concreteType, REASON, {});
};

const retire: Deed = (turn, { chance }) => {
  const used = new Set<string>();
  for (const { shard } of turn.slices.all()) used.add(shard);
  for (const open of turn.moves.open()) {
    used.add(open.from);
    used.add(open.to);
  }
  const empty = [...turn.shards.all()].filter((shard) => isServing(shard) && !isFirst(shard.id) && !used.has(shard.id));
  if (empty.length > 0) startRetire(turn, chance.oneOf(empty), REASON, {});
};

const unreplicate: Deed = (turn, { chance }) => {
  const shared = [...turn.slices.all()].flatMap((slice) => replicaOf(turn, slice) ?? []);
  if (shared.length > 0) endReplica(turn, chance.oneOf(shared), REASON, {});
};

const split: Deed = (turn, settings) => {
  const { chance, plan, filters } = settings;
  const slices = freeSlices(turn);
  if (slices.length === 0 || [...turn.slices.all()].length > 24) return;
  const slice = chance.oneOf(slices);
  const into = partsOf(slice.slice, chance, plan.partitions, filters, (key) => turn.slices.get(key) !== undefined);
  if (into === undefined) return;
  startChange(turn, 'SPLIT', slice.shard, [slice.slice], into, REASON, {});
};

function partsOf(
  slice: SliceKey,
  chance: Chance,
  partitions: number,
  filters: readonly string[],
  isThere: (key: SliceKey) => boolean,
): SliceKey[] | undefined {
  const parsed = parseSlice(slice);
  switch (parsed?.kind) {
    case 'hash': {
      const own = filters.filter(
        (filter) => !placeOf(filter).trie && partitionOf(filter, partitions) === parsed.partition,
      );
      if (chance.hits(0.5) && own.length > 0) {
        const pin = pinSlice(chance.oneOf(own));
        return isThere(pin) ? undefined : [slice, pin];
      }
      if (parsed.bits.length >= 3) return undefined;
      return ['0', '1'].map((bit) => hashSlice(parsed.partition, parsed.bits + bit));
    }
    case 'pin':
      return spreadSlices(parsed.filter, 2 + chance.below(2));
    case 'group': {
      const own = filters
        .map(placeOf)
        .filter(
          ({ trie, routingKey, prefix }) =>
            trie &&
            partitionOf(routingKey, partitions) === parsed.partition &&
            prefix.startsWith(parsed.prefix) &&
            prefix !== parsed.prefix,
        );
      if (own.length === 0) return undefined;
      const group = groupSlice(parsed.partition, chance.oneOf(own).prefix);
      return isThere(group) ? undefined : [slice, group];
    }
    default:
      return undefined;
  }
}

const merge: Deed = (turn, { chance, plan }) => {
  const free = freeSlices(turn);
  if (free.length === 0) return;
  const slice = chance.oneOf(free);
  const all = new Map(free.map((each) => [each.slice, each]));
  const parsed = parseSlice(slice.slice);
  let before: SliceKey[] = [];
  let into: SliceKey | undefined;
  if (parsed?.kind === 'hash' && parsed.bits !== '') {
    into = hashSlice(parsed.partition, parsed.bits.slice(0, -1));
    before = ['0', '1'].map((bit) => hashSlice(parsed.partition, parsed.bits.slice(0, -1) + bit));
  } else if (parsed?.kind === 'spread') {
    into = pinSlice(parsed.filter);
    before = spreadSlices(parsed.filter, parsed.of);
  } else if (parsed?.kind === 'pin' || (parsed?.kind === 'group' && parsed.prefix !== '')) {
    const homes = free.filter(
      (each) => each.slice !== slice.slice && isAround(each.slice, slice.slice, plan.partitions),
    );
    into = homes.sort((a, b) => b.slice.length - a.slice.length)[0]?.slice;
    if (into !== undefined) before = [into, slice.slice];
  }
  if (into === undefined || !before.every((key) => all.get(key)?.shard === slice.shard)) return;
  startChange(turn, 'MERGE', slice.shard, before, [into], REASON, {});
};

/** Apply itself judges; this only keeps from asking for what it always refuses. */
function isAround(outer: SliceKey, key: SliceKey, partitions: number): boolean {
  if (isTrieSlice(outer) !== isTrieSlice(key)) return false;
  const [around, within] = [parseSlice(outer), parseSlice(key)];
  if (around?.kind === 'group' && within?.kind === 'group')
    return around.partition === within.partition && within.prefix.startsWith(around.prefix);
  return (
    around?.kind === 'hash' && within?.kind === 'pin' && partitionOf(within.filter, partitions) === around.partition
  );
}

const DEEDS: readonly Deed[] = [
  move(false),
  move(false),
  move(false),
  move(false),
  allocate,
  split,
  split,
  merge,
  move(true),
  unreplicate,
  retire,
];
