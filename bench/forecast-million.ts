// Forecast for a million series: one minute's tick for 1,000,000 series, with the models that need no fit and the
// smallest history, on two cores: every series closes a step and gets the quantiles of the coming hour. When memory is
// not sufficient for a million series, it reports how many it reaches in a minute.

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { LEVELS } from '../processors/forecast/combine/calibration.ts';
import { Forecaster } from '../processors/forecast/forecaster.ts';
import { NEAR_STEPS } from '../processors/forecast/grid.ts';
import { COMPACT } from '../processors/forecast/history/history.ts';
import { CHEAP_MODELS } from '../processors/forecast/models/models.ts';
import type { SeriesMemory } from '../processors/forecast/series-memory.ts';
import { threadScript } from '../runtime/thread-script.ts';
import { CHEAP_GRID } from './forecast.ts';
import type { Measurement } from './measurement.ts';
import { syntheticRates } from './synthetic-rates.ts';

const SERIES = 1_000_000;
const THREADS = 2;
const WARM_UP_MINUTES = 12;
const TICK_MS = 60_000;
/** Distinct courses of rates; the million series take turns in using them. */
const COURSES = 64;

interface Ticked {
  readonly millis: number;
  readonly bytes: number;
}

export async function forecastMillion(): Promise<readonly Measurement[]> {
  const ticked = await Promise.all(
    Array.from(
      { length: THREADS },
      () =>
        new Promise<Ticked>((resolve, reject) => {
          const worker = new Worker(threadScript(import.meta.url), {
            workerData: SERIES / THREADS,
            resourceLimits: { maxOldGenerationSizeMb: 8_192 },
          });
          worker.once('message', resolve).once('error', reject);
        }),
    ),
  );
  const millis = Math.max(...ticked.map((each) => each.millis));
  const bytes = ticked.reduce((sum, each) => sum + each.bytes, 0) / SERIES;
  const reached = Math.floor((SERIES * TICK_MS) / millis);
  return [
    {
      ...{
        name: `forecast-million: one tick of 1,000,000 series on ${THREADS} threads`,
        figure: millis / 1000,
        unit: 's',
      },
      ...{ peer: '', peerFigure: null, ratio: null, bar: 'within 60 s', met: millis <= TICK_MS },
    },
    {
      ...{ name: 'forecast-million: series in one minute', figure: reached, unit: 'series' },
      ...{ peer: '', peerFigure: null, ratio: null, bar: 'at least 1,000,000', met: reached >= SERIES },
    },
    {
      ...{ name: 'forecast-million: memory of one series', figure: bytes, unit: 'bytes' },
      ...{ peer: '', peerFigure: null, ratio: null, bar: '', met: null },
    },
  ];
}

if (!isMainThread) parentPort?.postMessage(tick(workerData as number));

function tick(count: number): Ticked {
  const forecaster = new Forecaster(CHEAP_GRID, CHEAP_MODELS, COMPACT);
  const courses = Array.from({ length: COURSES }, (_, seed) => syntheticRates(WARM_UP_MINUTES + 1, seed + 1));
  const before = process.memoryUsage();
  const memories: SeriesMemory[] = [];
  for (let s = 0; s < count; s++) {
    const memory = forecaster.fresh();
    for (let minute = 0; minute < WARM_UP_MINUTES; minute++)
      forecaster.close(memory, minute, courses[s % COURSES]![minute]!);
    memories.push(memory);
  }
  const after = process.memoryUsage();
  const into = new Float64Array(NEAR_STEPS * LEVELS.length);
  const ahead = Array.from({ length: NEAR_STEPS }, (_, i) => i + 1);
  const start = performance.now();
  for (let s = 0; s < count; s++) {
    forecaster.close(memories[s]!, WARM_UP_MINUTES, courses[s % COURSES]![WARM_UP_MINUTES]!);
    forecaster.quantiles(memories[s]!, ahead, into);
  }
  return {
    millis: performance.now() - start,
    bytes: after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers,
  };
}
