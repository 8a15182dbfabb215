// The import rule of the project, executed: folders point one way, only edges touch the world, nothing goes in circles, and
// each invariant that a file cites is there.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/** What each folder may import of the others: a line names what lies below it. */
// biome-ignore format: a table reads as a table
const MAY_IMPORT: Readonly<Record<string, string>> = {
  schemas:      '',
  state:        'schemas',
  processors:   'schemas state',
  datastores:   'schemas state',
  provisioners: 'schemas state datastores',
  topology:     'schemas state processors',
  runtime:      'schemas state processors datastores topology',
  log:          'schemas state runtime',
  config:       'schemas processors',
  broker:       'schemas state datastores provisioners topology runtime log',
  api:          'schemas state processors topology runtime',
  evaluation:   'schemas state processors runtime',
  app:          'schemas state processors datastores provisioners topology runtime log config api',
  cli:          'schemas state processors datastores topology runtime log config broker api evaluation app',
  examples:     '', // The package by its name, as who installs it has it.
  // Nothing imports these two, but that a bench starts the same peers as the tests: `test/support`, never a test.
  bench:        'schemas state processors datastores provisioners topology runtime log config broker api evaluation app cli test',
  test:         'schemas state processors datastores provisioners topology runtime log config broker api evaluation app cli examples',
};

/** Libraries that compute and do nothing else: pure files may use them. */
const PURE_LIBRARIES = new Set(['arima', 'avsc', 'typebox', 'typebox/value', 'timeseries-analysis']);

/** What touches the world, as it would stand in a source line. */
const WORLD =
  /\bfrom 'node:|\bDate\.now\b|\bnew Date\(\)|Math\.random|process\.(env|argv|exit|std)|\bset(Timeout|Interval|Immediate)\(|\bconsole\.|\bfetch\(/;

/** What two edges speak with each other: free of I/O, though it lies in the folder of one. */
const CONTRACTS = new Set(['datastores/protocol/wire.ts']);

/** Which edge a file is part of: a datastore, a provisioner and a log are one; in a folder `edge/`, files with one stem. */
function edgeOf(file: string): string | undefined {
  if (CONTRACTS.has(file)) return undefined;
  const inFolder = /^(?!test\/|bench\/)(.*\/edge\/[^-/.]+)/.exec(file);
  return (inFolder ?? /^((?:datastores|provisioners)\/[^/]+|log\/(?:kafka|embedded))\//.exec(file))?.[1];
}

/** Files that may: edges, what wires them, and what runs all of it. */
const mayTouchTheWorld = (file: string): boolean =>
  edgeOf(file) !== undefined || /^(cli|app|bench|examples|test)\//.test(file);

/** What runs any topology. */
const RUNTIME = ['runner', 'task', 'outbox', 'local-state', 'patient-effects', 'disk-table'].map(
  (name) => `runtime/${name}.ts`,
);

interface Import {
  readonly file: string;
  readonly target: string;
  readonly typeOnly: boolean;
  /** Loaded when it is needed, not with the file. */
  readonly lazy: boolean;
}

const FILES = Object.keys(MAY_IMPORT).flatMap((folder) => sourcesUnder(join(ROOT, folder)));
const SOURCES = new Map(FILES.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]));
const IMPORTS_OF = new Map(FILES.map((file) => [file, importsOf(file)]));
const IMPORTS = [...IMPORTS_OF.values()].flat();
const LOCAL_IMPORTS = IMPORTS.filter(({ target }) => isLocal(target));

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesUnder(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [relative(ROOT, path)] : [];
  });
}

function importsOf(file: string): Import[] {
  const source = SOURCES.get(file)!;
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
    for (const { target, typeOnly, lazy } of IMPORTS_OF.get(each) ?? []) if (!typeOnly && !lazy) loaded.add(target);
  return loaded;
}

const topFolder = (file: string): string => file.split('/')[0]!;
function isLocal(target: string): boolean {
  return target.endsWith('.ts');
}
const inWords = (imports: readonly Import[]): string[] => imports.map(({ file, target }) => `${file} -> ${target}`);

describe('architecture', () => {
  test('every folder with sources has its line, and every line its folder', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !/^\.|^(node_modules|dist|coverage|data)$/.test(entry.name))
      .map(({ name }) => name)
      .filter((name) => sourcesUnder(join(ROOT, name)).length > 0);
    expect(folders.sort()).toEqual(Object.keys(MAY_IMPORT).sort());
    expect(LOCAL_IMPORTS.length).toBeGreaterThan(FILES.length);
  });

  for (const [folder, below] of Object.entries(MAY_IMPORT))
    test(`${folder}: imports ${below === '' ? 'no other folder' : 'only what lies below it'}`, () => {
      const allowed = new Set([folder, ...below.split(' ')]);
      const own = LOCAL_IMPORTS.filter(({ file }) => topFolder(file) === folder);
      expect(inWords(own.filter(({ target }) => !allowed.has(topFolder(target))))).toEqual([]);
    });

  test('examples import what the package exports, and Node’s own modules', () => {
    const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object };
    const faces = Object.keys(exports).map((face) => face.replace(/^\./, 'foreshard'));
    const own = IMPORTS.filter(({ file, target }) => topFolder(file) === 'examples' && !target.startsWith('node:'));
    expect(own.length).toBeGreaterThan(0);
    expect(inWords(own.filter(({ target }) => !faces.includes(target)))).toEqual([]);
  });

  test('nothing imports a test, nor a bench what only tests need', () => {
    const wrong = LOCAL_IMPORTS.filter(
      ({ file, target }) =>
        target.endsWith('.test.ts') || (topFolder(file) === 'bench' && /^test\/(?!support\/)/.test(target)),
    );
    expect(inWords(wrong)).toEqual([]);
  });

  test('no file imports itself in a circle, by types neither', () => {
    expect(circles()).toEqual([]);
  });

  test('an edge imports contracts, never another edge', () => {
    const wrong = LOCAL_IMPORTS.filter(({ file, target }) => {
      const edges = [edgeOf(file), edgeOf(target)];
      return !edges.includes(undefined) && edges[0] !== edges[1];
    });
    expect(inWords(wrong)).toEqual([]);
  });

  test('the runtime names no stage and no topic: the topology tells it what there is', () => {
    const named = [...SOURCES.get('topology/topics.ts')!.matchAll(/\btopic<.*>\(\)\('([^']+)'/g)].map(
      (match) => match[1]!,
    );
    const stages = [...SOURCES.get('topology/topology.ts')!.matchAll(/\bstage\('([^']+)'/g)].map((match) => match[1]!);
    expect([named.length, stages.length]).toEqual([20, 6]);
    const wrong = RUNTIME.flatMap((file) => {
      const words = [...withoutComments(SOURCES.get(file)!).matchAll(/'([^'\n]+)'/g)].map((match) => match[1]!);
      const values = IMPORTS_OF.get(file)!.filter(
        ({ target, typeOnly }) => !typeOnly && topFolder(target) === 'topology',
      );
      return [
        ...words.filter((word) => [...named, ...stages].includes(word)).map((word) => `${file}: '${word}'`),
        ...inWords(values),
      ];
    });
    expect(wrong).toEqual([]);
  });

  test('only edges touch the world', () => {
    const wrong = FILES.filter((file) => !mayTouchTheWorld(file)).flatMap((file) =>
      withoutComments(SOURCES.get(file)!)
        .split('\n')
        .flatMap((line) => (WORLD.test(line) ? [`${file}: ${line.trim()}`] : [])),
    );
    expect(wrong).toEqual([]);
  });

  for (const file of ['cli/cli.ts', 'cli/views.ts', 'cli/plans.ts'])
    test(`${file}: help, and a question to a running process, load no client, server or store`, () => {
      const loaded = loadedWith(file);
      expect([...loaded].length).toBeGreaterThan(5);
      expect(['fastify', 'kafkajs', 'level', 'pino', 'app/main.ts'].filter((heavy) => loaded.has(heavy))).toEqual([]);
    });

  test('a broker loads no client, and no store, before it connects', () => {
    const loaded = loadedWith('broker/index.ts');
    expect(loaded.has('broker/connect.ts')).toBe(true);
    expect(['kafkajs', 'ioredis', 'level', 'broker/kafka.ts'].filter((heavy) => loaded.has(heavy))).toEqual([]);
  });

  for (const file of ['cli/backtest.ts', 'cli/what-if.ts'])
    test(`${file}: loads what draws with the first picture`, () => {
      expect(loadedWith(file)).toContain('evaluation/edge/svg.ts');
      expect(['vega', 'vega-lite'].filter((heavy) => loadedWith(file).has(heavy))).toEqual([]);
    });

  test('what reads a log loads no HTTP server', () => {
    expect(loadedWith('app/main.ts')).not.toContain('fastify');
  });

  test('only edges import libraries that do I/O', () => {
    const wrong = IMPORTS.filter(
      ({ file, target, typeOnly }) =>
        !typeOnly && !isLocal(target) && !mayTouchTheWorld(file) && !PURE_LIBRARIES.has(target),
    );
    expect(inWords(wrong)).toEqual([]);
  });
});

describe('how the code reads', () => {
  test('what a class keeps to itself is #private; only constructors, which cannot be, are `private`', () => {
    expect(linesWith(FILES, /^\s+private (?!constructor\()/)).toEqual([]);
  });

  test('no module of the forecast keeps anything of a series: a function or an object of somebody’s does', () => {
    const forecast = FILES.filter((file) => file.startsWith('processors/forecast/'));
    expect(linesWith(forecast, /^(export )?(let |const \w+ = new |const \w+ = \[\])/)).toEqual([]);
  });
});

describe('invariants', () => {
  test('each that is cited with its file is in that file’s header', () => {
    const cited = FILES.flatMap(citationsIn);
    expect(cited.length).toBeGreaterThan(20);
    const missing = cited.filter(({ at, id }) => {
      const files = FILES.filter((file) => `/${file}`.endsWith(`/${at}`));
      return !files.some((file) => defines(file, id));
    });
    expect(missing.map(({ file, at, id }) => `${file} cites ${at} ${id}`)).toEqual([]);
  });

  test('one that is cited without a file is in the header of the file that cites it, or is cited there with its file', () => {
    const wrong = FILES.filter((file) => !file.startsWith('test/')).flatMap((file) => {
      const withFile = new Set(citationsIn(file).map(({ id }) => id));
      const bare = commentsOf(SOURCES.get(file)!).match(/(?<![\w.])(?!I\d|V8)[A-Z]\d{1,2}(?![\w.])/g) ?? [];
      const isKnown = (id: string): boolean => withFile.has(id) || defines(file, id);
      return [...new Set(bare)].filter((id) => !isKnown(id)).map((id) => `${file}: ${id}`);
    });
    expect(wrong).toEqual([]);
  });
});

function linesWith(files: readonly string[], pattern: RegExp): string[] {
  const found = (file: string): string[] =>
    SOURCES.get(file)!
      .split('\n')
      .filter((line) => pattern.test(line));
  return files.flatMap((file) => found(file).map((line) => `${file}: ${line.trim()}`));
}

/** The shortest way of each file back to itself; each circle once, with `type` where only types are imported. */
function circles(): string[] {
  const found = new Map<string, string>();
  for (const start of FILES) {
    const cameBy = new Map<string, Import>();
    const reached = [start];
    for (const file of reached) {
      // Grows while it is walked.
      for (const each of IMPORTS_OF.get(file) ?? []) {
        if (cameBy.has(each.target) || !IMPORTS_OF.has(each.target)) continue;
        cameBy.set(each.target, each);
        reached.push(each.target);
      }
    }
    const way: Import[] = [];
    for (let by = cameBy.get(start); by !== undefined; by = by.file === start ? undefined : cameBy.get(by.file))
      way.unshift(by);
    if (way.length === 0) continue;
    const key = way
      .map(({ file }) => file)
      .sort()
      .join();
    const steps = way.map(({ target, typeOnly }) => ` -> ${target}${typeOnly ? ' (type)' : ''}`);
    if (!found.has(key)) found.set(key, start + steps.join(''));
  }
  return [...found.values()];
}

interface Citation {
  readonly file: string;
  readonly at: string;
  readonly id: string;
}

/** `move.ts M3`, `graph.ts, G3`, `M3 and M4 of move.ts`, `D1 to D4 of shard-store.ts`, `(F1, utilisation-forecast.ts)`. */
function citationsIn(file: string): Citation[] {
  const text = commentsOf(SOURCES.get(file)!);
  const ids = '([A-Z]\\d{1,2}(?:(?:, | and | to )[A-Z]\\d{1,2})*)';
  const name = '((?:[\\w-]+/)*[\\w-]+\\.ts)';
  const after = [...text.matchAll(new RegExp(`${name},? ${ids}\\b(?! of )`, 'g'))];
  const before = [...text.matchAll(new RegExp(`(?<!\\.ts,? )\\b${ids}(?: of|,) (?:\\.\\./)*${name}`, 'g'))];
  return [
    ...after.flatMap((match) => eachOf(match[2]!).map((id) => ({ file, at: match[1]!, id }))),
    ...before.flatMap((match) => eachOf(match[1]!).map((id) => ({ file, at: match[2]!, id }))),
  ];
}

/** `M3`, `M3 and M4`, `M1, M2 and M7`, `M1 to M4`. */
function eachOf(ids: string): string[] {
  const range = /^([A-Z])(\d+) to \1(\d+)$/.exec(ids);
  if (range === null) return ids.match(/[A-Z]\d+/g)!;
  const [, letter, from, to] = range;
  return Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => `${letter}${Number(from) + i}`);
}

/** The comment that a file opens with. */
const headerOf = (file: string): string => /^(?:\/\/.*\n)*/.exec(SOURCES.get(file)!)![0];

/** Whether its header has a line that begins with the id. */
const defines = (file: string, id: string): boolean => new RegExp(`^// {3}${id}[. ]`, 'm').test(headerOf(file));

/** All comments, each on one line. */
function commentsOf(source: string): string {
  const found = source.match(/\/\*[\s\S]*?\*\/|(?:^|(?<=\s))\/\/.*(?:\n\s*\/\/.*)*/gm) ?? [];
  return found.map((comment) => comment.replace(/\n?\s*(?:\/\/|\/?\*+\/?)\s*/g, ' ')).join('\n');
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
