// Go: what the Go client and its examples are built and tested with. test/setup/install.sh makes sure that there is one;
// where there is none that is new enough the caller skips and says so, and under CI=true that is a failure.
//
//   G1. Downloads and compiled packages are kept outside the clone: in FORESHARD_CACHE where it is set, else where Go
//       itself keeps them.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE_FOLDER } from './kafka-jars.ts';
import { unavailable } from './real-kafka.ts';

const ROOT = join(import.meta.dirname, '../..');
export const GO_CLIENT = join(ROOT, 'clients/go');
export const EXAMPLES = join(ROOT, 'examples');

export interface Go {
  /** Runs it in the folder; its output. Throws with what it said when it fails. */
  run(folder: string, ...args: readonly string[]): string;
  /** The files in the folder that gofmt would change. */
  unformatted(folder: string): string;
}

/** The Go of this machine, or the one that install.sh has put into the cache. */
export function goToolchain(): Go | undefined {
  for (const command of [join(CACHE_FOLDER, 'go/bin/go'), 'go', '/usr/local/go/bin/go'])
    if (isNewEnough(command))
      return {
        run: (folder, ...args) => ran(command, folder, args),
        unformatted: (folder) =>
          ran(join(ran(command, folder, ['env', 'GOROOT']).trim(), 'bin/gofmt'), folder, ['-l', '.']),
      };
  return unavailable(`no Go ${wanted()} or later: run test/setup/install.sh`);
}

/** What the client's go.mod asks for. */
function wanted(): string {
  return /^go (\S+)/m.exec(readFileSync(join(GO_CLIENT, 'go.mod'), 'utf8'))![1]!;
}

function isNewEnough(command: string): boolean {
  if (command.startsWith('/') && !existsSync(command)) return false;
  const { stdout } = spawnSync(command, ['env', 'GOVERSION'], { cwd: GO_CLIENT, encoding: 'utf8' });
  const version = /^go(\d+)\.(\d+)/.exec(stdout ?? '');
  if (version === null) return false;
  const [major, minor] = wanted().split('.').map(Number) as [number, number];
  return Number(version[1]) > major || (Number(version[1]) === major && Number(version[2]) >= minor);
}

function ran(command: string, cwd: string, args: readonly string[]): string {
  const isKept = process.env.FORESHARD_CACHE !== undefined;
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: {
      ...process.env,
      GOFLAGS: '-buildvcs=false', // A clone may belong to another user, whose git refuses to tell.
      ...(isKept ? { GOMODCACHE: join(CACHE_FOLDER, 'go-modules'), GOCACHE: join(CACHE_FOLDER, 'go-build') } : {}), // G1
    },
  });
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${error ?? ''}${stdout}${stderr}`);
  return stdout;
}
