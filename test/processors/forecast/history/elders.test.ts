import { expect, test } from 'vitest';
import { Elders } from '../../../../processors/forecast/history/elders.ts';
import type { SeriesId } from '../../../../schemas/ids.ts';

const id = (name: string): SeriesId => name as string as SeriesId;

function eldersOf(...names: string[]): Elders {
  const elders = new Elders();
  for (const name of names) elders.add(id(name), () => true);
  return elders;
}

for (const { series, known, elder } of [
  { series: 't/eu/cam/7', known: ['t/eu/cam/1', 't/eu/door/2'], elder: 't/eu/cam/1' },
  { series: 't/eu/gate/7', known: ['t/eu/cam/1'], elder: 't/eu/cam/1' },
  { series: 't/us/cam/7', known: ['t/eu/cam/1'], elder: undefined },
  { series: 'c/3/0110', known: ['c/3/0000', 'c/4/1111'], elder: 'c/3/0000' },
  { series: 'w/3/eu/', known: ['w/3/'], elder: 'w/3/' },
  { series: 'w/3/eu/', known: ['w/3/us/'], elder: 'w/3/us/' },
  { series: 't/alone', known: ['t/alone'], elder: undefined },
])
  test(`L1: ${series} begins from ${elder ?? 'nothing'} among ${known.join(', ')}`, () =>
    expect(eldersOf(...known).of(id(series))).toBe(elder));

test('an elder stays until it is gone', () => {
  const elders = eldersOf('t/eu/cam/1', 't/eu/cam/2');
  expect(elders.of(id('t/eu/cam/9'))).toBe('t/eu/cam/1');
  elders.forget(id('t/eu/cam/1'));
  expect(elders.of(id('t/eu/cam/9'))).toBeUndefined();
  elders.add(id('t/eu/cam/2'), () => true);
  expect(elders.of(id('t/eu/cam/9'))).toBe('t/eu/cam/2');
});
