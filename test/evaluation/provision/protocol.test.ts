import { describe, expect, test } from 'vitest';
import { parseProtocol } from '../../../evaluation/provision/protocol.ts';

const SERIES = {
  dataset: 'made',
  file: 'made.csv',
  series: 'requests',
  n: 400,
  step_seconds: 300,
  season: 24,
  season2: 168,
  fit_window: 96,
  test_start: 300,
  horizons: [1, 12, 24],
  shard_capacity: 12.5,
  lead_points: 3,
};

describe('a protocol of provisioning', () => {
  test('says of each series where it lies, how it repeats, and what its shards are', () =>
    expect(parseProtocol(JSON.stringify({ series: [{ ...SERIES, origins: 'left alone' }] }), 'p.json')).toEqual([
      {
        dataset: 'made',
        file: 'made.csv',
        series: 'requests',
        rows: 400,
        stepSeconds: 300,
        season: 24,
        longSeason: 168,
        fitWindow: 96,
        testStart: 300,
        horizon: 24,
        shardCapacity: 12.5,
        leadRows: 3,
      },
    ]));

  for (const { name, value, says } of [
    { name: 'no object', value: 7, says: 'series is missing' },
    { name: 'no series', value: { series: [] }, says: 'series must not be empty' },
    { name: 'a series that is none', value: { series: [null] }, says: 'series[0].n is missing' },
    ...[
      { field: 'file', wrong: 7, says: 'series[0].file must be a text' },
      { field: 'lead_points', wrong: 0, says: 'series[0].lead_points must be a whole number above 0' },
      { field: 'season', wrong: 2.5, says: 'series[0].season must be a whole number' },
      { field: 'test_start', wrong: 20, says: 'series[0].test_start must be from 24 to 399' },
      { field: 'test_start', wrong: 400, says: 'series[0].test_start must be from 24 to 399' },
      { field: 'shard_capacity', wrong: 0, says: 'series[0].shard_capacity must be a number above 0' },
      { field: 'horizons', wrong: [], says: 'series[0].horizons must be ascending whole numbers from 1 to 400' },
    ].map(({ field, wrong, says }) => ({
      name: `${field} ${JSON.stringify(wrong)}`,
      value: { series: [{ ...SERIES, [field]: wrong }] },
      says,
    })),
  ])
    test(`with ${name} is refused, and the field is named`, () =>
      expect(() => parseProtocol(JSON.stringify(value), 'p.json')).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_INVALID', message: expect.stringContaining(says) }),
      ));
});
