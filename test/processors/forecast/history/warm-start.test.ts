import { expect, test } from 'vitest';
import { WarmStart } from '../../../../processors/forecast/history/warm-start.ts';
import type { SeriesId } from '../../../../schemas/ids.ts';

const id = (name: string): SeriesId => name as string as SeriesId;

function warmStartOf(...names: string[]): WarmStart {
  const warmStart = new WarmStart();
  for (const name of names) warmStart.add(id(name), () => true);
  return warmStart;
}

for (const { series, known, senior } of [
  { series: 't/eu/cam/7', known: ['t/eu/cam/1', 't/eu/door/2'], senior: 't/eu/cam/1' },
  { series: 't/eu/gate/7', known: ['t/eu/cam/1'], senior: 't/eu/cam/1' },
  { series: 't/us/cam/7', known: ['t/eu/cam/1'], senior: undefined },
  { series: 'c/3/0110', known: ['c/3/0000', 'c/4/1111'], senior: 'c/3/0000' },
  { series: 'w/3/eu/', known: ['w/3/'], senior: 'w/3/' },
  { series: 'w/3/eu/', known: ['w/3/us/'], senior: 'w/3/us/' },
  { series: 't/alone', known: ['t/alone'], senior: undefined },
])
  test(`L1: ${series} begins from ${senior ?? 'nothing'} among ${known.join(', ')}`, () =>
    expect(warmStartOf(...known).of(id(series))).toBe(senior));

test('a senior stays until it is gone', () => {
  const warmStart = warmStartOf('t/eu/cam/1', 't/eu/cam/2');
  expect(warmStart.of(id('t/eu/cam/9'))).toBe('t/eu/cam/1');
  warmStart.forget(id('t/eu/cam/1'));
  expect(warmStart.of(id('t/eu/cam/9'))).toBeUndefined();
  warmStart.add(id('t/eu/cam/2'), () => true);
  expect(warmStart.of(id('t/eu/cam/9'))).toBe('t/eu/cam/2');
});
