import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { main } from '../../cli/cli.ts';
import { Output } from '../../cli/output.ts';
import { runWhatIf, type WhatIfCommand, whatIfPolicyProblem } from '../../cli/what-if.ts';
import { POLICIES } from '../../evaluation/what-if/run.ts';

const ROWS = 90;
/** Five-minute rows: seven and a half hours. */
const TRACE = traceOf(ROWS, (row) => 20 - 5 * Math.cos(row / 10));
const EXAMPLE = readFileSync(join(import.meta.dirname, '../../catalog/example.json'), 'utf8');

function traceOf(rows: number, value: (row: number) => number | string): string {
  const lines = Array.from({ length: rows }, (_, row) => `${300 * row},${value(row)}`);
  return `${['t,requests', ...lines].join('\n')}\n`;
}

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'foreshard-what-if-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

async function run(traces: string, given: Partial<WhatIfCommand> = {}, isJson = false): Promise<string> {
  let text = '';
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const command = { traces, catalog: '', policy: 'static_peak', seed: 7, hours: 1, except: [], ...given };
  await runWhatIf(command, new Output(isJson, { out }));
  return text;
}

describe('foreshard what-if', () => {
  test('runs every policy over a trace, and writes what it prints and a picture', async () => {
    const folder = folderWith({ 'made.csv': TRACE });
    const [out, svg] = [join(folder, 'out.csv'), join(folder, 'out.svg')];
    const said = JSON.parse(await run(join(folder, 'made.csv'), { policy: 'all', out, svg }, true));
    expect(said).toMatchObject({ seed: 7, hours: 1, learnHours: 6.5, series: 1, topics: 100 });
    expect(said.policies.map(({ policy }: { policy: string }) => policy)).toEqual(POLICIES);
    const [head, ...rows] = readFileSync(out, 'utf8').trimEnd().split('\n');
    expect(head!.split(',')).toEqual(Object.keys(said.policies[0]));
    expect(rows.map((row) => row.split(','))).toEqual(
      said.policies.map((each: object) => Object.values(each).map(String)),
    );
    expect(readFileSync(svg, 'utf8')).toContain('>foreshard: $');
  });

  test('of a folder every trace is run at once; what is none is left out and named', async () => {
    const folder = folderWith({
      'a.csv': TRACE,
      'b.csv': TRACE.replaceAll('requests', 'one').replace('t,one', 't,two'),
      'c.csv': TRACE,
      'scores.csv': 'policy,dollars\nx,1\n',
      'README.md': '',
    });
    const text = await run(folder, { except: ['c'] });
    expect(text).toContain('2 series as 200 topics');
    expect(text).toContain('Not traces, and left out: scores.csv.');
    expect(text).toMatch(/static_peak +\$\d/);
  });

  test('steps of an hour and of a minute play together, over what both have', async () => {
    const hourly = traceOf(10, () => 5).replaceAll(/^(\d+),/gm, (_, seconds) => `${12 * Number(seconds)},`);
    const folder = folderWith({ 'fine.csv': TRACE, 'hourly.csv': hourly });
    expect(JSON.parse(await run(folder, {}, true))).toMatchObject({ series: 2, learnHours: 6.5 });
  });

  for (const { name, files, traces = 'a.csv', given = {}, code, says } of [
    { name: 'a trace that is not there', files: {}, code: 'TRACE_INVALID', says: /a\.csv cannot be read: ENOENT/ },
    {
      name: 'a value that is no number',
      files: { 'a.csv': TRACE.replace(/^1500,.*$/m, '1500,x') },
      code: 'TRACE_INVALID',
      says: /a\.csv, line 7: requests is not a number: "x"/,
    },
    {
      name: 'a trace that is too short for the run',
      files: { 'a.csv': TRACE },
      given: { hours: 2 },
      code: 'TRACE_INVALID',
      says: /a\.csv, line 91: the trace ends after 7\.5 hours; 2 hours and 6 before them to settle need more/,
    },
    {
      name: 'a folder without a trace',
      files: { 'scores.csv': 'policy,dollars\n' },
      traces: '',
      code: 'TRACE_INVALID',
      says: /has no trace: no \.csv file in it begins with t,<series>/,
    },
    {
      name: 'a catalogue that is not there',
      files: { 'a.csv': TRACE },
      given: { catalog: '/nowhere/catalog.json' },
      code: 'CATALOG_INVALID',
      says: /\/nowhere\/catalog\.json/,
    },
    {
      name: 'a catalogue that is not JSON',
      files: { 'a.csv': TRACE, 'catalog.json': '{"types":\n  oh' },
      given: { catalog: 'catalog.json' },
      code: 'CATALOG_INVALID',
      says: /catalog\.json is not JSON: .*(line 2|oh)/s,
    },
    {
      name: 'a catalogue with a wrong field',
      files: { 'a.csv': TRACE, 'catalog.json': EXAMPLE.replace('"KEY_VALUE"', '"DISK"') },
      given: { catalog: 'catalog.json' },
      code: 'CATALOG_INVALID',
      says: /catalog\.json: .*types\[0\]\.kind of "level-small" must be KEY_VALUE or TRIE/,
    },
    {
      name: 'a folder that cannot be written to',
      files: { 'a.csv': TRACE },
      given: { svg: '/nowhere/out.svg' },
      code: 'OUTPUT_UNWRITABLE',
      says: /\/nowhere\/out\.svg cannot be written: ENOENT/,
    },
  ])
    test(`refuses ${name}`, async () => {
      const folder = folderWith(files);
      const own = given.catalog === 'catalog.json' ? { catalog: join(folder, 'catalog.json') } : {};
      await expect(run(join(folder, traces), { ...given, ...own })).rejects.toMatchObject({
        code,
        message: expect.stringMatching(says),
      });
    });

  test('a run that is refused leaves no file', async () => {
    const folder = folderWith({ 'a.csv': TRACE });
    const out = join(folder, 'out.csv');
    await expect(run(join(folder, 'a.csv'), { hours: 9, out })).rejects.toMatchObject({ code: 'TRACE_INVALID' });
    expect(existsSync(out)).toBe(false);
  });

  test('a policy that there is not is told on the command line', async () => {
    expect(whatIfPolicyProblem('best')).toMatch(/all, or one of foreshard, perfect, static_peak/);
    expect(await main(['what-if', 'a.csv', '--policy', 'best'])).toBe(2);
    expect(await main(['what-if'])).toBe(2);
    expect(await main(['what-if', '/nowhere/a.csv'])).toBe(1);
  });
});
