import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { gridOf } from '../../../../processors/forecast/grid.ts';
import { goOver, type Losses, Workspace } from '../../../../processors/forecast/lstm/gradient.ts';
import { freshWeights, MEMORY, WEIGHTS } from '../../../../processors/forecast/lstm/network.ts';
import { trainingSeriesOf } from '../../../../processors/forecast/lstm/training-series.ts';

const STEPS = 12;
/** Half the distance between the two losses that a slope is taken from. */
const APART = 1e-5;

describe('back-propagation through time', () => {
  for (const seed of [1, 2, 3])
    test(`every slope is what moving that weight does to the loss (seed ${seed})`, () => {
      const random = randomFrom(seed);
      const grid = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });
      const rates = Float64Array.from({ length: 400 }, (_, t) => 50 + 30 * Math.sin(t / 4) + 20 * random());
      const series = trainingSeriesOf({ grid, rates });
      // Weights away from zero everywhere, so that no layer hides behind another.
      const weights = freshWeights(random).map((weight) => weight + 0.2 * (random() - 0.5));
      const memory = Float64Array.from({ length: MEMORY }, () => random() - 0.5);
      const work = new Workspace(STEPS);
      const lossOf = (): number => {
        const losses: Losses = { loss: 0, error: 0, count: 0 };
        goOver(weights, series, 200, 400, memory.slice(), work, losses);
        return losses.loss;
      };
      const gradient = new Float64Array(WEIGHTS);
      goOver(weights, series, 200, 400, memory.slice(), work, { loss: 0, error: 0, count: 0 }, gradient);
      const largest = gradient.reduce((most, slope) => Math.max(most, Math.abs(slope)), 0);
      expect(largest).toBeGreaterThan(0.01);
      for (let checked = 0; checked < 300; checked++) {
        const i = Math.floor(random() * WEIGHTS);
        const weight = weights[i]!;
        weights[i] = weight + APART;
        const above = lossOf();
        weights[i] = weight - APART;
        const below = lossOf();
        weights[i] = weight;
        expect(Math.abs((above - below) / (2 * APART) - gradient[i]!), `weight ${i}`).toBeLessThan(1e-6 * largest);
      }
    });

  test('a window leaves the memory that two windows of half its length leave', () => {
    const random = randomFrom(4);
    const grid = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });
    const series = trainingSeriesOf({ grid, rates: Float64Array.from({ length: 200 }, () => 10 * random()) });
    const weights = freshWeights(random);
    const once = new Float64Array(MEMORY);
    const twice = new Float64Array(MEMORY);
    const losses = (): Losses => ({ loss: 0, error: 0, count: 0 });
    goOver(weights, series, 96, 200, once, new Workspace(32), losses());
    goOver(weights, series, 96, 200, twice, new Workspace(16), losses());
    goOver(weights, series, 112, 200, twice, new Workspace(16), losses());
    expect(twice).toEqual(once);
    expect(once.some((value) => value !== 0)).toBe(true);
  });

  test('nothing at or after the limit is learned from', () => {
    const random = randomFrom(5);
    const grid = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });
    const rates = Float64Array.from({ length: 300 }, () => 10 * random());
    const weights = freshWeights(random).map((weight) => weight + 0.1);
    const gradientOver = (given: Float64Array): Float64Array => {
      const series = trainingSeriesOf({ grid, rates: given });
      // The weight of an error is told in usual errors of the whole series, which differ here.
      for (let at = 13; at < series.examples.length; at += 14) if (series.examples[at]! > 0) series.examples[at] = 1;
      const gradient = new Float64Array(WEIGHTS);
      const losses = { loss: 0, error: 0, count: 0 };
      goOver(weights, series, 200, 248, new Float64Array(MEMORY), new Workspace(48), losses, gradient);
      return gradient;
    };
    expect(gradientOver(rates.map((rate, t) => (t < 248 ? rate : 1e6)))).toEqual(gradientOver(rates));
  });
});
