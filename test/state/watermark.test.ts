import { describe, expect, test } from 'vitest';
import { MERGED_SOURCES, singleEvents, type Verdict, Watermark, type WatermarkRule } from '../../state/watermark.ts';
import { fc } from '../support/property.ts';

const HOUR_MS = 3_600_000;
const T0 = 1_704_067_200_000;
const EVENTS = singleEvents(5);

/** A time near `at`, so that any two of them are near each other. */
const near = (at: number) => fc.integer({ min: at, max: at + HOUR_MS / 2 });
const anywhere = fc.integer({ min: 0, max: 100 }).map((hours) => T0 + hours * HOUR_MS);
const rules = fc.constantFrom<WatermarkRule>(EVENTS, singleEvents(1), { ...singleEvents(1), behindInRow: 60 });

function told(times: readonly number[], rule: WatermarkRule, watermark = new Watermark()): Watermark {
  for (const time of times) watermark.hear(time, rule);
  return watermark;
}

/** So many have spoken for the time that nothing outvotes it. */
const established = (rule: WatermarkRule, at = T0): Watermark => told(Array(rule.votesMin).fill(at), rule);

describe('what is near', () => {
  test('W1: event time is the latest of what was told, in any order', () => {
    fc.assert(
      fc.property(fc.array(near(T0), { minLength: 1 }), fc.constantFrom(EVENTS, MERGED_SOURCES), (times, rule) => {
        const watermark = new Watermark();
        const verdicts = times.map((time) => watermark.hear(time, rule));
        expect(watermark.time).toBe(Math.max(...times));
        expect(new Set<Verdict>(verdicts.slice(1)).size).toBeLessThan(2);
      }),
    );
  });

  test('W1: it moves by no less than a step', () => {
    const rule = { ...MERGED_SOURCES, stepMs: 10_000 };
    expect(told([T0, T0 + 9_999], rule).time).toBe(T0);
    expect(told([T0, T0 + 9_999, T0 + 10_001], rule).time).toBe(T0 + 10_001);
  });

  test('W1: near is where the time would be by now, where that is known', () => {
    const watermark = established(MERGED_SOURCES);
    expect(watermark.hear(T0 + 3 * HOUR_MS, MERGED_SOURCES, T0 + 3 * HOUR_MS - 1)).toBe('near');
    expect(watermark.time).toBe(T0 + 3 * HOUR_MS);
  });
});

describe('so many in a row', () => {
  test('W2: fewer than that lead nobody away, whatever they tell and however often', () => {
    const far = fc.integer({ min: 2, max: 1000 }).map((hours) => T0 + hours * HOUR_MS);
    const few = fc.array(far, { minLength: 1, maxLength: EVENTS.aheadInRow - 1 });
    fc.assert(
      fc.property(fc.array(few), (strays) => {
        const watermark = established(EVENTS);
        for (const stray of strays) told([...stray, T0], EVENTS, watermark);
        expect(watermark.time).toBe(T0);
      }),
    );
  });

  for (const { name, times, verdicts, time } of [
    {
      name: 'five that agree, ahead',
      times: [2, 2, 2, 2, 2],
      verdicts: ['doubted', 'doubted', 'doubted', 'doubted', 'ahead'],
      time: 2,
    },
    { name: 'not five that disagree', times: [2, 5, 2, 5, 2], verdicts: Array(5).fill('doubted'), time: 0 },
    {
      name: 'nor five with a near one between',
      times: [2, 2, 2, 0, 2, 2],
      verdicts: ['doubted', 'doubted', 'doubted', 'near', 'doubted', 'doubted'],
      time: 0,
    },
    { name: 'not five behind: that takes fifty', times: Array(49).fill(-2), verdicts: Array(49).fill('late'), time: 0 },
    { name: 'fifty behind', times: Array(50).fill(-2), verdicts: [...Array(49).fill('late'), 'restarted'], time: -2 },
  ] as { name: string; times: number[]; verdicts: Verdict[]; time: number }[])
    test(`W2, W3: ${name}`, () => {
      const watermark = established(EVENTS);
      expect(times.map((hours) => watermark.hear(T0 + hours * HOUR_MS, EVENTS))).toEqual(verdicts);
      expect(watermark.time).toBe(T0 + time * HOUR_MS);
    });

  test('W3: whatever came before, what enough tell in a row is believed in the end', () => {
    fc.assert(
      fc.property(fc.array(anywhere), anywhere, rules, (before, at, rule) => {
        const watermark = told(before, rule);
        const enough = rule.votesMin + rule.behindInRow;
        told(Array(enough).fill(at), rule, watermark);
        expect(Math.abs(watermark.time - at)).toBeLessThanOrEqual(rule.nearMs);
      }),
    );
  });

  test('W4: a first word that is wild is outvoted by what follows', () => {
    fc.assert(
      fc.property(fc.array(near(T0), { minLength: 2, maxLength: 20 }), (times) => {
        const watermark = told([T0 + 1000 * HOUR_MS, ...times], EVENTS);
        expect(Math.abs(watermark.time - T0)).toBeLessThanOrEqual(HOUR_MS);
      }),
    );
  });
});

describe('patience', () => {
  const FAR = T0 + 5 * HOUR_MS;

  test('W2: what is far moves nothing, however many tell of it, until a minute has passed without anything nearer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: 200_000 }), (count, waitMs) => {
        const watermark = told(Array(count).fill(FAR), MERGED_SOURCES, established(MERGED_SOURCES));
        expect(watermark.time).toBe(T0);
        expect(watermark.watch(1_000_000, MERGED_SOURCES)).toBe(false);
        expect(watermark.watch(1_000_000 + waitMs, MERGED_SOURCES)).toBe(waitMs >= 60_000);
        expect(watermark.time).toBe(waitMs >= 60_000 ? FAR : T0);
      }),
    );
  });

  test('W2: while anything near is told once a minute, no source leads the others away', () => {
    const watermark = established(MERGED_SOURCES);
    for (let second = 1; second <= 3600; second++) {
      told([FAR, FAR, FAR], MERGED_SOURCES, watermark);
      if (second % 59 === 0) told([T0 + second], MERGED_SOURCES, watermark);
      expect(watermark.watch(second * 1000, MERGED_SOURCES)).toBe(false);
    }
    expect(watermark.time - T0).toBeLessThan(HOUR_MS);
  });

  test('W3: it goes back as well, to what was told last', () => {
    const watermark = told([T0 - 9 * HOUR_MS, T0 - 5 * HOUR_MS], MERGED_SOURCES, established(MERGED_SOURCES));
    watermark.watch(1, MERGED_SOURCES);
    expect([watermark.watch(60_001, MERGED_SOURCES), watermark.time]).toEqual([true, T0 - 5 * HOUR_MS]);
    expect(watermark.watch(120_002, MERGED_SOURCES)).toBe(false);
  });

  test('a host’s clock that is set back begins the wait anew', () => {
    const watermark = told([FAR], MERGED_SOURCES, established(MERGED_SOURCES));
    const watched = [50_000, 10_000, 69_999, 70_000].map((wallTime) => watermark.watch(wallTime, MERGED_SOURCES));
    expect(watched).toEqual([false, false, false, true]);
  });
});

test('copied at any point, it goes on as it would have', () => {
  fc.assert(
    fc.property(fc.array(anywhere), fc.array(anywhere), rules, (before, after, rule) => {
      const straight = told(before, rule);
      const copy = Object.assign(new Watermark(), straight);
      expect(after.map((time) => copy.hear(time, rule))).toEqual(after.map((time) => straight.hear(time, rule)));
      expect(copy).toEqual(straight);
    }),
  );
});

test('what is only supposed to have come is taken for true as far as it is near', () => {
  const watermark = established(EVENTS);
  expect([0, HOUR_MS, HOUR_MS + 1].map((ahead) => watermark.reaches(T0 + ahead, EVENTS))).toEqual([true, true, false]);
});
