import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { type Grid, gridOf } from '../../../../processors/forecast/grid.ts';
import { History } from '../../../../processors/forecast/history/history.ts';
import { freshWeights } from '../../../../processors/forecast/lstm/network.ts';
import {
  type Trained,
  type TrainingOptions,
  type TrainingProgress,
  train,
} from '../../../../processors/forecast/lstm/trainer.ts';
import {
  type RateSeries,
  type TrainingSeries,
  trainingSeriesOf,
} from '../../../../processors/forecast/lstm/training-series.ts';
import type { Model } from '../../../../processors/forecast/model.ts';
import { lstmOf } from '../../../../processors/forecast/models/lstm.ts';
import { seasonalNaiveDay } from '../../../../processors/forecast/models/seasonal-naive.ts';

const HOURS: Grid = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });

/** A daily wave whose days are unlike: each is so much busier or quieter than the last that its morning tells its evening. */
function wave(days: number, seed: number): RateSeries {
  const random = randomFrom(seed);
  let height = 0;
  const rates = Float64Array.from({ length: 24 * days }, (_, t) => {
    if (t % 24 === 0) height = 1.2 * (random() - 0.5);
    return 100 * Math.exp(Math.sin((2 * Math.PI * t) / 24) + height + 0.1 * (random() - 0.5));
  });
  return { grid: HOURS, rates };
}

function trainedOn(
  allSeries: readonly TrainingSeries[],
  options: TrainingOptions,
  seed: number,
): { told: TrainingProgress[]; trained: Trained } {
  const training = train(allSeries, options, randomFrom(seed));
  const told: TrainingProgress[] = [];
  for (;;) {
    const next = training.next();
    if (next.done === true) return { told, trained: next.value };
    told.push(next.value);
  }
}

/** Mean absolute error in logs over the last days of a series, one to twelve steps ahead. */
function errorOf(model: Model, { grid, rates }: RateSeries): number {
  const history = new History(grid, { nearSteps: 3 * grid.season, farSlots: 2_000 });
  const state = new Float32Array(model.stateSize(grid));
  const none = new Float32Array(0);
  const ahead = Array.from({ length: 12 }, (_, i) => i + 1);
  const logs = new Float64Array(12);
  let sum = 0;
  let count = 0;
  for (let t = 0; t < rates.length - 12; t++) {
    history.put(t, rates[t]!);
    model.update(history, state, none, t);
    if (t < rates.length / 2) continue;
    model.forecast(history, state, none, ahead, logs, undefined);
    for (const [i, log] of logs.entries()) {
      sum += Math.abs(log - history.logOf(rates[t + ahead[i]!]!));
      count++;
    }
  }
  return sum / count;
}

describe('training', () => {
  const allSeries = [1, 2, 3, 4].map((seed) => trainingSeriesOf(wave(30, seed)));

  test('the same seed gives the same weights, another seed others', () => {
    const weightsOf = (seed: number) => trainedOn(allSeries, { rounds: 1, updates: 5 }, seed).trained.weights;
    const first = weightsOf(7);
    expect(weightsOf(7)).toEqual(first);
    expect(weightsOf(8)).not.toEqual(first);
  });

  test('a wave that it has never seen is foreseen better than untrained, and than by the day before', () => {
    const { trained, told } = trainedOn(allSeries, { rounds: 4, updates: 20 }, 7);
    expect(told.map(({ round }) => round)).toEqual([1, 2, 3, 4]);
    expect(trained.after).toBeLessThan(0.9 * trained.before);
    const unseen = wave(30, 99);
    const learned = errorOf(lstmOf(trained.weights), unseen);
    const untrained = errorOf(lstmOf(Float32Array.from(freshWeights(randomFrom(7)))), unseen);
    expect(learned).toBeLessThan(0.9 * untrained);
    expect(learned).toBeLessThan(0.8 * errorOf(seasonalNaiveDay, unseen));
  });

  test('it goes on from given weights, and never ends with worse ones', () => {
    const { trained } = trainedOn(allSeries, { rounds: 2, updates: 5 }, 7);
    // A step size that ruins everything: what it began with stays the best.
    const ruined = trainedOn(allSeries, { rounds: 1, updates: 5, from: trained.weights, rate: 10 }, 7).trained;
    expect(ruined.before).toBeCloseTo(trained.after, 6);
    expect(ruined.after).toBe(ruined.before);
    expect(ruined.weights).toEqual(trained.weights);
  });

  test('of what was learned a share is kept: none of it is the base again', () => {
    const kept = (trust: number) => trainedOn(allSeries, { rounds: 2, updates: 5, trust }, 7).trained;
    const base = errorOf(lstmOf(Float32Array.from(freshWeights(randomFrom(7)))), wave(30, 99));
    expect(errorOf(lstmOf(kept(0).weights), wave(30, 99))).toBeCloseTo(base, 6);
    expect(kept(0).after).toBeCloseTo(kept(1).before, 6);
    const half = kept(0.5).after;
    expect(half).toBeLessThan(kept(0).after);
    expect(half).toBeGreaterThan(kept(1).after);
  });

  test('what is validated on is never learned from', () => {
    const alike = (from: number) => {
      const { grid, rates } = wave(30, 5);
      // Only steps after `from` of 720 differ.
      return trainingSeriesOf({ grid, rates: Float64Array.from(rates, (rate, t) => (t < from ? rate : 3 * rate)) });
    };
    const progressOf = (series: TrainingSeries) => trainedOn([series], { rounds: 1, updates: 5 }, 7).told[0]!;
    const plain = progressOf(alike(720));
    expect(progressOf(alike(700)).validationError).not.toBe(plain.validationError);
    // The scale of the errors is the whole series'; beside it nothing of the last fifth is to be seen.
    expect(progressOf(alike(719)).trainingError).toBeCloseTo(plain.trainingError, 1);
  });
});
