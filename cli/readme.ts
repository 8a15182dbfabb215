// Writes the parts of README.md and docs/*.md that are generated from values: the drawing of the topology, the settings,
// the error codes, the topics, the routes, the metrics and the list of decisions. Run by `npm run generate`; with
// `--check` it fails when a document differs.
//
//   A part stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->`, in any document.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROUTES } from '../api/api.ts';
import { settingsOf } from '../app/main.ts';
import { configOf } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { METRICS } from '../runtime/edge/telemetry.ts';
import { ERROR_CODES } from '../schemas/errors.ts';
import { drawing } from '../topology/drawing.ts';
import { ALL_TOPICS } from '../topology/topics.ts';
import { topologyOf } from '../topology/topology.ts';

const DAY_MS = 86_400_000;
const DECISIONS = 'docs/decisions';
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/** All generated parts, by name. */
export const PARTS: Readonly<Record<string, () => string>> = {
  topology: () => `\`\`\`mermaid\n${drawing(topologyOf(settingsOf(configOf([]).config, readCatalog(''))))}\n\`\`\``,

  settings: () =>
    table(
      ['setting', 'default', 'unit', 'bounds', 'meaning'],
      configOf([])
        .explain()
        .map(({ environment, value, unit, range, about }) => [`\`${environment}\``, value, unit, range, about]),
    ),

  ...Object.fromEntries(
    Object.entries(ERROR_CODES).map(([group, codes]) => [
      `${group} codes`,
      () =>
        table(
          ['code', 'what happened', 'what to do'],
          Object.entries(codes).map(([code, { happened, action }]) => [`\`${code}\``, happened, action]),
        ),
    ]),
  ),

  routes: () =>
    table(
      ['route', 'token', 'what it answers'],
      ROUTES.map(({ method, path, role, about }) => [
        `\`${method} ${path}\``,
        role === 'anyone' ? 'none' : role,
        about,
      ]),
    ),

  topics: () =>
    table(
      ['topic', 'value', 'partitions', 'clean-up', 'kept for'],
      ALL_TOPICS.map(({ name, record, partitions, cleanup, retentionMs }) => [
        `\`${name}\``,
        record ?? 'original bytes',
        partitions === 'one' ? '1' : '`FORESHARD_PARTITIONS`',
        cleanup,
        cleanup === 'compact' ? 'the last of each key' : days(retentionMs / DAY_MS),
      ]),
    ),

  decisions: () =>
    table(
      ['', 'decision', 'date'],
      readdirSync(join(ROOT, DECISIONS))
        .filter((name) => /^\d{4}-.*\.md$/.test(name))
        .sort()
        .map((name) => {
          const [, number, title, date] = /^# (\d+)\. (.+)\n\n([\d-]+)\n/.exec(
            readFileSync(join(ROOT, DECISIONS, name), 'utf8'),
          )!;
          return [number!, `[${title}](${name})`, date!];
        }),
    ),

  metrics: () =>
    table(
      ['metric', 'kind', 'labels', 'what it tells'],
      Object.entries(METRICS).map(([name, { kind, labels = [], help }]) => [
        `\`${name}\``,
        kind,
        labels.join(', '),
        help,
      ]),
    ),
};

/** The documents that may contain generated parts. */
export function documents(): string[] {
  const inDocs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', ...inDocs.map((name) => `docs/${name}`), `${DECISIONS}/README.md`];
}

/** The text of a document with its generated parts renewed. Throws when a marker has no end, or an unknown name. */
export function renew(text: string, document: string): string {
  let renewed = text;
  for (const [begin, name] of text.matchAll(/^<!-- generated: (.+) -->$/gm)) {
    const end = `<!-- end: ${name} -->`;
    const part = PARTS[name!];
    const from = renewed.indexOf(begin);
    const to = renewed.indexOf(end, from);
    if (part === undefined || to < from) throw new Error(`${document} has no part between ${begin} and ${end}`);
    renewed = `${renewed.slice(0, from + begin.length)}\n${part()}\n${renewed.slice(to)}`;
  }
  return renewed;
}

const days = (count: number): string => (count === 1 ? 'a day' : `${count} days`);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((each) => each.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const document of documents()) {
    const path = join(ROOT, document);
    const text = readFileSync(path, 'utf8');
    const renewed = renew(text, document);
    if (renewed === text) continue;
    if (!process.argv.includes('--check')) writeFileSync(path, renewed);
    else {
      console.error(`${document} differs from what the code says: run \`npm run generate\` and commit the result`);
      process.exitCode = 1;
    }
  }
}
