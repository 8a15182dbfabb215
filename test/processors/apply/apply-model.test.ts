// Random interleavings of events, chunks, crashes, outages, repetitions and steering, against a plain model; and planted
// bugs that the model must find.

import { describe, expect, test } from 'vitest';
import { epoch, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { SteerAction } from '../../../schemas/records.ts';
import type { Effect } from '../../../state/effects.ts';
import { fc } from '../../support/property.ts';
import { ApplyWorld, type Crash, type Mutation, TARGET } from './apply-world.ts';

const RUNS = Number(process.env.RUNS ?? 400);
const CONCRETE = shardId('shard-0001');
const TRIE = shardId('shard-0002');

const SITUATIONS = [
  { slice: sliceKey('c/0/'), source: CONCRETE, carved: [['c/0/', 't/a']], filters: ['a', 'b', 'c', 'd', 'a/+'] },
  { slice: sliceKey('t/a'), source: CONCRETE, carved: [['c/0/', 't/a']], filters: ['a', 'b', 'c'] },
  { slice: sliceKey('w/0/'), source: TRIE, carved: [['w/0/', 'w/0/a/']], filters: ['a/+', '#', 'b/#', '+/c', 'a'] },
  { slice: sliceKey('w/0/a/'), source: TRIE, carved: [['w/0/', 'w/0/a/']], filters: ['a/+', 'a/b/#', '#', 'a/#'] },
] as const;

type Action =
  | {
      readonly do: 'event';
      readonly filter: number;
      readonly client: number;
      readonly live: boolean;
      readonly broker: number;
    }
  | { readonly do: 'cycle'; readonly inputs: number; readonly crash: Crash }
  | { readonly do: 'repeat'; readonly record: number }
  | { readonly do: 'steer'; readonly action: SteerAction }
  | { readonly do: 'outage'; readonly on: boolean; readonly ofSource: boolean };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('event' as const),
      filter: fc.nat(9),
      client: fc.nat(3),
      live: fc.boolean(),
      broker: fc.nat(2),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('cycle' as const),
      inputs: fc.nat(3),
      crash: fc.constantFrom<Crash>('none', 'none', 'none', 'none', 'before commit', 'half performed'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat' as const), record: fc.nat(200) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('outage' as const), on: fc.boolean(), ofSource: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('steer' as const),
      action: fc.constantFrom<SteerAction>('PAUSE', 'RESUME', 'RESUME', 'ABORT', 'THROTTLE', 'RETIRE'),
    }),
  },
);

const history = fc.record({
  situation: fc.nat(SITUATIONS.length - 1),
  replicates: fc.boolean(),
  rebuilds: fc.boolean(),
  before: fc.array(fc.record({ filter: fc.nat(9), client: fc.nat(3), live: fc.boolean(), broker: fc.nat(2) }), {
    maxLength: 25,
  }),
  actions: fc.array(action, { minLength: 5, maxLength: 120 }),
});

function live(
  world: ApplyWorld,
  filters: readonly string[],
  { before, actions, replicates, rebuilds }: HistoryOf<typeof history>,
): void {
  world.replicates = replicates && !rebuilds;
  world.keepsTable = rebuilds;
  const event = (each: { filter: number; client: number; live: boolean; broker: number }): void =>
    world.subscribe(filters[each.filter % filters.length]!, `client-${each.client}`, each.live, `b${each.broker}`);
  for (const each of before) event(each);
  world.cycle(1_000, 'none');
  world.check();
  if (rebuilds) world.loseSource();
  world.startMove();
  let aborted = false;
  for (const each of actions) {
    switch (each.do) {
      case 'event':
        event(each);
        break;
      case 'cycle':
        world.cycle(each.inputs, each.crash);
        break;
      case 'repeat':
        // With the table a record is stepped once, or again from the rows of before: positions are committed with it.
        if (!world.keepsTable) world.repeat(each.record);
        break;
      case 'outage':
        outage(world, each);
        break;
      case 'steer':
        // The planner gives a move up before it publishes the pointer or not at all, and retires what it has switched.
        if (each.action === 'ABORT') {
          if (world.pointers.length > 1) break;
          aborted = true;
          world.autopilot = false;
        }
        if (each.action === 'RETIRE' && (aborted || world.pointers.length > 1)) break;
        world.steer(each.action);
    }
    world.check();
  }
  world.settle(600);
}

/** Before all is copied a source that does not answer holds everything up, and nothing happens. */
function outage(world: ApplyWorld, { on, ofSource }: { readonly on: boolean; readonly ofSource: boolean }): void {
  if (world.rebuilds && ofSource) return;
  const source = world.replicates ? TARGET : world.source;
  const isCopied = ['VERIFIED', 'SWITCHED', 'DRAINING', 'RETIRED'].includes(world.state() ?? '');
  if (ofSource && !isCopied) return;
  const shard = ofSource ? source : TARGET;
  if (on) world.shards.down.add(shard);
  else world.shards.down.delete(shard);
}

type HistoryOf<T> = T extends fc.Arbitrary<infer Value> ? Value : never;

function worldOf(which: number): { world: ApplyWorld; filters: readonly string[] } {
  const { slice, source, carved, filters } = SITUATIONS[which]!;
  const world = new ApplyWorld(
    slice,
    source,
    carved.map(([from, pin]) => [sliceKey(from), sliceKey(pin)] as const),
  );
  return { world, filters };
}

describe('apply: no interleaving misses, revives or strands a subscription', () => {
  test('random moves with crashes, outages, repetitions and steering', () => {
    const ended = new Map<string, number>();
    fc.assert(
      fc.property(history, (each) => {
        const { world, filters } = worldOf(each.situation);
        live(world, filters, each);
        const state = world.state() ?? 'none';
        const what = each.rebuilds ? 'rebuilt' : each.replicates ? 'replica ended' : state;
        const end = state === 'RETIRED' ? what : state;
        ended.set(end, (ended.get(end) ?? 0) + 1);
      }),
      { numRuns: RUNS, ...(process.env.SEED ? { seed: Number(process.env.SEED) } : {}) },
    );
    expect(ended.get('RETIRED') ?? 0).toBeGreaterThan(RUNS / 10);
    expect(ended.get('replica ended') ?? 0).toBeGreaterThan(RUNS / 10);
    expect(ended.get('rebuilt') ?? 0).toBeGreaterThan(RUNS / 10);
    expect(ended.get('ABORTED') ?? 0).toBeGreaterThan(RUNS / 50);
  });
});

describe('apply: the model finds planted bugs', () => {
  const MUTANTS: readonly { readonly name: string; readonly plant: (world: ApplyWorld) => void }[] = [
    {
      name: 'no dual write',
      plant: (world) =>
        mutate(
          world,
          without((each) => each.kind === 'write' && isAside(each)),
        ),
    },
    {
      name: 'removals are not written to both shards',
      plant: (world) =>
        mutate(
          world,
          without((each) => each.kind === 'write' && isAside(each) && each.rows.some((row) => row.gone)),
        ),
    },
    {
      name: 'tombstones are not copied',
      plant: (world) => {
        world.shards.copiesTombstones = false;
      },
    },
    {
      name: 'rows are erased and no owner record says where they went',
      plant: (world) =>
        mutate(
          world,
          without((each) => each.kind === 'own' && each.owner.state === 'moved'),
        ),
    },
    {
      name: 'the source is erased before the switch is known to all',
      plant: (world) =>
        mutate(world, (effects) =>
          effects.flatMap((each): Effect[] => {
            if (each.kind !== 'copy') return [each];
            const { move, from: shard, range } = each;
            const right = { state: 'moved', epoch: epoch(5) } as const;
            const erase = { kind: 'erase', move, shard, range, limit: 1, right } as const;
            return [each, { kind: 'own', shard, owner: { slice: range.slice, ...right } }, erase];
          }),
        ),
    },
    {
      name: 'a copy that forgets the slices carved out',
      plant: (world) =>
        mutate(world, (effects) =>
          effects.map((each) =>
            each.kind === 'erase' || each.kind === 'copy' ? { ...each, range: { ...each.range, except: [] } } : each,
          ),
        ),
    },
    {
      name: 'an aborted move leaves its rows',
      plant: (world) =>
        mutate(
          world,
          without((each) => each.kind === 'erase' && each.shard === TARGET),
        ),
    },
    {
      name: 'a copy that loses pages, compared with itself',
      plant: (world) =>
        mutate(world, (effects) =>
          effects.map((each) => (each.kind === 'copy' || each.kind === 'compare' ? { ...each, to: each.from } : each)),
        ),
    },
    {
      name: 'a removal counts whoever sends it',
      plant: (world) => {
        world.shards.checksBrokers = false;
      },
    },
    {
      name: 'a store takes what comes last for what is newest',
      plant: (world) => {
        world.shards.checksVersions = false;
      },
    },
  ];

  const mutate = (world: ApplyWorld, mutation: Mutation): void => {
    world.mutate = mutation;
  };
  const without =
    (drop: (effect: Parameters<Mutation>[0][number]) => boolean): Mutation =>
    (effects) =>
      effects.filter((each) => !drop(each));
  /** A write to the target while the source owns the slice. */
  const isAside = (each: { readonly shard: string; readonly move?: string }): boolean =>
    each.shard === TARGET && each.move !== undefined;

  for (const { name, plant } of MUTANTS) {
    test(`caught: ${name}`, () => {
      const found = fc.check(
        fc.property(history, (each) => {
          const { world, filters } = worldOf(each.situation);
          plant(world);
          live(world, filters, each);
        }),
        { numRuns: 2_000, endOnFailure: true, seed: 7 },
      );
      expect(found.failed).toBe(true);
      expect(String(found.errorInstance)).toMatch(/I\d+:/);
    });
  }
});

test('a rebuild whose rows differ once is filled again, also while the lost shard has writes waiting for it', () => {
  const { world } = worldOf(0);
  world.keepsTable = true;
  world.subscribe('b', 'client-0', true);
  world.cycle(10, 'none');
  world.loseSource();
  world.startMove();
  world.subscribe('c', 'client-0', true); // It waits for the lost shard.
  let differs = true;
  world.mutate = (effects) =>
    effects.map((each) => {
      if (each.kind !== 'match' || !differs) return each;
      differs = false;
      return { ...each, passage: { ...each.passage, rows: [] } };
    });
  world.settle(200);
  expect(differs).toBe(false);
  expect(world.state()).toBe('RETIRED');
});
