import { describe, expect, test } from 'vitest';
import { Calibration, LEVELS, MEDIAN, offsetAt } from '../../../../processors/forecast/combine/calibration.ts';
import { MINUTE_GRID, placesOf } from '../../../../processors/forecast/grid.ts';
import { noiseFrom, type Shape, uniformFrom } from '../shapes.ts';

const DISTANCES = MINUTE_GRID.distances.length;

function begun() {
  const calibration = new Calibration(MINUTE_GRID);
  const state = new Float32Array(calibration.size);
  calibration.begin(state);
  return { calibration, state };
}

/** Learns the errors of all steps at every distance; counts how many of those from `from` on lay below each quantile. */
function learned(errors: Shape, steps: number, from = steps) {
  const { calibration, state } = begun();
  const below = Array.from({ length: DISTANCES }, () => new Float64Array(LEVELS.length));
  for (let step = 0; step < steps; step++) {
    const error = errors(step);
    const offsets = calibration.offsetsOf(state);
    const restless = calibration.restless(state);
    for (let d = 0; d < DISTANCES; d++) {
      for (let l = 0; step >= from && l < LEVELS.length; l++)
        if (error <= offsets[d * LEVELS.length + l]!) below[d]![l]! += 1 / (steps - from);
      calibration.learn(state, d, error, restless);
    }
    calibration.follow(state, error);
  }
  return { calibration, state, below, offsets: calibration.offsetsOf(state).slice() };
}

const noise = noiseFrom(1);
const uniform = uniformFrom(2);
/** A few errors are larger than all others together. */
const cauchy: Shape = (step) => 0.1 * Math.tan(Math.PI * (uniform(step) - 0.5));
const SERIES: readonly { readonly name: string; readonly errors: Shape; readonly within: number }[] = [
  { name: 'independent normal', errors: (step) => 0.1 * noise(step), within: 0.02 },
  { name: 'heavy-tailed', errors: cauchy, within: 0.02 },
  { name: 'one-sided', errors: (step) => -0.2 * Math.log(1 - uniform(step)), within: 0.02 },
  { name: 'shifting', errors: (step) => (step % 2000 < 1000 ? 0.1 : 0.5) * noise(step) + step / 10_000, within: 0.035 },
  { name: 'tiny', errors: (step) => 1e-5 * noise(step), within: 1 },
];

describe('calibration', () => {
  for (const { name, errors, within } of SERIES.slice(0, 4))
    test(`of ${name} errors, the share below each quantile comes within ${within} of its level`, () => {
      const { below } = learned(errors, 8_000, 1_000);
      for (let d = 0; d < DISTANCES; d++)
        for (const [l, level] of LEVELS.entries())
          expect(Math.abs(below[d]![l]! - level), `level ${level}, distance ${d}`).toBeLessThan(within);
    });

  for (const { name, errors } of [
    ...SERIES,
    { name: 'no', errors: () => 0 },
    { name: 'infinite', errors: (step: number) => (step % 2 === 0 ? Number.POSITIVE_INFINITY : 0) },
    { name: 'huge', errors: (step: number) => (step % 2 === 0 ? 1e30 : -1e30) },
  ])
    test(`C1: quantiles of ${name} errors ascend and are finite, at every distance and between them`, () => {
      for (const steps of [0, 1, 2, 10, 300]) {
        const { offsets } = learned(errors, steps);
        let isSound = true;
        for (const place of placesOf(MINUTE_GRID))
          for (let l = 0; l < LEVELS.length; l++) {
            const offset = offsetAt(offsets, place, l);
            if (!Number.isFinite(offset) || (l > 0 && offset < offsetAt(offsets, place, l - 1))) isSound = false;
          }
        expect(isSound, `after ${steps}`).toBe(true);
      }
    });

  test('C2: the same errors in the same order give the same quantiles', () =>
    expect(learned(cauchy, 500).offsets).toEqual(learned(cauchy, 500).offsets));

  test('before any error the median is the forecast and the spread grows with the distance', () => {
    const { offsets } = learned(() => 0, 0);
    for (let d = 0; d < DISTANCES; d++) {
      expect(offsets[d * LEVELS.length + MEDIAN]).toBe(0);
      if (d > 0) expect(offsets[(d + 1) * LEVELS.length - 1]).toBeGreaterThan(offsets[d * LEVELS.length - 1]!);
    }
  });

  test('a forecast that is always short by as much is put right', () => {
    const { offsets } = learned((step) => 0.5 + 0.01 * noise(step), 1_000);
    for (let d = 0; d < DISTANCES; d++) expect(Math.abs(offsets[d * LEVELS.length + MEDIAN]! - 0.5)).toBeLessThan(0.05);
  });

  test('a series that has become restless has wider quantiles within ten steps, near ones above all', () => {
    const width = (steps: number, d: number): number => {
      const { offsets } = learned((step) => (step < 1_000 ? 0.05 : 0.5) * noise(step), steps);
      return offsets[(d + 1) * LEVELS.length - 1]! - offsets[d * LEVELS.length]!;
    };
    expect(width(1_010, 0)).toBeGreaterThan(1.5 * width(1_000, 0));
    expect(width(1_010, 0) / width(1_000, 0)).toBeGreaterThan(
      width(1_010, DISTANCES - 1) / width(1_000, DISTANCES - 1),
    );
  });

  test('one series is not known to another that shares the calibration', () => {
    const { calibration, state } = learned(cauchy, 500);
    const other = new Float32Array(calibration.size);
    calibration.begin(other);
    expect(calibration.offsetsOf(other).slice()).toEqual(learned(() => 0, 0).offsets);
    expect(calibration.offsetsOf(state).slice()).toEqual(learned(cauchy, 500).offsets);
  });
});
