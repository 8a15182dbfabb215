import { describe, expect, test } from 'vitest';
import { originsOf, parseProtocol, protocolFor } from '../../../evaluation/backtest/protocol.ts';
import { valuesOf } from '../../../evaluation/protocol-series.ts';
import { parseTrace } from '../../../evaluation/trace.ts';
import { hours, SMALL, SMALL_FILE, traceText } from './synthetic.ts';

const [given] = SMALL_FILE.series;
const parse = (value: unknown) => parseProtocol(JSON.stringify(value), 'p.json');
const withSeries = (over: object) => ({ ...SMALL_FILE, series: [{ ...given, ...over }] });

describe('protocol', () => {
  test('a file is read field by field', () => {
    expect(parse(SMALL_FILE)).toEqual([SMALL]);
  });

  for (const { name, value, says } of [
    { name: 'nothing', value: null, says: 'quantiles is missing' },
    { name: 'other quantiles', value: { ...SMALL_FILE, quantiles: [0.5] }, says: 'quantiles must be 0.1, 0.2' },
    { name: 'no series', value: { ...SMALL_FILE, series: [] }, says: 'series must not be empty' },
    { name: 'series that are no list', value: { ...SMALL_FILE, series: 1 }, says: 'series must be a list' },
    {
      name: 'a series twice',
      value: { ...SMALL_FILE, series: [given, given] },
      says: 'series[1] says made/rate a second time',
    },
    { name: 'a missing field', value: withSeries({ season: undefined }), says: 'series[0].season is missing' },
    { name: 'a name with a comma', value: withSeries({ series: 'a,b' }), says: 'series[0].series must be a text' },
    { name: 'a name with a bell', value: withSeries({ series: 'a\u0007b' }), says: 'series[0].series must be a text' },
    { name: 'a path for a file', value: withSeries({ file: '../x.csv' }), says: 'series[0].file must be the name' },
    { name: 'half a row', value: withSeries({ n: 2.5 }), says: 'series[0].n must be a whole number' },
    { name: 'a step of nothing', value: withSeries({ step_seconds: 0 }), says: 'series[0].step_seconds must be' },
    { name: 'a scale of nothing', value: withSeries({ mase_scale: 0 }), says: 'series[0].mase_scale must be' },
    { name: 'two horizons', value: withSeries({ horizons: [1, 5] }), says: 'series[0].horizons must be 3 numbers' },
    { name: 'horizons out of order', value: withSeries({ horizons: [1, 5, 2] }), says: 'horizons must be ascending' },
    { name: 'an origin without a season before it', value: withSeries({ origins: [7] }), says: 'from 8 to 19' },
    { name: 'an origin that ends after the trace', value: withSeries({ origins: [20] }), says: 'from 8 to 19' },
    {
      name: 'an origin that is a text',
      value: withSeries({ origins: ['16'] }),
      says: 'series[0].origins[0] must be a whole number',
    },
  ])
    test(`${name} is refused with the file and the field`, () => {
      expect(() => parse(value)).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_INVALID', message: expect.stringContaining(`p.json: `) }),
      );
      expect(() => parse(value)).toThrow(says);
    });

  test('what is not JSON is refused', () => {
    expect(() => parseProtocol('{', 'p.json')).toThrow('p.json is not JSON');
  });

  for (const { name, series, stepSeconds, says } of [
    {
      name: 'another series',
      series: { other: hours(24) },
      stepSeconds: 21_600,
      says: 'no series rate; its series are other',
    },
    { name: 'a row too few', series: { rate: hours(23) }, stepSeconds: 21_600, says: 'has 23 rows, not 24' },
    { name: 'another step', series: { rate: hours(24) }, stepSeconds: 60, says: 'a step of 60 s, not 21600 s' },
  ])
    test(`a trace with ${name} is not the one that the protocol is about`, () => {
      const trace = parseTrace(traceText(series, stepSeconds), 'made.csv');
      expect(() => valuesOf(trace, SMALL, 'p.json')).toThrow(says);
    });

  test('the sub set is every third origin, the first one first', () => {
    expect(originsOf(SMALL, 'all')).toEqual([16, 17, 18, 19]);
    expect(originsOf(SMALL, 'sub')).toEqual([16, 19]);
  });
});

describe('a protocol made on the spot', () => {
  const own = (values: Float64Array, stepSeconds = 3_600) =>
    protocolFor(parseTrace(traceText({ rate: values }, stepSeconds), 'own.csv'), 'own.csv', 'own', 'rate');

  for (const { name, stepSeconds, rows, season, longSeason, long } of [
    { name: 'minutes', stepSeconds: 60, rows: 5_000, season: 1_440, longSeason: 10_080, long: 288 },
    { name: 'five minutes', stepSeconds: 300, rows: 2_000, season: 288, longSeason: 2_016, long: 288 },
    { name: 'hours', stepSeconds: 3_600, rows: 748, season: 24, longSeason: 168, long: 24 },
    { name: 'days', stepSeconds: 86_400, rows: 400, season: 7, longSeason: 364, long: 24 },
  ])
    test(`${name}: the last quarter, 24 origins, a day ahead or so`, () => {
      const protocol = own(hours(rows), stepSeconds);
      expect(protocol).toMatchObject({ season, longSeason, horizons: [1, 12, long] });
      expect(protocol.testStart).toBe(Math.floor(0.75 * rows));
      expect(protocol.origins).toHaveLength(24);
      expect(protocol.origins[0]).toBe(protocol.testStart);
      expect(protocol.origins[23]! + long).toBeLessThanOrEqual(rows);
    });

  test('origins do not all come at the same few times of the day', () => {
    // 25 rows apart there were room for, 24 were a day: 23 shares no factor with it.
    const { origins } = own(hours(4 * (23 * 24 + 24)));
    expect(origins[1]! - origins[0]!).toBe(23);
  });

  test('the scale is the mean seasonal difference of the training rows alone', () => {
    const values = Float64Array.from({ length: 400 }, (_, row) => Math.floor(row / 24));
    expect(own(values).scale).toBe(1);
    values.fill(1e9, 300);
    expect(own(values).scale).toBe(1);
  });

  test('a trace that is too short is told how many rows are needed, and that many are enough', () => {
    expect(() => own(hours(100))).toThrow('own.csv has 100 rows; a backtest at a step of 3600 s needs 185');
    expect(() => own(hours(184))).toThrow('needs 185');
    expect(own(hours(185)).origins).toHaveLength(24);
  });

  test('a flat trace leaves nothing to foresee', () => {
    expect(() => own(new Float64Array(400).fill(5))).toThrow(expect.objectContaining({ code: 'TRACE_INVALID' }));
  });
});
