// Aedes's own suites pass whole against what we give to Aedes.

import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import type { Where } from '../../support/embedded-fleet.ts';

const require = createRequire(import.meta.url);

/** How many tests of a package's suite passed, and what it printed when some did not. */
async function ran(suite: string, where: Where): Promise<{ passed: number; output: string }> {
  const child = spawn(
    process.execPath,
    ['--import', require.resolve('tsx'), '--test', '--test-reporter=tap', join(import.meta.dirname, 'aedes-suites.ts')],
    { env: { ...process.env, AEDES_SUITE: suite, AEDES_FLEET: where }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const output = await text(child.stdout);
  const counted = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, 'm').exec(output)?.[1]);
  const passed = counted('pass');
  return { passed, output: passed > 0 && counted('fail') + counted('skipped') + counted('todo') === 0 ? '' : output };
}

for (const where of ['embedded', 'over a shard server'] as const)
  describe(where, () => {
    test('the suite of aedes-persistence passes whole', async () => {
      expect(await ran('persistence', where)).toEqual({ passed: 50, output: '' });
    });

    test('the suite of mqemitter passes whole', async () => {
      expect(await ran('emitter', where)).toEqual({ passed: 24, output: '' });
    });
  });
