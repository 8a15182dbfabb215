import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

describe('README.md', () => {
  test('says of every error code what happened and what to do', () => {
    const union = readFileSync(join(ROOT, 'schemas/errors.ts'), 'utf8')
      .split('export type ErrorCode =')[1]!
      .split(';')[0]!;
    const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map((match) => match[1]!);
    expect(codes.length).toBeGreaterThan(30);
    expect(codes.filter((code) => !readme.includes(`\`${code}\``))).toEqual([]);
  });

  test('names every bench there is', () => {
    const source = readFileSync(join(ROOT, 'bench/run.ts'), 'utf8').split('BENCHES')[1]!.split('};')[0]!;
    const names = [...source.matchAll(/^ {2}'?([\w-]+)'?: async/gm)].map((match) => match[1]!);
    expect(names).toContain('ingest');
    expect(names.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
  });

  test('holds nothing of the machine that it was written on', () => {
    expect(readme).not.toMatch(/\/work\/|\/root\/|\/tmp\//);
  });
});
