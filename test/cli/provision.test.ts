import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { Output } from '../../cli/output.ts';
import { type ProvisionCommand, policyProblem, provision } from '../../cli/provision.ts';
import { parseScores } from '../../evaluation/provision/scores.ts';

const ROWS = 96;
/** A day of 24 rows, from 5 to 35 and back. */
const waveAt = (row: number): number => 20 - 15 * Math.cos((2 * Math.PI * row) / 24);
const TRACE = ['t,requests', ...Array.from({ length: ROWS }, (_, row) => `${3600 * row},${waveAt(row)}`)].join('\n');
const SERIES = {
  dataset: 'made',
  file: 'made.csv',
  series: 'requests',
  n: ROWS,
  step_seconds: 3600,
  season: 24,
  season2: 168,
  fit_window: 72,
  test_start: 72,
  horizons: [1, 12, 24],
  shard_capacity: 10,
  lead_points: 2,
};

/** A folder with a protocol and its trace. */
function folderWith(series: Readonly<Record<string, unknown>> = {}, trace = TRACE): string {
  const folder = mkdtempSync(join(tmpdir(), 'foreshard-provision-'));
  writeFileSync(join(folder, 'made.csv'), `${trace}\n`);
  writeFileSync(join(folder, 'protocol.json'), JSON.stringify({ series: [{ ...SERIES, ...series }] }));
  return folder;
}

async function runIn(folder: string, given: Partial<ProvisionCommand> = {}, isJson = false): Promise<string> {
  let text = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const command = { protocol: join(folder, 'protocol.json'), policy: 'reactive', except: [], ...given };
  await provision(command, new Output(isJson, { out }));
  return text;
}

describe('foreshard provision', () => {
  test('runs every policy over every series, and writes what it prints', async () => {
    const folder = folderWith();
    const out = join(folder, 'out.csv');
    const { rows, means } = JSON.parse(await runIn(folder, { policy: 'all', out }, true));
    expect(rows.map(({ policy }: { policy: string }) => policy)).toEqual([
      'balanced',
      'cautious',
      'static_peak',
      'static_peak_hindsight',
      'static_mean',
      'reactive',
      'oracle',
      'pred_snaive90',
    ]);
    expect(means).toHaveLength(8);
    expect(parseScores(readFileSync(out, 'utf8'), out)).toEqual(rows);
    const ofOracle = rows.find(({ policy }: { policy: string }) => policy === 'oracle');
    expect(ofOracle).toMatchObject({ underPercent: 0, vsOracle: 1, hours: 24 });
  });

  test('prints its own scores beside those of a file, with their ratio', async () => {
    const folder = folderWith();
    const baselines = join(folder, 'known.csv');
    await runIn(folder, { out: baselines });
    const known = readFileSync(baselines, 'utf8');
    const [hours] = parseScores(known, baselines).map(({ shardHours }) => shardHours);
    writeFileSync(baselines, known.replace(`,${hours!.toFixed(1)},`, `,${2 * hours!},`));
    const text = await runIn(folder, { baselines });
    expect(text).toMatch(
      new RegExp(`made +requests +reactive +${hours!.toFixed(2)} +${(2 * hours!).toFixed(2)} +0.500 `),
    );
  });

  test('leaves data sets out of the means, not out of the rows', async () => {
    const { rows, means } = JSON.parse(await runIn(folderWith(), { except: ['ma'] }, true));
    expect(rows).toHaveLength(1);
    expect(means).toEqual([]);
  });

  for (const { name, folder, given = {}, code, says } of [
    {
      name: 'a protocol that is not there',
      folder: () => folderWith(),
      given: { protocol: '/nowhere/protocol.json' },
      code: 'PROTOCOL_INVALID',
      says: '/nowhere/protocol.json cannot be read: ENOENT',
    },
    {
      name: 'a protocol that is not JSON',
      folder: () => {
        const made = folderWith();
        writeFileSync(join(made, 'protocol.json'), '{');
        return made;
      },
      code: 'PROTOCOL_INVALID',
      says: 'protocol.json is not JSON',
    },
    {
      name: 'a protocol with a wrong field',
      folder: () => folderWith({ lead_points: 0 }),
      code: 'PROTOCOL_INVALID',
      says: 'series[0].lead_points must be a whole number above 0',
    },
    {
      name: 'a trace that is not there',
      folder: () => folderWith({ file: 'other.csv' }),
      code: 'TRACE_INVALID',
      says: 'other.csv cannot be read: ENOENT',
    },
    {
      name: 'a trace without the series',
      folder: () => folderWith({ series: 'other' }),
      code: 'PROTOCOL_INVALID',
      says: 'has no series other; its series are requests',
    },
    {
      name: 'a trace with other rows',
      folder: () => folderWith({ n: 100 }),
      code: 'PROTOCOL_INVALID',
      says: 'has 96 rows, not 100',
    },
    {
      name: 'a file of reference scores that is none',
      folder: () => folderWith(),
      given: { baselines: join(folderWith(), 'made.csv') },
      code: 'PROTOCOL_INVALID',
      says: 'made.csv, line 1: the header must be dataset,series,policy',
    },
    {
      name: 'a file that cannot be written',
      folder: () => folderWith(),
      given: { out: '/nowhere/out.csv' },
      code: 'OUTPUT_UNWRITABLE',
      says: '/nowhere/out.csv cannot be written: ENOENT',
    },
  ])
    test(`says what is wrong with ${name}`, async () => {
      const failure = runIn(folder(), given);
      await expect(failure).rejects.toMatchObject({ code, message: expect.stringContaining(says) });
    });

  test('leaves no file behind when it fails before its work', async () => {
    const folder = folderWith({ n: 100 });
    await expect(runIn(folder, { out: join(folder, 'out.csv') })).rejects.toThrow();
    expect(existsSync(join(folder, 'out.csv'))).toBe(false);
  });

  test('knows its policies by name', () => {
    expect(policyProblem('all')).toBeUndefined();
    expect(policyProblem('magic')).toContain('all, or one of balanced, cautious, static_peak');
  });
});
