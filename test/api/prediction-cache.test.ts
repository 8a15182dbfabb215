// Which forecast speaks for a topic, and how much is remembered.

import { describe, expect, test } from 'vitest';
import { PredictionCache } from '../../api/prediction-cache.ts';
import { type SeriesId, seriesId } from '../../schemas/ids.ts';
import type { Forecast } from '../../schemas/records.ts';
import { filterHash, groupSeries, leadingBits, leafSeries, partitionOf, topicSeries } from '../../state/keys.ts';
import { FORECAST } from '../support/fake-views.ts';

const PARTITIONS = 4;
const SETTINGS = { partitions: PARTITIONS, leafBits: 3, heavy: { share: 0.01, perSecond: 1 } };

/** Levels 0.5 and 0.95, two steps. */
const forecastOf = (series: SeriesId, perSecond: number, changes: Partial<Forecast> = {}): Forecast => ({
  ...FORECAST,
  series,
  levels: [0.5, 0.95],
  quantiles: [perSecond, 2 * perSecond, perSecond, 2 * perSecond],
  currentPerSecond: perSecond,
  ...changes,
});

const cacheOf = (...forecasts: readonly Forecast[]): PredictionCache => {
  const cache = new PredictionCache(SETTINGS);
  for (const forecast of forecasts) cache.take(`${forecast.series}|${forecast.signal}`, forecast);
  return cache;
};

const leafOf = (filter: string) =>
  leafSeries(partitionOf(filter, PARTITIONS), leadingBits(filterHash(filter), SETTINGS.leafBits));
const restOf = (key: string, prefix = '') => groupSeries(partitionOf(key, PARTITIONS), prefix);

const TOPIC = 'site/line-1/state';
const OWN = topicSeries(TOPIC);
const LEAF = leafOf(TOPIC);

describe('the series of a topic', () => {
  const cases: readonly [name: string, filter: string, known: readonly Forecast[], expected: SeriesId | undefined][] = [
    ['nothing is known', TOPIC, [], undefined],
    ['only other series are known', TOPIC, [forecastOf(topicSeries('other'), 9)], undefined],
    ['its own, when it is heavy', TOPIC, [forecastOf(OWN, 5), forecastOf(LEAF, 50)], OWN],
    ['its leaf, when it is not', TOPIC, [forecastOf(LEAF, 50)], LEAF],
    ['its leaf, once its own has gone silent', TOPIC, [forecastOf(OWN, 0), forecastOf(LEAF, 50)], LEAF],
    [
      'its own, when it is silent now but something is coming',
      TOPIC,
      [forecastOf(OWN, 0, { quantiles: [0, 0, 7, 9] }), forecastOf(LEAF, 50)],
      OWN,
    ],
    [
      'its leaf, when its own has nothing but an upper quantile',
      TOPIC,
      [forecastOf(OWN, 0, { quantiles: [0, 1, 0, 1] }), forecastOf(LEAF, 50)],
      LEAF,
    ],
    ['its leaf, when both are silent', TOPIC, [forecastOf(OWN, 0), forecastOf(LEAF, 0)], LEAF],
    ['its own, silent as it is, when there is no other', TOPIC, [forecastOf(OWN, 0)], OWN],
    [
      'the group of its first level, for a wildcard filter',
      'site/+/state',
      [forecastOf(restOf('site', 'site/'), 5), forecastOf(restOf('site'), 50)],
      restOf('site', 'site/'),
    ],
    ['the rest of its partition, for another one', 'site/+/state', [forecastOf(restOf('site'), 50)], restOf('site')],
    [
      'the rest, for a filter without a first level',
      '+/state',
      [forecastOf(restOf('#', '+/'), 5), forecastOf(restOf('#'), 50)],
      restOf('#'),
    ],
    [
      'the group, for a shared filter without a wildcard',
      '$share/workers/site/state',
      [forecastOf(leafOf('$share/workers/site/state'), 9), forecastOf(restOf('site', 'site/'), 5)],
      restOf('site', 'site/'),
    ],
    ['the group of an empty first level', '/+/a', [forecastOf(restOf('', '/'), 5)], restOf('', '/')],
  ];
  for (const [name, filter, known, expected] of cases)
    test(name, () => expect(cacheOf(...known).expected(filter, 'SUBSCRIPTIONS')?.series).toBe(expected));

  test('is looked for by signal', () => {
    const cache = cacheOf(forecastOf(LEAF, 50), forecastOf(OWN, 5, { signal: 'PUBLISHES' }));
    expect(cache.expected(TOPIC, 'SUBSCRIPTIONS')!.series).toBe(LEAF);
    expect(cache.expected(TOPIC, 'PUBLISHES')!.series).toBe(OWN);
  });

  test('is forgotten with its key', () => {
    const cache = cacheOf(forecastOf(OWN, 5));
    cache.take(`${OWN}|SUBSCRIPTIONS`, null);
    expect(cache.expected(TOPIC, 'SUBSCRIPTIONS')).toBeUndefined();
    expect(cache.size).toBe(0);
  });
});

describe('the share of a topic', () => {
  const cases: readonly [name: string, forecast: Forecast, share: number][] = [
    ['all of its own series', forecastOf(OWN, 5), 1],
    ['of a busy leaf, what makes a topic heavy: 1 % of eight leaves', forecastOf(LEAF, 1_000), 0.08],
    ['of a quiet leaf, what makes a topic heavy: one event a second', forecastOf(LEAF, 4), 0.25],
    ['of a leaf with less than that, all of it', forecastOf(LEAF, 0.5), 1],
    ['of a leaf, by the highest rate in sight', forecastOf(LEAF, 0, { quantiles: [2, 8, 4, 9] }), 0.25],
    ['of a silent leaf, all of nothing', forecastOf(LEAF, 0), 1],
  ];
  for (const [name, forecast, share] of cases)
    test(name, () => expect(cacheOf(forecast).expected(TOPIC, 'SUBSCRIPTIONS')!.share).toBeCloseTo(share));

  test('all of a group', () => {
    const group = restOf('site');
    expect(cacheOf(forecastOf(group, 50)).expected('site/#', 'SUBSCRIPTIONS')).toMatchObject({
      series: group,
      share: 1,
    });
  });
});

test('of more than the bound, what was renewed longest ago is forgotten', () => {
  const cache = new PredictionCache(SETTINGS, 2);
  const take = (series: string): void =>
    cache.take(`t/${series}|SUBSCRIPTIONS`, forecastOf(seriesId(`t/${series}`), 1));
  for (const series of ['a', 'b', 'a', 'c']) take(series);
  expect(cache.size).toBe(2);
  expect(['a', 'b', 'c'].filter((topic) => cache.expected(topic, 'SUBSCRIPTIONS') !== undefined)).toEqual(['a', 'c']);
});
