// Python: what the Python examples are run with. test/setup/install.sh makes it; where it is not there the caller skips and
// says so, and under CI=true that is a failure.

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { hasCommand } from './processes.ts';
import { unavailable } from './real-kafka.ts';

const CACHE_FOLDER =
  process.env.FORESHARD_TEST_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'foreshard-test');
export const EXAMPLES = join(import.meta.dirname, '../../examples');

/** A Python that has the packages of examples/requirements.txt. */
export function pythonWithPackages(): string | undefined {
  const made = textOf(join(CACHE_FOLDER, 'python/requirements.txt'));
  if (made !== undefined && made === textOf(join(EXAMPLES, 'requirements.txt')))
    return join(CACHE_FOLDER, 'python/bin/python');
  return unavailable('no Python with examples/requirements.txt: run test/setup/install.sh');
}

/** Any Python, without packages. */
export async function plainPython(): Promise<string | undefined> {
  if (await hasCommand('python3')) return 'python3';
  return unavailable('no python3');
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
