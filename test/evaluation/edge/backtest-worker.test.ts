import { describe, expect, test } from 'vitest';
import { protocolFor } from '../../../evaluation/backtest/protocol.ts';
import { type BacktestForecasts, type BacktestTask, runBacktest } from '../../../evaluation/edge/backtest-worker.ts';
import { parseTrace } from '../../../evaluation/trace.ts';
import { hours, traceText } from '../backtest/synthetic.ts';

const values = hours(240);
const series = protocolFor(parseTrace(traceText({ rate: values }, 3_600), 'own.csv'), 'own.csv', 'own', 'rate');
const tasks = ['Foreshard', 'Naive', 'level', 'SeasonalNaive'].map(
  (contender): BacktestTask => ({ contender, series, values, origins: series.origins.slice(0, 2) }),
);

async function run(of: readonly BacktestTask[], workers: number) {
  const forecasts: BacktestForecasts[] = [];
  const origins = of.map(() => 0);
  await runBacktest(of, workers, {
    origin: (task) => origins[task]!++,
    done: (task, each) => {
      forecasts[task] = each;
    },
  });
  return {
    quantiles: forecasts.map((each) => each.quantiles),
    origins,
    seconds: forecasts.map((f) => f.secondsPerOrigin),
  };
}

describe('backtest workers', () => {
  test('threads make the forecasts that this one makes, and tell of every origin', async () => {
    const here = await run(tasks, 0);
    expect(here.origins).toEqual([2, 2, 2, 2]);
    expect(here.seconds.every((seconds) => seconds >= 0)).toBe(true);
    for (const workers of [1, 3]) {
      const there = await run(tasks, workers);
      expect(there.quantiles).toEqual(here.quantiles);
      expect(there.origins).toEqual(here.origins);
    }
  });

  for (const workers of [0, 1])
    test(`a bug in a task ends the run (${workers} threads)`, async () => {
      const broken = { ...tasks[1]!, series: { ...series, horizons: undefined as unknown as number[] } };
      await expect(run([tasks[1]!, broken], workers)).rejects.toThrow(TypeError);
    });
});
