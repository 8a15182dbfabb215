// The documents say what the code says, and point to what is there.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PARTS } from '../cli/readme.ts';
import { environmentName, SETTINGS } from '../config/config.ts';
import { METRICS } from '../runtime/edge/telemetry.ts';
import { ERROR_CODES } from '../schemas/errors.ts';

const ROOT = join(import.meta.dirname, '..');

const DOCUMENTS = [
  ...readdirSync(ROOT),
  ...under('docs'),
  ...under('examples'),
  ...under('weights'),
  ...under('clients'),
]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: readFileSync(join(ROOT, name), 'utf8') }));

const SOURCES = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|dist|coverage|data)$/.test(entry.name))
  .flatMap(({ name }) => under(name))
  .filter((name) => name.endsWith('.ts'));

const textOf = (name: string): string => DOCUMENTS.find((each) => each.name === name)?.text ?? '';

describe('documents', () => {
  test('there are some', () => {
    expect(DOCUMENTS.map(({ name }) => name)).toEqual(expect.arrayContaining(['README.md', 'docs/errors.md']));
  });

  test('each generated part stands in one of them', () => {
    const generated = DOCUMENTS.flatMap(({ text }) =>
      [...text.matchAll(/^<!-- generated: (.+) -->$/gm)].map(([, name]) => name),
    );
    expect(generated.sort()).toEqual(Object.keys(PARTS).sort());
  });

  test('README.md is read in a few minutes', () => {
    const sizeBytes = Buffer.byteLength(textOf('README.md'));
    expect(sizeBytes).toBeGreaterThan(6_000);
    expect(sizeBytes).toBeLessThan(8_192);
  });

  for (const document of ['docs/errors.md', 'docs/operating.md'])
    test(`every error code is explained in ${document}`, () => {
      const codes = Object.values(ERROR_CODES).flatMap((group) => Object.keys(group));
      expect(codes.length).toBeGreaterThan(30);
      expect(codes.filter((code) => !textOf(document).includes(`\`${code}\``))).toEqual([]);
    });

  test('the runbook says of every metric what to make of it', () => {
    const runbook = textOf('docs/operating.md').split('<!-- generated: metrics -->')[0]!;
    const told = new Set([...runbook.matchAll(/`(foreshard_\w+)/g)].map(([, name]) => name));
    expect(Object.keys(METRICS).filter((name) => !told.has(name))).toEqual([]);
  });

  test('every command is named', () => {
    const help = readFileSync(join(ROOT, 'cli/cli.ts'), 'utf8');
    const names = [...help.matchAll(/\bcommand\(\s*'([\w-]+)'/g)].map(([, name]) => name!);
    expect(names).toContain('run');
    expect(names.filter((name) => !new RegExp(`[\`\\s]${name}\\b`).test(textOf('docs/commands.md')))).toEqual([]);
  });

  test('every folder of sources is in the table of folders', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|dist|coverage|data|docs)$/.test(entry.name))
      .map(({ name }) => name);
    const table = textOf('docs/architecture.md').split('## Where things are')[1]!;
    expect(folders.filter((name) => !table.includes(`\`${name}/\``))).toEqual([]);
  });

  test('every invariant that is cited is defined, and the tests that are said to prove it are there', () => {
    const architecture = textOf('docs/architecture.md');
    const defined = [...architecture.matchAll(/^\*\*I(\d+)\. /gm)].map(([, number]) => Number(number));
    expect(defined).toEqual(Array.from({ length: 15 }, (_, at) => at + 1));
    const cited = SOURCES.flatMap((file) =>
      [...readFileSync(join(ROOT, file), 'utf8').matchAll(/\bI(\d{1,2})\b/g)].map(([, number]) => Number(number)),
    );
    expect(cited.length).toBeGreaterThan(30);
    expect(cited.filter((number) => !defined.includes(number))).toEqual([]);
    const named = [...architecture.matchAll(/`([\w/-]+\.ts)`/g)].map(([, file]) => file!);
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((file) => !SOURCES.some((source) => source === file || source.endsWith(`/${file}`)))).toEqual(
      [],
    );
  });

  test('every file that a comment names is there', () => {
    expect(SOURCES.flatMap(missingFiles)).toEqual([]);
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

/** Files that comments of a source name by a path or a name, and that there are not. */
function missingFiles(file: string): string[] {
  const comments = [...readFileSync(join(ROOT, file), 'utf8').matchAll(/(?:^\s*(?:\/\/|\/?\*)|\s\/\/ ).*$/gm)];
  const named = comments.flatMap(([comment]) =>
    [...comment.matchAll(/[\w./-]*[\w-]\.(?:ts|md)\b/g)].map(([name]) => name),
  );
  const known = [...SOURCES, ...DOCUMENTS.map(({ name }) => name)];
  return named
    .map((name) => (name.startsWith('.') ? join(file, '..', name) : name))
    .filter((name) => !known.some((each) => each === name || each.endsWith(`/${name}`)))
    .map((name) => `${file}: ${name}`);
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
