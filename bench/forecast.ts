// Forecast: the cost of one series and minute: closing the step (every model learns, pending forecasts are judged) and
// the quantiles of the coming hour. In CPU time, so that a busy machine does not matter. Fits are measured separately.
// The peer is AutoETS of statsforecast, which fits and forecasts anew each time; its mean seconds are read from the
// reference scores, a file that is not part of this repository: FORESHARD_TRACES names its folder.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LEVELS } from '../processors/forecast/combine/calibration.ts';
import { Forecaster, type ModelSet } from '../processors/forecast/forecaster.ts';
import { type Grid, MINUTE_GRID, NEAR_STEPS } from '../processors/forecast/grid.ts';
import { COMPACT, type HistoryShape, shapeOfHours } from '../processors/forecast/history/history.ts';
import { CHEAP_MODELS, DEFAULT_MODELS } from '../processors/forecast/models/models.ts';
import type { SeriesMemory } from '../processors/forecast/series-memory.ts';
import { FORECAST_DEFAULTS } from '../processors/forecast/settings.ts';
import { BinaryWriter } from '../state/binary.ts';
import type { Measurement } from './measurement.ts';
import { syntheticRates } from './synthetic-rates.ts';

const SERIES = 8;
const DAYS = 12;
const MEASURED_MINUTES = 500;
/** The fastest round counts: a compiler that warms up and other processes only add time. */
const ROUNDS = 8;
const BAR_MICROS = 50;
const BAR_CHEAP_BYTES = 1_024;
const FULL = shapeOfHours(MINUTE_GRID, FORECAST_DEFAULTS.historyHours);
const AHEAD = Array.from({ length: NEAR_STEPS }, (_, i) => i + 1);

export async function forecast(): Promise<readonly Measurement[]> {
  const usual = measured(MINUTE_GRID, DEFAULT_MODELS, FULL);
  const cheap = measured(CHEAP_GRID, CHEAP_MODELS, COMPACT);
  const ets = etsMicros();
  const peer = {
    peer: ets === null ? '' : 'AutoETS',
    peerFigure: ets,
    ratio: ets === null ? null : usual.micros / ets,
  };
  const absolute = { peer: '', peerFigure: null, ratio: null };
  return [
    {
      ...{ name: 'forecast: update and 60 steps of quantiles, one series', figure: usual.micros, unit: 'us of CPU' },
      ...{ ...peer, bar: `below ${BAR_MICROS} us without fits`, met: usual.micros < BAR_MICROS },
    },
    {
      ...{ name: 'forecast: the same with the models that need no fit', figure: cheap.micros, unit: 'us of CPU' },
      ...{ ...absolute, bar: '', met: null },
    },
    {
      ...{ name: 'forecast: a fit of all models to 12 days of minutes', figure: usual.fitMillis, unit: 'ms of CPU' },
      ...{ ...absolute, bar: '', met: null },
    },
    {
      ...{ name: 'forecast: one series in memory, history and fits included', figure: usual.bytes, unit: 'bytes' },
      ...{ ...absolute, bar: '', met: null },
    },
    {
      ...{
        name: 'forecast: state of one series, cheap models, history left out',
        figure: cheap.stateBytes,
        unit: 'bytes',
      },
      ...{ ...absolute, bar: 'below 1 KiB', met: cheap.stateBytes < BAR_CHEAP_BYTES },
    },
    {
      ...{
        name: 'forecast: history of one series, cheap models',
        figure: cheap.bytes - cheap.stateBytes,
        unit: 'bytes',
      },
      ...{ ...absolute, bar: '', met: null },
    },
  ];
}

/** Cheap models are only asked for an hour. */
export const CHEAP_GRID: Grid = {
  ...MINUTE_GRID,
  distances: MINUTE_GRID.distances.filter((ahead) => ahead <= NEAR_STEPS),
};

function measured(grid: Grid, models: ModelSet, shape: HistoryShape) {
  const forecaster = new Forecaster(grid, models, shape);
  const minutes = DAYS * grid.season;
  const all = Array.from({ length: SERIES }, (_, seed) =>
    syntheticRates(minutes + ROUNDS * MEASURED_MINUTES, seed + 1),
  );
  const fitted = models.models.flatMap((model, m) => (model.fitEvery(grid) > 0 ? [m] : []));
  let fitMillis = 0;
  const memories = all.map((rates) => {
    const memory = forecaster.fresh();
    for (let minute = 0; minute < minutes; minute++) forecaster.close(memory, minute, rates[minute]!);
    fitMillis += cpuMicros(() => forecaster.fit(memory, fitted)) / 1000;
    return memory;
  });
  const into = new Float64Array(NEAR_STEPS * LEVELS.length);
  let micros = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const from = minutes + round * MEASURED_MINUTES;
    const spent = cpuMicros(() => {
      for (let minute = from; minute < from + MEASURED_MINUTES; minute++)
        for (const [s, memory] of memories.entries()) {
          forecaster.close(memory, minute, all[s]![minute]!);
          forecaster.quantiles(memory, AHEAD, into);
        }
    });
    micros = Math.min(micros, spent / (MEASURED_MINUTES * SERIES));
  }
  const [first] = memories;
  return { micros, fitMillis: fitMillis / SERIES, ...sizesOf(forecaster, first!) };
}

function cpuMicros(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function sizesOf(forecaster: Forecaster, memory: SeriesMemory) {
  const stateBytes = memory.state.byteLength + memory.waiting.byteLength;
  const past = new BinaryWriter();
  forecaster.writePast(memory, past);
  return { stateBytes, bytes: stateBytes + past.bytes().length };
}

/** Mean of `seconds` for AutoETS in the reference scores, in microseconds; `null` when there are none. */
function etsMicros(): number | null {
  const file = join(process.env.FORESHARD_TRACES ?? '', 'baselines.csv');
  if (process.env.FORESHARD_TRACES === undefined || !existsSync(file)) return null;
  const [header = '', ...lines] = readFileSync(file, 'utf8').trim().split('\n');
  const columns = header.split(',');
  const cellOf = (line: string, column: string): string => line.split(',')[columns.indexOf(column)]!;
  const seconds = lines
    .filter((line) => cellOf(line, 'model') === 'AutoETS')
    .map((line) => Number(cellOf(line, 'seconds')));
  return seconds.length === 0 ? null : (1e6 * seconds.reduce((sum, each) => sum + each, 0)) / seconds.length;
}
