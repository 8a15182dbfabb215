import { expect, test } from 'vitest';
import { PendingForecasts } from '../../../../processors/forecast/combine/pending-forecasts.ts';

const DISTANCES = [1, 4, 16, 60];

/** Forecasts made at every step, which say for whom and when they are; what comes of them. */
function played(steps: number) {
  const waiting = new PendingForecasts(DISTANCES, 2);
  const codes = waiting.fresh();
  const logs = new Float64Array(2);
  const taken = DISTANCES.map(() => 0);
  for (let step = 0; step < steps; step++) {
    for (const [d, ahead] of DISTANCES.entries()) {
      const combined = waiting.take(codes, d, step, logs);
      if (Number.isNaN(combined)) continue;
      taken[d]!++;
      expect(combined).toBeCloseTo((step - ahead) / 100 + ahead / 1000, 3);
      expect(logs[0]).toBeCloseTo((step - ahead) / 100, 3);
      expect(logs[1]).toBeNaN();
      expect(waiting.take(codes, d, step, logs)).toBeNaN(); // T1
    }
    const due = waiting.dueAt(step);
    const said = [Float64Array.from(due, () => step / 100), Float64Array.from(due, () => Number.NaN)];
    waiting.put(
      codes,
      step,
      said,
      Float64Array.from(due, (ahead) => step / 100 + ahead / 1000),
    );
  }
  return { waiting, codes, logs, taken };
}

test('T1: what waits for a step is what was said of it, taken once; far ahead a few of them wait', () => {
  const steps = 480;
  // Every step, every step, every second, and every sixth, once the first has come due.
  expect(played(steps).taken).toEqual([steps - 1, steps - 4, (steps - 16) / 2, (steps - 60) / 6]);
});

test('a change of the unit is told to all that waits', () => {
  const { waiting, codes, logs } = played(100);
  waiting.map(codes, (log) => log + 1);
  expect(waiting.take(codes, 0, 100, logs)).toBeCloseTo(1 + 0.99 + 0.001, 3);
  expect(logs[1]).toBeNaN();
});

test('after a gap nothing waits', () => {
  const { waiting, codes, logs } = played(100);
  waiting.clear(codes);
  for (const d of DISTANCES.keys()) expect(waiting.take(codes, d, 100, logs)).toBeNaN();
});
