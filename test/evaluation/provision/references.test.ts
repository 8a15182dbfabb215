import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseProtocol } from '../../../evaluation/provision/protocol.ts';
import { REFERENCES } from '../../../evaluation/provision/references.ts';
import { scoreOf } from '../../../evaluation/provision/resource.ts';
import { HEADER, rowOf, scoreFile } from '../../../evaluation/provision/scores.ts';
import { parseTrace } from '../../../evaluation/trace.ts';

/** Shards carry 10; a season is 4 rows; what is ordered serves 2 rows later. */
const load = {
  values: Float64Array.of(5, 15, 35, 5, /* scored from here on */ 6, 9, 30, 4, 3, 2),
  testStart: 4,
  stepSeconds: 3600,
  shardCapacity: 10,
  leadRows: 2,
};
const seasons = { season: 4, fitWindow: 8 };

describe('reference policies', () => {
  for (const { policy, why, serving, paid } of [
    { policy: 'static_peak', why: '35 is the peak before', serving: [4, 4, 4, 4, 4, 4], paid: [4, 4, 4, 4, 4, 4] },
    { policy: 'static_peak_hindsight', why: '30 is the peak', serving: [3, 3, 3, 3, 3, 3], paid: [3, 3, 3, 3, 3, 3] },
    { policy: 'static_mean', why: '15 is the mean before', serving: [2, 2, 2, 2, 2, 2], paid: [2, 2, 2, 2, 2, 2] },
    {
      policy: 'reactive',
      why: '9 of 10 orders one, 30 of 20 orders three more; 4 and 3 of 50 would remove, when nothing is ordered',
      serving: [1, 1, 1, 1, 2, 5],
      paid: [1, 1, 2, 5, 5, 5],
    },
    {
      policy: 'oracle',
      why: 'the three shards of 30 are paid two rows before',
      serving: [1, 1, 3, 1, 1, 1],
      paid: [3, 3, 3, 1, 1, 1],
    },
    {
      policy: 'pred_snaive90',
      why: '35 of the season before is ordered for its row and kept while in sight; then 30 is in sight: one less',
      serving: [1, 1, 4, 4, 4, 3],
      paid: [4, 4, 4, 4, 4, 3],
    },
  ])
    test(`${policy}: ${why}`, () => expect(REFERENCES.get(policy)!(load, seasons)).toEqual({ serving, paid }));

  test('the seasonal forecast adds 1.28155 times its usual error', () => {
    // Differences of the season before: 10 in every row, so that 20 becomes 32.8 of 10.
    const values = Float64Array.of(10, 10, 20, 20, 20, 20);
    const { serving } = REFERENCES.get('pred_snaive90')!(
      { ...load, values, testStart: 4 },
      { season: 2, fitWindow: 2 },
    );
    expect(serving).toEqual([4, 4]);
    const long = Float64Array.of(10, 10, 20, 20, 20, 20, 20, 20);
    const { paid } = REFERENCES.get('pred_snaive90')!(
      { ...load, values: long, testStart: 4 },
      { season: 2, fitWindow: 2 },
    );
    expect(paid).toEqual([4, 4, 4, 4]);
  });
});

/** The folder of the shared traces, with protocol.json and provisioning.csv; not part of the project. */
const FOLDER = process.env.FORESHARD_TRACES;

describe.skipIf(FOLDER === undefined || !existsSync(join(FOLDER, 'provisioning.csv')))(
  'the reference scores of the shared traces (skipped unless FORESHARD_TRACES names their folder)',
  () => {
    test('come out to the last printed digit', () => {
      const textOf = (file: string): string => readFileSync(join(FOLDER!, file), 'utf8');
      const rows = parseProtocol(textOf('protocol.json'), 'protocol.json').flatMap((series) => {
        const trace = parseTrace(textOf(series.file), series.file);
        const ofSeries = { ...series, values: trace.values[trace.series.indexOf(series.series)]! };
        const scores = [...REFERENCES].map(
          ([policy, run]) => [policy, scoreOf(ofSeries, run(ofSeries, series))] as const,
        );
        const { shardHours } = new Map(scores).get('oracle')!;
        return scores.map(([policy, score]) => rowOf(series, policy, score, shardHours));
      });
      const isOurs = (line: string): boolean => line === HEADER.join(',') || REFERENCES.has(line.split(',')[2]!);
      const expected = textOf('provisioning.csv').trim().split(/\r?\n/).filter(isOurs);
      expect(scoreFile(rows).trim().split('\n').toSorted()).toEqual(expected.toSorted());
    });
  },
);
