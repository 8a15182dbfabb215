import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { Output } from '../../cli/output.ts';
import { type TrainCommand, trainWeights } from '../../cli/train.ts';
import { parseWeights } from '../../config/lstm-weights.ts';

const folder = mkdtempSync(join(tmpdir(), 'foreshard-train-'));
const fileWith = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const hourly = (rows: number): string =>
  `t,a,b\n${Array.from({ length: rows }, (_, t) => `${t * 3600},${50 + 30 * Math.sin(t / 4)},${t % 24}`).join('\n')}\n`;
const trace = fileWith('mine.csv', hourly(300));

/** What the command prints. */
async function printed(command: Partial<TrainCommand>, isJson = false): Promise<string> {
  let text = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  await trainWeights(
    { files: [trace], out: join(folder, 'out.json'), rounds: 1, seed: 7, ...command },
    new Output(isJson, { out }),
  );
  return text;
}

describe('foreshard train', () => {
  test('learns from a trace and writes weights that say so; the same again gives the same bytes', async () => {
    const [first, second] = [join(folder, 'first.json'), join(folder, 'second.json')];
    const text = await printed({ out: first });
    expect(text).toMatch(/before, [\d.]+ after 1 rounds/);
    expect(text).toContain(`The weights are in ${first}.`);
    const { card } = parseWeights(readFileSync(first, 'utf8'), first);
    expect(card).toMatchObject({ data: 'trace mine.csv', seed: 7 });
    expect(card.scores.after).toBeLessThan(card.scores.before);
    await printed({ out: second });
    expect(readFileSync(second, 'utf8')).toBe(readFileSync(first, 'utf8'));
  });

  test('refines the shipped weights; with --json it prints one value', async () => {
    const refined = join(folder, 'refined.json');
    const value = JSON.parse(await printed({ out: refined, from: 'shipped' }, true));
    const { card } = parseWeights(readFileSync(refined, 'utf8'), refined);
    expect(value).toEqual({ out: refined, ...card, rounds: 1 });
    expect(card.data).toMatch(/^refined from: \d+ made series \(seed \d+\); trace mine.csv$/);
  });

  for (const { name, command, says } of [
    {
      name: 'a trace that is not there',
      command: { files: ['/nowhere/x.csv'] },
      says: '/nowhere/x.csv cannot be read',
    },
    {
      name: 'a trace with a wrong line',
      command: { files: [fileWith('wrong.csv', 't,a\n0,1\n60,x\n')] },
      says: 'wrong.csv, line 3: a is not a number',
    },
    {
      name: 'a trace that is too short',
      command: { files: [fileWith('short.csv', hourly(50))] },
      says: 'has 50 rows; to learn from it takes 200',
    },
    {
      name: 'weights that are none',
      command: { from: fileWith('none.json', '{}') },
      says: 'cannot be used: format is missing',
    },
    {
      name: 'a place that cannot be written',
      command: { out: '/nowhere/w.json' },
      says: '/nowhere/w.json cannot be written',
    },
    { name: 'nothing to learn from', command: { files: [], made: 0 }, says: 'name a trace' },
  ])
    test(`${name} is refused before anything is learned`, async () => {
      await expect(printed(command)).rejects.toThrow(says);
    });
});
