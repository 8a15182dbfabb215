// Plan: how long one planning round takes, from the rows of a cell to a plan: snapshot, demand and plan. Two synthetic
// cells of each size, from a seed: a calm one, in which balancing, merging and shrinking are considered, and one in
// which a few shards have a shortage. CPU time of one thread, since other processes may be running; the figure is the
// best of some rounds.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { randomFrom } from '../evaluation/random.ts';
import { type Catalog, catalogOf } from '../processors/plan/cluster/catalog.ts';
import { type Plan, plan } from '../processors/plan/plan.ts';
import type { CellState } from '../processors/plan/stage/cell-state.ts';
import { PLAN_DEFAULTS, type PlanSettings } from '../processors/plan/stage/plan-stage.ts';
import { type Row, shardNumbered } from '../processors/plan/stage/rows.ts';
import { beginCell } from '../processors/plan/stage/shards.ts';
import { snapshotOf } from '../processors/plan/stage/snapshot.ts';
import type { Rows } from '../processors/step.ts';
import { epoch, eventTime } from '../schemas/ids.ts';
import { hashSlice, leafSeries } from '../state/keys.ts';
import type { Measurement } from './measurement.ts';

const SIZES = [1_000, 10_000, 100_000];
const SLICES_PER_SHARD = 100;
/** A shard in trouble has this many times the slices of another: half as much again as is safe. */
const TROUBLE = 2;
const TROUBLED_SHARDS = 10;
/** Rounds until the engine has compiled the code: dozens for a small cell's plan, a few for a big one's. */
const roundsOf = (slices: number): number => Math.max(8, Math.min(60, 300_000 / slices));
const BAR_MS = 1_000;
const BAR_BYTES_PER_SLICE = 2_000;
const PARTITIONS = 64;
/** The default of FORESHARD_LEAF_BITS. */
const LEAF_BITS = 4;
const SEED = 7;
const NOW = eventTime(1_760_000_000_000);
const SHARD_PER_SECOND = 1_000;

type Mood = 'calm' | 'troubled';

export async function planning(): Promise<readonly Measurement[]> {
  const measured = (['calm', 'troubled'] as const).flatMap((mood) => SIZES.map((slices) => measure(slices, mood)));
  return [
    ...measured.map(({ slices, mood, cpuMs, actions }) => ({
      ...ALONE,
      name: `one plan, ${mood} cell, ${inWords(slices)} slices on ${inWords(slices / SLICES_PER_SHARD)} shards, ${actions} actions`,
      figure: cpuMs,
      unit: 'ms of CPU',
      bar: slices === SIZES.at(-1) ? 'under 1 s' : '',
      met: slices === SIZES.at(-1) ? cpuMs < BAR_MS : null,
    })),
    ...measured.slice(1).flatMap(({ slices, mood, cpuMs }, i) => {
      const before = measured[i]!;
      return before.mood !== mood
        ? []
        : {
            ...ALONE,
            name: `growth of one plan's time, ${mood} cell, ${inWords(before.slices)} to ${inWords(slices)} slices`,
            figure: cpuMs / before.cpuMs,
            unit: 'times for 10 times the slices',
          };
    }),
    ...measured
      .filter(({ slices }) => slices === SIZES.at(-1))
      .map(({ slices, mood, heldBytes }) => ({
        ...ALONE,
        name: `held by one plan and its snapshot, ${mood} cell, ${inWords(slices)} slices`,
        figure: heldBytes / slices,
        unit: 'bytes for each slice',
        bar: `at most ${inWords(BAR_BYTES_PER_SLICE)} bytes`,
        met: heldBytes / slices <= BAR_BYTES_PER_SLICE,
      })),
  ];
}

const ALONE: Omit<Measurement, 'name' | 'figure' | 'unit'> = {
  peer: '',
  peerFigure: null,
  ratio: null,
  bar: '',
  met: null,
};

interface Measured {
  readonly slices: number;
  readonly mood: Mood;
  readonly cpuMs: number;
  readonly actions: number;
  readonly heldBytes: number;
}

function measure(slices: number, mood: Mood): Measured {
  const { state, settings } = madeCell(slices, mood);
  const rounds = roundsOf(slices);
  const times: number[] = [];
  let made: Plan | undefined;
  for (let round = 0; round < rounds; round++) {
    const start = process.cpuUsage();
    made = plan(snapshotOf(state, settings).snapshot);
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1_000);
  }
  const held = liveBytes();
  const actions = made!.actions.length;
  made = undefined;
  return { slices, mood, cpuMs: Math.min(...times), actions, heldBytes: held - liveBytes() };
}

/** Live bytes of this process, after a forced garbage collection. */
function liveBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Hash slices of all partitions on shards of one type, each with about 100; the first few of a troubled cell have more. */
function madeCell(slices: number, mood: Mood): { state: CellState; settings: PlanSettings } {
  const random = randomFrom(SEED);
  const shards = slices / SLICES_PER_SHARD;
  const settings: PlanSettings = {
    ...PLAN_DEFAULTS,
    partitions: PARTITIONS,
    genesis: { concreteType: 'kv', trieType: 'trie' },
    catalog: CATALOG,
    shardsMax: 2 * shards,
  };
  const state = beginCell(rowsInMap(), settings);
  state.cell.now = NOW;
  const first = state.shards.get(shardNumbered(1))!;
  const ids = Array.from({ length: shards }, (_, i) => shardNumbered(i === 0 ? 1 : i + 2));
  for (const id of ids) state.shards.put({ ...first, id, state: 'READY' });
  const troubled = mood === 'calm' ? [] : ids.slice(0, Math.min(TROUBLED_SHARDS, Math.ceil(shards / 10)));
  const homes = [...ids, ...troubled.flatMap((id) => Array<typeof id>(TROUBLE).fill(id))];
  let next = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    state.slices.delete(hashSlice(partition as never));
    const count = Math.floor((slices * (partition + 1)) / PARTITIONS) - Math.floor((slices * partition) / PARTITIONS);
    for (const bits of cutInto(count)) {
      const slice = hashSlice(partition as never, bits);
      const entries = 500 + Math.floor(1_000 * random());
      const shard = homes[next++ % homes.length]!;
      const rest = { bytes: 200 * entries, coolUntil: eventTime(0), busyWith: '', epoch: epoch(0) };
      state.slices.put({ kind: 'slice', slice, shard, entries, ...rest });
    }
    for (let leaf = 0; leaf < 2 ** LEAF_BITS; leaf++) {
      const perSecond = (0.9 + 0.2 * random()) * ((SHARD_PER_SECOND * shards) / (2 * PARTITIONS * 2 ** LEAF_BITS));
      const series = leafSeries(partition as never, leaf.toString(2).padStart(LEAF_BITS, '0'));
      state.series.set(series, { kind: 'series', publishes: steadily(perSecond) });
    }
  }
  return { state, settings };
}

/** `count` bit strings that together cover all hashes without overlap: the shortest one is halved repeatedly. */
function cutInto(count: number): string[] {
  const cut = [''];
  for (let at = 0; cut.length - at < count; at++) cut.push(`${cut[at]}0`, `${cut[at]}1`);
  return cut.slice(-count);
}

const steadily = (perSecond: number): NonNullable<Extract<Row, { kind: 'series' }>['publishes']> => ({
  madeAt: NOW,
  stepMs: 60_000,
  current: perSecond,
  median: Array<number>(60).fill(perSecond),
  upper: Array<number>(60).fill(perSecond * 1.2),
  top: Array<number>(60).fill(perSecond * 1.3),
  trusted: true,
  distrust: '',
});

function rowsInMap(): Rows<Row> {
  const map = new Map<string, Row>();
  return {
    get: (key) => map.get(key),
    set: (key, row) => void map.set(key, row),
    delete: (key) => void map.delete(key),
    entries: () => map.entries(),
    get size() {
      return map.size;
    },
  };
}

const CATALOG: Catalog = catalogOf({
  types: (['KEY_VALUE', 'TRIE'] as const).map((kind) => ({
    name: kind === 'TRIE' ? 'trie' : 'kv',
    kind,
    operationsPerSecond: SHARD_PER_SECOND,
    entriesMax: 1e6,
    memoryBytes: 1e9,
    dollarsPerHour: 0.05,
    dollarsPerProvisioning: 0.01,
    dollarsPerGibMoved: 0.02,
    provisioningMs: 60_000,
  })),
});

const inWords = (count: number): string => count.toLocaleString('en');
