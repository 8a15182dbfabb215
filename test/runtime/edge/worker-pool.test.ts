import { afterEach, describe, expect, test } from 'vitest';
import { fitModels, fitRequest } from '../../../processors/forecast/fits.ts';
import { MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { History } from '../../../processors/forecast/history/history.ts';
import { type WorkerPoolSettings, workerPool } from '../../../runtime/edge/worker-pool.ts';
import type { Fitter } from '../../../runtime/ports.ts';
import { noiseFrom } from '../../processors/forecast/shapes.ts';

const noise = noiseFrom(5);
const history = new History(MINUTE_GRID, { nearSteps: 500, farSlots: 100 });
for (let step = 0; step < 300; step++) history.put(step, 50 + 5 * noise(step));
const asked = (series: string) => fitRequest(history, { series, signal: 0, models: ['auto-regression'] });
const script = (source: string): URL => new URL(`data:text/javascript,${encodeURIComponent(source)}`);

let pool: Fitter | undefined;
const poolOf = (settings: Partial<WorkerPoolSettings> = {}): Fitter => {
  pool = workerPool({ threads: 2, answerMs: 60_000, ...settings });
  return pool;
};
afterEach(async () => {
  await pool?.close();
  pool = undefined;
});

describe('worker pool', () => {
  test('W2: more requests than threads are all answered, as the calling thread would', async () => {
    const fitter = poolOf();
    const results = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((series) => fitter.fit(asked(series))));
    expect(results).toEqual(['a', 'b', 'c', 'd', 'e'].map((series) => fitModels(asked(series))));
    expect(results[0]!.fits[0]!.parameters).toBeInstanceOf(Float32Array);
    expect(fitter.pending).toBe(0);
  });

  for (const { name, source, answerMs, failure } of [
    { name: 'dies', source: 'process.exit(3)', answerMs: 60_000, failure: 'its thread ended with code 3' },
    { name: 'throws', source: 'throw new Error("no memory")', answerMs: 60_000, failure: 'no memory' },
    { name: 'does not answer', source: 'setInterval(() => {}, 1000)', answerMs: 50, failure: 'no answer within 50 ms' },
  ])
    test(`W1: a request whose thread ${name} is answered with a failure, and so is the next`, async () => {
      const fitter = poolOf({ threads: 1, answerMs, script: script(source) });
      for (const series of ['a', 'b']) {
        const result = await fitter.fit(asked(series));
        expect(result).toMatchObject({ series, failure });
        expect(result.fits).toEqual([{ model: 'auto-regression', parameters: undefined }]);
      }
    });

  test('W1: what waits when the pool is closed is answered with a failure', async () => {
    const fitter = poolOf({ threads: 1, script: script('setInterval(() => {}, 1000)') });
    const waiting = ['a', 'b'].map((series) => fitter.fit(asked(series)));
    await fitter.close();
    for (const { failure } of await Promise.all(waiting)) expect(failure).toBe('the process is stopping');
    expect((await fitter.fit(asked('c'))).failure).toBe('the process is stopping');
  });
});
