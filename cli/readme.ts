// Writes the parts of README.md that are made from values: the drawing of the topology and the table of settings. Run by
// `npm run generate`; with `--check` it fails when README.md differs.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { settingsOf } from '../app/main.ts';
import { configOf } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { drawing } from '../topology/drawing.ts';
import { topologyOf } from '../topology/topology.ts';

const README = join(dirname(fileURLToPath(import.meta.url)), '../README.md');

/** The text of README.md with its made parts renewed. Throws when a marker is missing. */
export function renew(readme: string): string {
  return withPart(withPart(readme, 'topology', topologyPart()), 'settings', settingsPart());
}

function topologyPart(): string {
  const topology = topologyOf(settingsOf(configOf([]).config, readCatalog('')));
  return `\`\`\`mermaid\n${drawing(topology)}\n\`\`\``;
}

function settingsPart(): string {
  const rows = configOf([])
    .explain()
    .map(
      ({ environment, value, unit, range, about }) =>
        `| \`${environment}\` | ${cell([value, unit].join(' ').trim())} | ${cell(range)} | ${cell(about)} |`,
    );
  return ['| setting | default | range | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

const cell = (text: string): string => text.replaceAll('|', '\\|');

function withPart(readme: string, name: string, part: string): string {
  const begin = `<!-- made: ${name} -->`;
  const end = `<!-- end: ${name} -->`;
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end);
  if (from < 0 || to < from) throw new Error(`README.md has no part between ${begin} and ${end}`);
  return `${readme.slice(0, from + begin.length)}\n${part}\n${readme.slice(to)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const readme = readFileSync(README, 'utf8');
  if (!process.argv.includes('--check')) writeFileSync(README, renew(readme));
  else if (renew(readme) !== readme) {
    console.error('README.md differs from what the code says: run `npm run generate` and commit the result');
    process.exitCode = 1;
  }
}
