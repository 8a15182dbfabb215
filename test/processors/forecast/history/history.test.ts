import { describe, expect, test } from 'vitest';
import { gridOf, MINUTE_GRID } from '../../../../processors/forecast/grid.ts';
import { FlatHistory } from '../../../../processors/forecast/history/flat-history.ts';
import { BRIDGE_STEPS_MAX, COMPACT, History, RATE_MAX } from '../../../../processors/forecast/history/history.ts';
import { BinaryReader, BinaryWriter } from '../../../../state/binary.ts';
import { fc } from '../../../support/property.ts';
import { DAY_STEPS, daily, HISTORY_SHAPE, noiseFrom, type Shape, uniformFrom, wave } from '../shapes.ts';

const HOUR_GRID = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });

function put(shape: Shape, from: number, to: number, history = new History(MINUTE_GRID, HISTORY_SHAPE)): History {
  for (let step = from; step < to; step++) history.put(step, shape(step));
  return history;
}

const rateAt = (history: History, step: number): number => history.rateOf(history.near(step));

function bytesOf(history: History): Buffer {
  const writer = new BinaryWriter();
  history.write(writer);
  return writer.bytes();
}

describe('history: gaps', () => {
  for (const left of [1, 5, BRIDGE_STEPS_MAX])
    test(`Y1: ${left} steps left out are bridged by a straight line between logarithms`, () => {
      const history = put(() => 100, 0, 200);
      history.put(200 + left, 400);
      expect(history.seen).toBe(201 + left);
      for (let k = 1; k <= left; k++) {
        const log = history.logOf(100) + (k / (left + 1)) * (history.logOf(400) - history.logOf(100));
        expect(Math.abs(history.near(199 + k) - log)).toBeLessThan(0.002);
      }
    });

  test('Y1: a longer silence forgets what is recent and keeps the days before', () => {
    const history = put(daily, 0, 2 * DAY_STEPS);
    const silent = 2 * DAY_STEPS + BRIDGE_STEPS_MAX + 1;
    history.put(silent, 50);
    expect(history.seen).toBe(1);
    expect(history.nearBegin).toBe(silent);
    expect(history.begin).toBe(0);
    expect(Math.abs(rateAt(history, DAY_STEPS + 300) / daily(300) - 1)).toBeLessThan(0.02);
  });

  test('Y1: a series that begins late has no past to bridge to', () => {
    const history = put(() => 7, 1_000_000, 1_000_001);
    expect([history.seen, history.step, history.nearBegin]).toEqual([1, 1_000_000, 1_000_000]);
    expect(rateAt(history, 1_000_000)).toBeCloseTo(7, 1);
  });
});

describe('history: rates', () => {
  test('Y2: whatever rates within the bounds are put, those read are finite and within them', () => {
    const rate = fc.oneof(fc.double({ min: 0, max: RATE_MAX, noNaN: true }), fc.constant(0), fc.constant(RATE_MAX));
    fc.assert(
      fc.property(fc.array(rate, { minLength: 1, maxLength: 300 }), (rates) => {
        const history = put((step) => rates[step]!, 0, rates.length);
        for (let step = 0; step < rates.length + 100; step++)
          for (const log of [
            history.near(step),
            history.far(step),
            history.seasonal(step),
            history.nearMean(step, step + 7),
          ]) {
            expect(history.rateOf(log)).toBeGreaterThanOrEqual(0);
            // One step of the code above the greatest rate.
            expect(history.rateOf(log)).toBeLessThanOrEqual(RATE_MAX * 1.001);
          }
      }),
      { numRuns: 40, seed: 3 },
    );
  });

  test('Y3: the limit is not below the median, of two rates either', () => {
    const history = put((step) => [0, 1000][step]!, 0, 2);
    expect(history.limit).toBeGreaterThan(0);
    expect(history.far(1)).toBe(history.near(1));
  });

  test('Y3: the unit is a third of the median and at least a twentieth of the mean', () => {
    const uniform = uniformFrom(1);
    const even = put((step) => 1000 * (0.5 + uniform(step)), 0, 300);
    // It follows when it would be twice or half of what it is.
    expect(even.unit / 300).toBeGreaterThan(0.5);
    expect(even.unit / 300).toBeLessThan(2);
    // Most are tiny, so that the mean decides: a hundred times a thousand in a thousand.
    const uneven = put((step) => (step % 10 === 9 ? 1000 : 0.001), 0, 300);
    expect(uneven.unit).toBeGreaterThan(4);
  });

  test('Y3: when the rates move far, what is held is told in the new unit and stays what it was', () => {
    // Above the unit a code is a step of 1/3000 in logarithms; each change of the unit rounds once more.
    const history = put((step) => 100 + (step % 7), 0, DAY_STEPS);
    const before = history.units;
    put((step) => 100_000 + (step % 7), DAY_STEPS, 2 * DAY_STEPS + 5, history);
    put((step) => 100_000 + (step % 7), 2 * DAY_STEPS + 5, 4 * DAY_STEPS + 5, history);
    expect(history.units).toBeGreaterThan(before);
    const step = 3 * DAY_STEPS;
    expect(Math.abs(rateAt(history, step) / (100_000 + (step % 7)) - 1)).toBeLessThan(0.002);
    // A thousandth of what is usual now: below the unit, but not gone.
    expect(Math.abs(rateAt(history, DAY_STEPS - 3) - 103)).toBeLessThan(30);
  });

  test('a lonely first rate among zeros is told precisely', () => {
    const history = put((step) => (step < 50 ? 0 : 0.001), 0, 60);
    expect(Math.abs(rateAt(history, 55) / 0.001 - 1)).toBeLessThan(0.01);
  });

  test('what is far counts for no more than the limit, what is near for all that it was', () => {
    const history = put((step) => (step === 700 ? 100_000 : 100), 0, DAY_STEPS + 1);
    expect(Math.abs(rateAt(history, 700) / 100_000 - 1)).toBeLessThan(0.002);
    expect(history.far(700)).toBe(history.limit);
    expect(history.farMean(690, 710)).toBeLessThan(history.nearMean(690, 710));
    for (let step = 0; step < DAY_STEPS; step++) expect(history.far(step)).toBeLessThanOrEqual(history.limit);
  });

  test('a hole takes the day before it, and without one what is typical', () => {
    const history = put(daily, 0, 2 * DAY_STEPS);
    history.put(2 * DAY_STEPS + 600, 100);
    const at = 2 * DAY_STEPS + 300;
    expect(Math.abs(rateAt(history, at) / daily(300) - 1)).toBeLessThan(0.03);
    expect(new History(MINUTE_GRID, HISTORY_SHAPE).far(5)).toBe(0);
  });
});

describe('history: seasons', () => {
  test('the mean of the days before at that time of day, for steps past and to come', () => {
    const history = put(daily, 0, 4 * DAY_STEPS);
    expect(history.seasons).toBe(4);
    for (const step of [2 * DAY_STEPS + 400, 4 * DAY_STEPS + 3, 4 * DAY_STEPS + 900, 5 * DAY_STEPS + 900])
      expect(Math.abs(history.rateOf(history.seasonal(step)) / daily(step) - 1), `${step}`).toBeLessThan(0.03);
  });

  test('the season of a step does not know the step itself', () => {
    const [one, other] = [put(daily, 0, 2 * DAY_STEPS), put(daily, 0, 2 * DAY_STEPS)];
    put(() => 100, 2 * DAY_STEPS, 2 * DAY_STEPS + 60, one);
    put(() => 120, 2 * DAY_STEPS, 2 * DAY_STEPS + 60, other);
    expect(one.unit).toBe(other.unit);
    for (let step = 2 * DAY_STEPS; step < 2 * DAY_STEPS + 60; step++)
      expect(one.seasonal(step)).toBe(other.seasonal(step));
  });
});

describe('history: storage', () => {
  for (const { name, shape, bytesMax } of [
    { name: 'compact', shape: COMPACT, bytesMax: 900 },
    { name: 'full', shape: HISTORY_SHAPE, bytesMax: 2 * (HISTORY_SHAPE.nearSteps + HISTORY_SHAPE.farSlots) + 100 },
  ])
    test(`a ${name} history of any age takes at most ${bytesMax} bytes`, () => {
      const history = put(daily, 0, 80 * DAY_STEPS, new History(MINUTE_GRID, shape));
      expect(bytesOf(history).length).toBeLessThanOrEqual(bytesMax);
    });

  for (const { name, grid, steps } of [
    { name: 'an empty history', grid: MINUTE_GRID, steps: 0 },
    { name: 'a young one', grid: MINUTE_GRID, steps: 7 },
    { name: 'one of days', grid: MINUTE_GRID, steps: 2 * DAY_STEPS + 13 },
    { name: 'one by the hour', grid: HOUR_GRID, steps: 500 },
  ])
    test(`${name} is read back as it was written, and goes on in the same way`, () => {
      const noise = noiseFrom(2);
      const shape: Shape = (step) => Math.max(0, wave(grid.season)(step) + 20 * noise(step));
      const history = put(shape, 0, steps, new History(grid, HISTORY_SHAPE));
      const again = History.read(new BinaryReader(bytesOf(history)), grid, HISTORY_SHAPE);
      expect(bytesOf(again)).toEqual(bytesOf(history));
      for (const each of [history, again]) put(shape, steps, steps + grid.season + 1, each);
      expect(bytesOf(again)).toEqual(bytesOf(history));
    });
});

describe('flat history', () => {
  for (const { name, grid, steps, gap } of [
    { name: 'minutes', grid: MINUTE_GRID, steps: 5 * DAY_STEPS + 3, gap: 0 },
    { name: 'minutes with a gap', grid: MINUTE_GRID, steps: 3 * DAY_STEPS + 3, gap: 200 },
    { name: 'hours', grid: HOUR_GRID, steps: 400, gap: 0 },
  ])
    test(`of ${name}, reads what the history reads`, () => {
      const noise = noiseFrom(4);
      const shape: Shape = (step) => Math.max(0, wave(grid.season)(step) + 20 * noise(step));
      const history = put(shape, 0, steps, new History(grid, HISTORY_SHAPE));
      if (gap > 0) put(shape, steps + gap, steps + gap + 100, history);
      const flat = new FlatHistory(history);
      expect([flat.begin, flat.end, flat.nearBegin]).toEqual([history.begin, history.end, history.nearBegin]);
      for (let step = flat.begin; step < flat.end; step += 7) {
        expect(flat.near(step)).toBe(history.near(step));
        expect(flat.far(step)).toBe(history.far(step));
      }
      for (let from = flat.nearBegin; from + 20 <= flat.end; from += 13) {
        expect(flat.nearMean(from, from + 20)).toBeCloseTo(history.nearMean(from, from + 20), 6);
        expect(flat.farMean(from, from + 20)).toBeCloseTo(history.farMean(from, from + 20), 3);
      }
    });

  test('before its first and after its last step it reads these', () => {
    const flat = new FlatHistory(put(daily, 0, 100));
    expect([flat.near(-5), flat.near(1_000)]).toEqual([flat.near(0), flat.near(99)]);
    expect(flat.nearMean(500, 600)).toBeCloseTo(flat.near(99), 12);
  });
});
