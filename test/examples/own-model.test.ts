// A model of one's own, scored by `foreshard backtest` beside ours, and speaking in the combination of the running system.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { backtest } from '../../cli/backtest.ts';
import { Output } from '../../cli/output.ts';
import { Simulation } from '../../cli/simulation.ts';
import { configOf } from '../../config/config.ts';
import ownModel from '../../examples/own-model.ts';
import type { Model } from '../../processors/forecast/model.ts';
import { level } from '../../processors/forecast/models/level.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Forecast } from '../../schemas/records.ts';
import { forecasts } from '../../topology/topics.ts';
import { hours, traceText } from '../evaluation/backtest/synthetic.ts';
import { DAY_STEPS, daily, fed, quantile } from '../processors/forecast/shapes.ts';
import { T0 } from '../processors/plan/stage-by-hand.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const FILE = fileURLToPath(new URL('../../examples/own-model.ts', import.meta.url));

let folder: TempFolder;
beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

async function backtested(model: string, workers: number): Promise<string> {
  const trace = join(folder.path, 'own.csv');
  writeFileSync(trace, traceText({ rate: hours(24 * 12) }, 3_600));
  let said = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      said += String(chunk);
      done();
    },
  });
  await backtest({ trace, model, set: 'sub', workers }, new Output(true, { out }));
  return said;
}

for (const { where, workers } of [
  { where: 'here', workers: 0 },
  { where: 'in a thread', workers: 1 },
])
  test(`a model from a file is scored beside the default combination and the references, ${where}`, async () => {
    const { rows } = JSON.parse(await backtested(FILE, workers)) as { rows: { model: string; MASE: number }[] };
    const scored = new Map(rows.map(({ model, MASE }) => [model, MASE])); // Of the longest horizon.
    expect([...scored.keys()]).toEqual(['day-median', 'Foreshard', 'Naive', 'SeasonalNaive', 'SeasonalNaiveWeek']);
    expect(scored.get('day-median')).toBeLessThan(scored.get('Naive')!); // The trace has a shape of day.
  });

test('a file that has no model is refused with what it lacks', async () => {
  const file = join(folder.path, 'nothing.js');
  writeFileSync(file, 'export default { name: "nothing", ready: () => true };');
  await expect(backtested(file, 0)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('stateSize'),
  });
});

test('it foresees the time of day that it has seen on the days before', () => {
  const each = fed(daily, 3 * DAY_STEPS + 300, { models: [level, ownModel], ramp: '' });
  for (const ahead of [60, 700]) {
    const rate = daily(3 * DAY_STEPS + 299 + ahead);
    expect(Math.abs(quantile(each, ahead, 0.5) - rate), `${ahead} min ahead`).toBeLessThan(20); // The wave is of 80.
  }
});

const started = (models: readonly Model[]): Promise<Simulation> =>
  Simulation.start({
    config: configOf([{ source: 'test', values: { dataDir: folder.path, partitions: 1, workerThreads: 0 } }]).config,
    logger: silentLogger,
    startAt: eventTime(T0),
    serveHttp: false,
    models,
  });

test('a process that is started with a model has it speak in its forecasts', async () => {
  const forecast: Model['forecast'] = (history, _state, _parameters, _ahead, into) =>
    void into.fill(history.near(history.step));
  const simulation = await started([{ ...ownModel, name: 'own-last', ready: () => true, forecast }]);
  onTestFinished(() => simulation.stop());
  const weights = new Set<string>();
  await simulation.observe<Forecast>(forecasts, ({ value }) => {
    for (const name of Object.keys(value?.weights ?? {})) weights.add(name);
  });
  for (let minute = 1; minute <= 8; minute++) {
    const windowStart = eventTime(T0 + (minute - 1) * 60_000);
    const traffic = { kind: 'TopicTraffic', brokerId: 'b', topic: 'a/b', publishes: 6_000, bytes: 0 } as const;
    await simulation.step([simulation.metric('a/b', { ...traffic, windowStart, windowMs: 60_000 })], 60_000);
  }
  expect([...weights]).toContain('own-last');
});

for (const { name, model, reason } of [
  { name: 'with a fit', model: { ...ownModel, fitEvery: () => 60 }, reason: /needs a fit/ },
  {
    name: 'with the name of one of ours',
    model: { ...ownModel, name: 'level' },
    reason: /two models have the name level/,
  },
])
  test(`a model ${name} is refused at the start`, async () => {
    await expect(started([model])).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(reason),
    });
  });
