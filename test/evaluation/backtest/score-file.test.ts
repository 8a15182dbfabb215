import { describe, expect, test } from 'vitest';
import type { ScoreRow } from '../../../evaluation/backtest/score.ts';
import { parseScores, scoreFile } from '../../../evaluation/backtest/score-file.ts';

const ROW: ScoreRow = {
  ...{ dataset: 'd', series: 's', model: 'M', set: 'sub', horizon: 12 },
  ...{ MASE: 0.123456, pinball90: 1e-9, pinball99: 2, wQL: Number.NaN, cover95: 1, seconds: 4e-5 },
};
const HEADER = 'dataset,series,model,set,horizon,MASE,pinball90,pinball99,wQL,cover95,seconds';
const LINE = 'd,s,M,sub,12,0.12346,1e-9,2,,1,0.00004';

describe('score file', () => {
  test('has these columns, five digits, and an empty cell for what is not a number', () => {
    expect(scoreFile([ROW])).toBe(`${HEADER}\n${LINE}\n`);
  });

  test('is read as it was written', () => {
    expect(parseScores(scoreFile([ROW]), 'x.csv')).toEqual([{ ...ROW, MASE: 0.12346 }]);
  });

  test('columns are known by name: another order and further columns do not matter', () => {
    const text = [HEADER, LINE].map((line) => ['more', ...line.split(',').reverse()].join(',')).join('\r\n');
    expect(parseScores(text, 'x.csv')).toEqual([{ ...ROW, MASE: 0.12346 }]);
  });

  for (const { name, text, says } of [
    { name: 'an empty file', text: '', says: 'x.csv, line 1: the header has no column dataset' },
    { name: 'a missing column', text: HEADER.replace(',wQL', ''), says: 'x.csv, line 1: the header has no column wQL' },
    { name: 'a short line', text: `${HEADER}\n${LINE}\nd,s`, says: 'x.csv, line 3: expected 11 cells, found 2' },
    {
      name: 'a score that is no number',
      text: `${HEADER}\n${LINE.replace('0.12346', 'good')}`,
      says: 'x.csv, line 2: MASE is not a number: "good"',
    },
    { name: 'another set', text: `${HEADER}\n${LINE.replace('sub', 'half')}`, says: 'line 2: set must be all or sub' },
  ])
    test(`${name} is refused with the line`, () => {
      expect(() => parseScores(text, 'x.csv')).toThrow(
        expect.objectContaining({ code: 'PROTOCOL_INVALID', message: expect.stringContaining(says) }),
      );
    });
});
