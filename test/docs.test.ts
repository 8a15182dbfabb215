// The documents say what the code says, and point to what is there.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PARTS } from '../cli/readme.ts';
import { environmentName, SETTINGS } from '../config/config.ts';
import { ERROR_CODES } from '../schemas/errors.ts';

const ROOT = join(import.meta.dirname, '..');

const DOCUMENTS = [...readdirSync(ROOT), ...under('docs'), ...under('examples'), ...under('weights')]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: readFileSync(join(ROOT, name), 'utf8') }));

const textOf = (name: string): string => DOCUMENTS.find((each) => each.name === name)?.text ?? '';

describe('documents', () => {
  test('there are some', () => {
    expect(DOCUMENTS.map(({ name }) => name)).toEqual(expect.arrayContaining(['README.md', 'docs/errors.md']));
  });

  test('each made part stands in one of them', () => {
    const made = DOCUMENTS.flatMap(({ text }) => [...text.matchAll(/^<!-- made: (.+) -->$/gm)].map(([, name]) => name));
    expect(made.sort()).toEqual(Object.keys(PARTS).sort());
  });

  test('every error code is explained', () => {
    const codes = Object.values(ERROR_CODES).flatMap((group) => Object.keys(group));
    expect(codes.length).toBeGreaterThan(30);
    expect(codes.filter((code) => !textOf('docs/errors.md').includes(`\`${code}\``))).toEqual([]);
  });

  test('every setting is explained', () => {
    const names = Object.keys(SETTINGS).map(environmentName);
    expect(names.filter((name) => !textOf('docs/configuration.md').includes(`\`${name}\``))).toEqual([]);
  });

  test('every bench is named', () => {
    const source = readFileSync(join(ROOT, 'bench/run.ts'), 'utf8').split('BENCHES')[1]!.split('};')[0]!;
    const names = [...source.matchAll(/^ {2}'?([\w-]+)'?: async/gm)].map((match) => match[1]!);
    expect(names).toContain('ingest');
    expect(names.filter((name) => !DOCUMENTS.some(({ text }) => text.includes(`\`${name}\``)))).toEqual([]);
  });

  for (const { name, text } of DOCUMENTS) {
    test(`${name}: each link leads to a file and a heading that are there`, () => {
      expect(linksOf(text).filter((link) => !leads(link, name))).toEqual([]);
    });

    test(`${name}: holds nothing of the machine that it was written on`, () => {
      expect(text).not.toMatch(/\/work\/|\/root\/|\/tmp\//);
    });
  }
});

function under(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`);
}

/** Targets of links within the repository. */
function linksOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^https?:/.test(target));
}

function leads(link: string, from: string): boolean {
  const [path = '', heading] = link.split('#');
  const target = path === '' ? from : join(from, '..', path);
  let text: string;
  try {
    text = readFileSync(join(ROOT, target), 'utf8');
  } catch {
    return path.endsWith('/') && readdirSync(join(ROOT, target)).length > 0 && heading === undefined;
  }
  return heading === undefined || headingsOf(text).includes(heading);
}

/** As GitHub makes anchors of headings. */
function headingsOf(text: string): string[] {
  return [...withoutCode(text).matchAll(/^#{1,6} (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

const withoutCode = (text: string): string => text.replace(/^```[\s\S]*?^```$/gm, '');
