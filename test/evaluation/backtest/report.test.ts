import { describe, expect, test } from 'vitest';
import {
  compare,
  compareDatasets,
  comparedTable,
  datasetTable,
  meansOf,
  meansTable,
} from '../../../evaluation/backtest/report.ts';
import type { ScoreRow } from '../../../evaluation/backtest/score.ts';
import { SMALL } from './synthetic.ts';

const protocol = [
  { ...SMALL, dataset: 'easy', series: 'a' },
  { ...SMALL, dataset: 'hard', series: 'b' },
];
/** The same figure in every column of errors. */
const rowsOf = (model: string, dataset: string, error: number, cover95: number): ScoreRow[] =>
  SMALL.horizons.map((horizon) => ({
    ...{ dataset, series: dataset === 'easy' ? 'a' : 'b', model, set: 'all', horizon },
    ...{ MASE: error, pinball90: error, pinball99: error, wQL: error, cover95, seconds: 0.5 },
  }));

const ours = [...rowsOf('Ours', 'easy', 1, 0.95), ...rowsOf('Ours', 'hard', 3, 0.97)];
const references = [
  ...rowsOf('Good', 'easy', 2, 0.99),
  ...rowsOf('Good', 'hard', 2, 0.99),
  ...rowsOf('Bad', 'easy', 5, 0.96),
  ...rowsOf('Bad', 'hard', 5, 0.96),
  ...rowsOf('EasyOnly', 'easy', 0.5, 0.95),
];

describe('report', () => {
  test('the best reference is one that was scored on every series', () => {
    const all = compare(protocol, ours, 'Ours', references);
    expect(all[0]).toEqual({ measure: 'MASE', horizon: 'h1', ours: 2, best: 2, reference: 'Good', ratio: 1 });
    expect(all).toHaveLength(15);
  });

  test('the best coverage is the one nearest to 0.95', () => {
    const cover = compare(protocol, ours, 'Ours', references).find(({ measure }) => measure === 'cover95');
    expect(cover).toMatchObject({ best: 0.96, reference: 'Bad' });
  });

  test('a data set has a best reference of its own', () => {
    const each = compareDatasets(protocol, ours, 'Ours', references);
    const mase = each.filter(({ measure, horizon }) => measure === 'MASE' && horizon === 'long');
    expect(mase).toMatchObject([
      { dataset: 'easy', reference: 'EasyOnly', ratio: 2 },
      { dataset: 'hard', reference: 'Good', ratio: 1.5 },
    ]);
  });

  test('without any reference there is nothing to compare', () => {
    expect(compare(protocol, ours, 'Ours', [])).toEqual([]);
  });

  test('ratios above 1.3 are marked', () => {
    const near = [...rowsOf('Ours', 'easy', 2.6, 1), ...rowsOf('Ours', 'hard', 2.7, 1)];
    const only = references.filter(({ model }) => model === 'Good');
    const [head, easy, hard] = datasetTable(compareDatasets(protocol, near, 'Ours', only));
    expect(head!.slice(0, 4)).toEqual(['ratio', 'MASE h1', 'h12', 'long']);
    expect(easy!.slice(0, 2)).toEqual(['easy', '1.30']);
    expect(hard!.slice(0, 2)).toEqual(['hard', '1.35!']);
  });

  test('tables have one line a model, and one line a column', () => {
    const means = meansTable(meansOf(protocol, [...ours, ...references], ['Ours', 'Good']));
    expect(means.map((row) => row.slice(0, 2))).toEqual([
      ['model', 'MASE h1'],
      ['Ours', '2.000'],
      ['Good', '2.000'],
    ]);
    expect(means.every((row) => row.length === 17)).toBe(true);
    const compared = comparedTable('Ours', compare(protocol, ours, 'Ours', references));
    expect(compared[1]).toEqual(['MASE', 'h1', '2.000', '2.000', '1.000', 'Good']);
  });
});
