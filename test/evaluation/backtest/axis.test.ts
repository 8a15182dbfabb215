import { describe, expect, test } from 'vitest';
import { durationText, logTicks, timeTicks, valueTicks } from '../../../evaluation/backtest/axis.ts';

const at = (iso: string): number => Date.parse(iso) / 1000;

describe('axis', () => {
  for (const { name, from, to, labels } of [
    {
      name: 'a few hours',
      from: at('2026-01-05T22:10:00Z'),
      to: at('2026-01-06T07:00:00Z'),
      labels: ['6 Jan', '03:00', '06:00'],
    },
    {
      name: 'two weeks',
      from: at('2026-06-29T00:00:00Z'),
      to: at('2026-07-11T00:00:00Z'),
      labels: ['2 Jul', '9 Jul'],
    },
    { name: 'a trace without a clock', from: 0, to: 4 * 86_400, labels: ['day 1', 'day 2', 'day 3', 'day 4', 'day 5'] },
  ])
    test(`times of ${name} are round`, () => {
      expect(timeTicks(from, to, 4).map(({ label }) => label)).toEqual(labels);
    });

  for (const { top, labels } of [
    { top: 1, labels: ['0', '0.25', '0.5', '0.75', '1'] },
    { top: 130, labels: ['0', '50', '100'] },
    { top: 8_100_000, labels: ['0', '2.5M', '5M', '7.5M'] },
  ])
    test(`values up to ${top} are round`, () => {
      expect(valueTicks(top).map(({ label }) => label)).toEqual(labels);
    });

  test('a logarithmic axis has powers of ten from its unit on', () => {
    expect(logTicks(30, 20_000).map(({ label }) => label)).toEqual(['0', '100', '1k', '10k']);
  });

  for (const [seconds, text] of [
    [60, '1 min'],
    [300, '5 min'],
    [5_400, '1.5 h'],
    [86_400, '1 d'],
    [7, '7 s'],
  ] as const)
    test(`a step of ${seconds} s is ${text}`, () => {
      expect(durationText(seconds)).toBe(text);
    });
});
