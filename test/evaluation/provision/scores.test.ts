import { describe, expect, test } from 'vitest';
import { meansOf, parseScores, rowOf, scoreFile } from '../../../evaluation/provision/scores.ts';

const HEADER = 'dataset,series,policy,shard_hours,under_pct,lost_pct,hours,vs_oracle';

describe('scores', () => {
  const row = rowOf(
    { dataset: 'made', series: 'requests' },
    'reactive',
    { shardHours: 200 / 3, underPercent: 12.34567, lostPercent: 0, hours: 12 },
    100 / 3,
  );

  test('are rounded as reference scores are, and their ratio is of the rounded hours (S1)', () =>
    expect(row).toEqual({
      dataset: 'made',
      series: 'requests',
      policy: 'reactive',
      shardHours: 66.67,
      underPercent: 12.346,
      lostPercent: 0,
      hours: 12,
      vsOracle: 2,
    }));

  test('come back from their file', () => {
    const text = scoreFile([row]);
    expect(text).toBe(`${HEADER}\nmade,requests,reactive,66.67,12.346,0.0,12.0,2.0\n`);
    expect(parseScores(text.replaceAll('\n', '\r\n'), 'scores.csv')).toEqual([row]);
  });

  for (const { name, text, says } of [
    { name: 'another header', text: 'a,b\n', says: 'scores.csv, line 1: the header must be dataset,series,policy' },
    { name: 'a short line', text: `${HEADER}\na,b,c,1\n`, says: 'line 2: expected 8 cells, found 4' },
    { name: 'no number', text: `${HEADER}\na,b,c,1,x,1,1,1\n`, says: 'line 2: under_pct is not a number: "x"' },
    { name: 'an empty cell', text: `${HEADER}\na,b,c,1,,1,1,1\n`, says: 'line 2: under_pct is not a number: ""' },
  ])
    test(`of a file with ${name} are refused, and the line is named`, () =>
      expect(() => parseScores(text, 'scores.csv')).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_INVALID', message: expect.stringContaining(says) }),
      ));

  test('are averaged over the series of a data set first (S2)', () => {
    const of = (dataset: string, series: string, vsOracle: number) => ({ ...row, dataset, series, vsOracle });
    const [mean] = meansOf([of('a', '1', 1), of('a', '2', 2), of('a', '3', 3), of('b', '1', 6)]);
    expect(mean!.vsOracle).toBe(4);
    expect(meansOf([row, { ...row, policy: 'oracle' }]).map(({ policy }) => policy)).toEqual(['reactive', 'oracle']);
  });
});
