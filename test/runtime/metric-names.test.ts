import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { METRICS } from '../../runtime/edge/telemetry.ts';

/** `meter.add('name', ...)`, also where the meter is a field, a note's `metric: 'name'`, and the kinds that each is for. */
const CALL = /(?:[mM]eter\??\.(add|set|observe|replace)\(\s*|\bmetric: )'(foreshard_[^']+)'/g;
const KINDS = { add: ['counter', 'gauge'], set: ['gauge'], replace: ['gauge'], observe: ['histogram'] } as const;

test('every metric that the code reports is declared, and every declared one is reported', () => {
  const files = [
    'api',
    'app',
    'broker',
    'cli',
    'config',
    'datastores',
    'log',
    'provisioners',
    'processors',
    'runtime',
    'state',
    'topology',
  ].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`),
  );
  expect(files.length).toBeGreaterThan(50);
  const reported = new Set<string>();
  for (const file of files)
    for (const [, call = 'add', name] of readFileSync(file, 'utf8').matchAll(CALL)) {
      reported.add(name!);
      expect(KINDS[call as keyof typeof KINDS], `${name} in ${file}`).toContain(METRICS[name!]?.kind);
    }
  expect([...reported].sort()).toEqual(Object.keys(METRICS).sort());
});
