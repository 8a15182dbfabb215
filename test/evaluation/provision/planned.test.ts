import { describe, expect, test } from 'vitest';
import { planned, SETTING_NAMES } from '../../../evaluation/provision/planned.ts';
import { REFERENCES } from '../../../evaluation/provision/references.ts';
import { scoreOf } from '../../../evaluation/provision/resource.ts';
import { randomFrom } from '../../../evaluation/random.ts';

const ROWS = 360;
const TEST_START = 270;
const SEASONS = { season: 24, longSeason: 168, horizon: 24 };

/** Daily waves between 10 and 90, with noise. */
function waves(seed: number): Float64Array {
  const random = randomFrom(seed);
  return Float64Array.from(
    { length: ROWS },
    (_, row) => 50 - 40 * Math.cos((2 * Math.PI * row) / 24) + 4 * (random() - 0.5),
  );
}

const loadOf = (values: Float64Array) => ({
  values,
  testStart: TEST_START,
  stepSeconds: 3600,
  shardCapacity: 10,
  leadRows: 3,
});

function outcomesOf(values: Float64Array) {
  const steps = planned(loadOf(values), SEASONS, SETTING_NAMES);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

describe('the settings', () => {
  const values = waves(1);
  const outcomes = outcomesOf(values);

  test('follow a daily wave: little more is paid than by who knows it, and shards are hardly ever short', () => {
    const oracle = scoreOf(loadOf(values), REFERENCES.get('oracle')!(loadOf(values), { season: 24, fitWindow: 168 }));
    for (const name of SETTING_NAMES) {
      const { shardHours, underPercent } = scoreOf(loadOf(values), outcomes.get(name)!);
      expect(shardHours / oracle.shardHours, name).toBeLessThan(1.5);
      expect(underPercent, name).toBeLessThan(2);
    }
  });

  test('cautious has more shards than balanced', () => {
    const [balanced, cautious] = SETTING_NAMES.map((name) => scoreOf(loadOf(values), outcomes.get(name)!));
    expect(cautious!.shardHours).toBeGreaterThan(balanced!.shardHours);
    expect(cautious!.underPercent).toBeLessThanOrEqual(balanced!.underPercent);
  });

  test('decide by the rows before alone (P1): whatever comes from a row on, the decision about it is the same', () => {
    for (const row of [TEST_START, TEST_START + 1, TEST_START + 40]) {
      const poisoned = outcomesOf(values.map((value, each) => (each < row ? value : 1e6 * (each % 2))));
      for (const name of SETTING_NAMES)
        expect(poisoned.get(name)!.paid.slice(0, row - TEST_START + 1), `${name}, row ${row}`).toEqual(
          outcomes.get(name)!.paid.slice(0, row - TEST_START + 1),
        );
    }
  });

  test('decide the same each time', () => expect(outcomesOf(values)).toEqual(outcomes));

  test('do not need each other', () => {
    const steps = planned(loadOf(values), SEASONS, ['cautious']);
    let last = steps.next();
    while (last.done !== true) last = steps.next();
    expect(last.value).toEqual(new Map([['cautious', outcomes.get('cautious')]]));
  });
});
