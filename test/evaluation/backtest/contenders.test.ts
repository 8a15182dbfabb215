import { describe, expect, test } from 'vitest';
import { readWeights } from '../../../config/edge/weights-file.ts';
import { CONTENDER_NAMES, forecastsOf } from '../../../evaluation/backtest/contenders.ts';
import { protocolFor } from '../../../evaluation/backtest/protocol.ts';
import { parseTrace } from '../../../evaluation/trace.ts';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { lstmOf } from '../../../processors/forecast/models/lstm.ts';
import { hours, traceText } from './synthetic.ts';

const values = hours(240);
const series = protocolFor(parseTrace(traceText({ rate: values }, 3_600), 'own.csv'), 'own.csv', 'own', 'rate');
const ORIGINS = [series.origins[0]!, series.origins[9]!];
const lstm = () => lstmOf(readWeights('').weights);
const forecasts = (contender: string, of: Float64Array) => [...forecastsOf(contender, of, series, ORIGINS, lstm)];

describe('contenders', () => {
  test('are the combination, every model and the references, each under a name of its own', () => {
    expect(CONTENDER_NAMES[0]).toBe('Foreshard');
    expect(CONTENDER_NAMES.slice(-3)).toEqual(['Naive', 'SeasonalNaive', 'SeasonalNaiveWeek']);
    expect(new Set(CONTENDER_NAMES).size).toBe(CONTENDER_NAMES.length);
  });

  for (const contender of CONTENDER_NAMES) {
    test(`${contender}: whatever comes after an origin does not change the forecast made there`, () => {
      const clean = forecasts(contender, values);
      for (const poison of [Number.NaN, 1e300])
        for (const [index, origin] of ORIGINS.entries())
          expect(forecasts(contender, values.slice().fill(poison, origin))[index]).toEqual(clean[index]);
    });

    test(`${contender}: finite quantiles that ascend, for each step up to the longest horizon`, () => {
      for (const quantiles of forecasts(contender, values)) {
        expect(quantiles).toHaveLength(24 * LEVELS.length);
        for (const [at, quantile] of quantiles.entries()) {
          expect(Number.isFinite(quantile)).toBe(true);
          if (at % LEVELS.length > 0) expect(quantile).toBeGreaterThanOrEqual(quantiles[at - 1]!);
        }
      }
    });
  }

  test('the row before an origin does change the forecast made there', () => {
    const changed = values.slice();
    changed[ORIGINS[0]! - 1]! += 50;
    expect(forecasts('Foreshard', changed)[0]).not.toEqual(forecasts('Foreshard', values)[0]);
  });
});
