// Ping-pong: 200 small random worlds through the whole plan stage. No slice comes back to a shard that it has left within
// two cool-downs unless an overload is forecast or measured. A failure names its seed.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../evaluation/random.ts';
import type { Cell } from '../../../evaluation/what-if/cell.ts';
import type { ShardId, SliceKey } from '../../../schemas/ids.ts';
import { type Forecaster, simulate, type World } from './world.ts';

const SEEDS = 200;
const SEEDS_PER_TEST = 10;
const MINUTES = 100;
const COOL_DOWN_MS = 240_000;
const FORECASTERS: readonly Forecaster[] = ['perfect', 'late', 'perfect', 'noise'];

describe('nothing goes to and fro', () => {
  let moves = 0;
  let calmMoves = 0;
  for (let first = 0; first < SEEDS; first += SEEDS_PER_TEST)
    test(`seeds ${first} to ${first + SEEDS_PER_TEST - 1}`, () => {
      for (let seed = first; seed < first + SEEDS_PER_TEST; seed++) {
        const { cell, problems } = simulate(randomWorld(seed), MINUTES);
        const journeys = journeysOf(cell);
        moves += journeys.length;
        calmMoves += journeys.filter(({ urgent }) => !urgent).length;
        expect([...problems, ...calmReturns(journeys)], `seed ${seed}`).toEqual([]);
      }
    });
  test('though much moves, with and without need', () => {
    expect(moves).toBeGreaterThan(5 * SEEDS);
    expect(calmMoves).toBeGreaterThan(SEEDS);
  });
});

interface Journey {
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly at: number;
  readonly urgent: boolean;
}

function journeysOf(cell: Cell): Journey[] {
  const bodies = new Map(cell.commands.map(({ id, body }) => [id, body]));
  return cell.decisions.flatMap(({ kind, at, crossingAt, commandIds }) => {
    const body = bodies.get(commandIds[0] ?? '');
    if (kind !== 'MOVE' || body?.kind !== 'MoveSlice') return [];
    const { slice, from, to } = body;
    return [{ slice, from, to, at, urgent: crossingAt > 0 }];
  });
}

/** Moves that no overload asks for, to a shard that the slice has left within two cool-downs. */
function calmReturns(journeys: readonly Journey[]): Journey[] {
  return journeys.filter(
    (back) =>
      !back.urgent &&
      journeys.some(
        ({ slice, from, at }) =>
          slice === back.slice && from === back.to && at < back.at && back.at - at < 2 * COOL_DOWN_MS,
      ),
  );
}

/** A handful of topics that are hot by turns, on shards that one or two of them fill. */
function randomWorld(seed: number): World {
  const random = randomFrom(seed);
  const topics = Array.from({ length: 8 }, (_, i) => {
    const levels = Array.from({ length: 6 }, () => (random() < 0.25 ? 700 : 130) * random());
    const everyMinutes = 8 + 25 * random();
    const shift = everyMinutes * random();
    return {
      topic: `fleet/${i}`,
      perSecond: (minute: number): number => levels[Math.floor((minute + shift) / everyMinutes) % levels.length]!,
    };
  });
  return {
    topics,
    forecaster: FORECASTERS[seed % FORECASTERS.length]!,
    heavyPerSecond: 60,
    entriesPerSlice: 1_000,
    settings: {
      partitions: 2,
      coolDownMs: COOL_DOWN_MS,
      agreeingPlans: 3,
      horizonMs: 900_000,
      horizonSteps: 8,
      churnShareMax: 1,
    },
  };
}
