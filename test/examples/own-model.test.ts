// A model of one's own, scored by `foreshard backtest` beside ours, and speaking in the combination of the running system.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backtest } from '../../cli/backtest.ts';
import { Output } from '../../cli/output.ts';
import ownModel from '../../examples/own-model.ts';
import { DEFAULT_MODELS } from '../../processors/forecast/models/models.ts';
import { hours, traceText } from '../evaluation/backtest/synthetic.ts';
import { DAY_STEPS, daily, fed, quantilesOf } from '../processors/forecast/shapes.ts';
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

test('it takes part in the combination of the running system, at its weight', () => {
  const models = { ...DEFAULT_MODELS, models: [...DEFAULT_MODELS.models, ownModel] };
  const each = fed(daily, 4 * DAY_STEPS, models);
  for (const quantile of quantilesOf(each, [1, 60])) expect(Number.isFinite(quantile)).toBe(true);
});
