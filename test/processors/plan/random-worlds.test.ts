// Random worlds through the whole plan stage, its moves and its pointer table: a subscription is always where the table
// says (I1), and nowhere else once its move has ended (I2); every topic has one home (I3); the table is whole, in order and
// never torn (I4, I5); caps hold (I12), whatever a forecaster says (I13). A failure names its seed.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../evaluation/random.ts';
import type { Cell } from '../../../evaluation/what-if/cell.ts';
import { shardMapOfRows, shardsOf } from '../../../processors/plan/stage/views.ts';
import type { ShardId } from '../../../schemas/ids.ts';
import type { Command } from '../../../schemas/records.ts';
import { partitionOf } from '../../../state/keys.ts';
import { tableProblems } from './stage-by-hand.ts';
import { type Forecaster, simulate, type World } from './world.ts';

const MINUTES = 120;
const MOVES_MAX = 3;
const SHARDS_PER_HOUR_MAX = 4;
const DOLLARS_PER_HOUR_MAX = 1.5;

describe('random worlds keep their invariants', () => {
  for (const forecaster of ['perfect', 'late', 'none', 'broken'] satisfies Forecaster[])
    for (const seed of [1, 2, 3])
      test(`forecaster ${forecaster}, seed ${seed}`, () => {
        const world = randomWorld(randomFrom(seed), forecaster);
        const holders = new Holders(world.topics.map(({ topic }) => topic));
        const found = new Set<string>();
        const watch = (cell: Cell): void => {
          for (const problem of [...tableProblems(cell), ...holders.problemsAt(cell), ...capProblems(cell)])
            found.add(problem);
        };
        const { problems } = simulate({ ...world, watch }, MINUTES);
        expect([...found, ...problems]).toEqual([]);
        expect(holders.moves).toBeGreaterThan(0);
      });
});

test('a table that names a shard without the subscription, and a copy that stays behind, are found', () => {
  const holders = new Holders(['a']);
  const watch = (cell: Cell): void => {
    holders.shardsOf.set('a', new Set(['shard-0008', 'shard-0009'] as ShardId[]));
    expect(holders.problemsAt(cell)).toEqual([
      'a is asked for at shard-0001, which does not have it (I1)',
      'a is left behind on shard-0008,shard-0009 (I2)',
    ]);
  };
  simulate({ ...randomWorld(randomFrom(1), 'none'), watch }, 1);
  expect.assertions(1);
});

/** Which shards have the subscriptions of a topic, from the commands: a copy has them at its switch, a retired source no more. */
class Holders {
  readonly shardsOf = new Map<string, Set<ShardId>>();
  moves = 0;
  readonly #open = new Map<string, { topics: string[]; from: ShardId; to: ShardId }>();
  #read = 0;

  constructor(topics: readonly string[]) {
    for (const topic of topics) this.shardsOf.set(topic, new Set(['shard-0001' as ShardId]));
  }

  problemsAt(cell: Cell): string[] {
    for (; this.#read < cell.commands.length; this.#read++) this.#take(cell, cell.commands[this.#read]!.body);
    const map = shardMapOfRows(cell.rows, cell.settings.partitions);
    return [...this.shardsOf].flatMap(([topic, holders]) => {
      const home =
        map.slices.get(map.tree.concreteSliceOf(topic, partitionOf(topic, map.partitions), '')!)?.shards ?? [];
      if (home.length !== 1) return [`${topic} has ${home.length} homes (I3)`];
      const problems = holders.has(home[0]!)
        ? []
        : [`${topic} is asked for at ${home[0]}, which does not have it (I1)`];
      const moving = [...this.#open.values()].some(({ topics }) => topics.includes(topic));
      if (!moving && holders.size > 1) problems.push(`${topic} is left behind on ${[...holders]} (I2)`);
      return problems;
    });
  }

  #take(cell: Cell, body: Command['body']): void {
    if (body.kind === 'MoveSlice') {
      const map = shardMapOfRows(cell.rows, cell.settings.partitions);
      const topics = [...this.shardsOf.keys()].filter(
        (topic) => map.tree.concreteSliceOf(topic, partitionOf(topic, map.partitions), '') === body.slice,
      );
      this.#open.set(body.moveId, { topics, from: body.from, to: body.to });
      this.moves++;
    }
    if (body.kind !== 'SteerMove') return;
    const move = this.#open.get(body.moveId);
    if (move === undefined) return;
    for (const topic of move.topics) {
      const holders = this.shardsOf.get(topic)!;
      if (body.action === 'SWITCH') holders.add(move.to);
      if (body.action === 'RETIRE') holders.delete(move.from);
      if (body.action === 'ABORT') holders.delete(move.to);
    }
    if (body.action === 'RETIRE' || body.action === 'ABORT') this.#open.delete(body.moveId);
  }
}

function capProblems(cell: Cell): string[] {
  const row = cell.rows.get('cell');
  if (row?.kind !== 'cell') return ['there is no cell'];
  const recent = row.ledger.filter(({ at }) => row.now - at < 3_600_000);
  const dollars = shardsOf(cell.rows).reduce(
    (sum, shard) => sum + cell.settings.catalog.get(shard.datastoreType)!.dollarsPerHour,
    0,
  );
  return [
    { name: 'moves at once', value: row.openMoves.length, most: MOVES_MAX },
    {
      name: 'shards made in an hour',
      value: recent.reduce((sum, each) => sum + each.shards, 0),
      most: SHARDS_PER_HOUR_MAX,
    },
    { name: 'dollars an hour', value: dollars, most: DOLLARS_PER_HOUR_MAX },
  ].flatMap(({ name, value, most }) => (value > most ? [`${name}: ${value}, of at most ${most} (I12)`] : []));
}

/** Topics whose load goes from one level to another at minutes of their own, some of them much higher. */
function randomWorld(random: () => number, forecaster: Forecaster): World {
  const topics = Array.from({ length: 40 }, (_, i) => {
    const levels = Array.from({ length: 5 }, () => (random() < 0.1 ? 300 : 30) * random());
    const everyMinutes = 20 + 30 * random();
    return {
      topic: `fleet/${i}`,
      perSecond: (minute: number): number => levels[Math.floor(minute / everyMinutes) % levels.length]!,
    };
  });
  return {
    topics,
    forecaster,
    heavyPerSecond: 150,
    entriesPerSlice: 10_000,
    settings: {
      movesMax: MOVES_MAX,
      shardsPerHourMax: SHARDS_PER_HOUR_MAX,
      dollarsPerHourMax: DOLLARS_PER_HOUR_MAX,
    },
  };
}
