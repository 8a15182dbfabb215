// The import rule of the project, executed: folders point one way, and only edges touch the world.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/** What each folder may import of the others: each line names what lies below it. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  schemas: [],
  state: ['schemas'],
  processors: ['schemas', 'state'],
  datastores: ['schemas', 'state'],
  provisioners: ['schemas', 'state', 'datastores'],
  topology: ['schemas', 'state', 'processors'],
  runtime: ['schemas', 'state', 'processors', 'datastores', 'topology'],
  log: ['schemas', 'state', 'runtime'],
  config: ['schemas', 'processors'],
  broker: ['schemas', 'state', 'datastores', 'topology', 'runtime'],
  api: ['schemas', 'state', 'processors', 'topology', 'runtime'],
  evaluation: ['schemas', 'state', 'processors', 'runtime'],
  app: ['schemas', 'state', 'processors', 'datastores', 'provisioners', 'topology', 'runtime', 'log', 'config', 'api'],
  cli: [
    ...['schemas', 'state', 'processors', 'datastores', 'topology', 'runtime', 'log', 'config', 'broker', 'api'],
    ...['evaluation', 'app'],
  ],
};

/** Libraries that compute and do nothing else: pure files may use them. */
const PURE_LIBRARIES = new Set(['arima', 'avsc', 'typebox', 'timeseries-analysis']);

/** What touches the world, as it would stand in a source line. */
const WORLD =
  /\bfrom 'node:|\bDate\.now\b|\bnew Date\(\)|Math\.random|process\.(env|argv|exit|std)|\bset(Timeout|Interval|Immediate)\(|\bconsole\.|\bfetch\(/;

/** Files that may: edges, the folder of a datastore, a provisioner or a log, and what wires them. */
const isEdge = (file: string): boolean =>
  /\/edge\/|^(datastores|provisioners)\/[^/]+\/|^log\/(kafka|embedded)\/|^(cli|app)\//.test(file);

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
  /** Loaded when it is needed, not with the file. */
  readonly lazy: boolean;
}

const FILES = Object.keys(MAY_IMPORT).flatMap((folder) => sourcesUnder(join(ROOT, folder)));
const IMPORTS = FILES.flatMap(importsOf);

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesUnder(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [relative(ROOT, path)] : [];
  });
}

function importsOf(file: string): Import[] {
  const source = readFileSync(join(ROOT, file), 'utf8');
  const target = (name: string): string => (name.startsWith('.') ? normalize(join(dirname(file), name)) : name);
  const first = [...source.matchAll(/^(import|export)( type)?\b[^;]*?\bfrom '([^']+)'/gms)];
  const later = [...source.matchAll(/\bimport\('([^'$]+)'\)/g)];
  return [
    ...first.map((match) => ({ file, target: target(match[3]!), typeOnly: match[2] !== undefined, lazy: false })),
    ...later.map((match) => ({ file, target: target(match[1]!), typeOnly: false, lazy: true })),
  ];
}

/** Everything that is loaded with a file. */
function loadedWith(file: string): Set<string> {
  const loaded = new Set([file]);
  for (const each of loaded) // A set that grows is walked to its end.
    for (const { target, typeOnly, lazy } of IMPORTS.filter((found) => found.file === each))
      if (!typeOnly && !lazy) loaded.add(target);
  return loaded;
}

const topFolder = (file: string): string => file.split('/')[0]!;
const isLocal = (target: string): boolean => target.endsWith('.ts');

describe('architecture', () => {
  test('there are sources to look at', () => {
    expect(FILES.length).toBeGreaterThan(20);
    expect(IMPORTS.length).toBeGreaterThan(50);
  });

  test('folders import only what lies below them', () => {
    const wrong = IMPORTS.filter(
      ({ file, target }) =>
        isLocal(target) &&
        topFolder(file) !== topFolder(target) &&
        !MAY_IMPORT[topFolder(file)]!.includes(topFolder(target)),
    );
    expect(wrong).toEqual([]);
  });

  test('nothing imports a test', () => {
    expect(IMPORTS.filter(({ target }) => isLocal(target) && topFolder(target) === 'test')).toEqual([]);
  });

  test('an edge imports contracts, never another edge', () => {
    const wrong = IMPORTS.filter(({ file, target, typeOnly }) => {
      if (typeOnly || !isLocal(target) || !file.includes('/edge/') || !target.includes('/edge/')) return false;
      return !sameEdge(file, target);
    });
    expect(wrong).toEqual([]);
  });

  test('only edges touch the world', () => {
    const wrong = FILES.filter((file) => !isEdge(file)).flatMap((file) => {
      const code = withoutComments(readFileSync(join(ROOT, file), 'utf8'));
      return code.split('\n').flatMap((line) => (WORLD.test(line) ? [`${file}: ${line.trim()}`] : []));
    });
    expect(wrong).toEqual([]);
  });

  for (const file of ['cli/cli.ts', 'cli/views.ts', 'cli/plans.ts'])
    test(`${file}: help, and a question to a running process, load no client, server or store`, () => {
      const loaded = loadedWith(file);
      expect([...loaded].length).toBeGreaterThan(5);
      expect(['fastify', 'kafkajs', 'level', 'pino', 'app/main.ts'].filter((heavy) => loaded.has(heavy))).toEqual([]);
    });

  test('what reads a log loads no HTTP server', () => {
    expect(loadedWith('app/main.ts')).not.toContain('fastify');
  });

  test('only edges import libraries that do I/O', () => {
    const wrong = IMPORTS.filter(
      ({ file, target, typeOnly }) => !typeOnly && !isLocal(target) && !isEdge(file) && !PURE_LIBRARIES.has(target),
    );
    expect(wrong).toEqual([]);
  });
});

/** An edge may be several files with one stem (`kafka-log.ts`, `kafka/reader.ts`, `kafka-reader.ts`). */
function sameEdge(file: string, target: string): boolean {
  const stem = (path: string): string => path.slice(path.indexOf('/edge/') + 6).split(/[-/.]/)[0]!;
  return stem(file) === stem(target);
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
