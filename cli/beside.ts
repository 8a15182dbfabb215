// Beside: commands in the folder of a running embedded process ask that process, since its log has one process at a time.
// The process leaves its address there.
//
//   B1. A process that was killed leaves its note behind: a note counts only while its process is there and answers.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kill, pid as ownPid } from 'node:process';
import type { Config } from '../config/config.ts';

const ANSWER_MS = 1_000;

const noteOf = ({ dataDir }: Pick<Config, 'dataDir'>): string => join(dataDir, 'process.json');

/** Leaves the address of this process; call what is returned when it stops. */
export function leaveAddress(config: Pick<Config, 'dataDir' | 'runtime' | 'httpHost'>, port: number): () => void {
  if (config.runtime !== 'embedded') return () => {};
  const note = noteOf(config);
  const host = isAnyAddress(config.httpHost) ? '127.0.0.1' : config.httpHost;
  const address = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  writeFileSync(note, `${JSON.stringify({ pid: ownPid, address })}\n`);
  return () => rmSync(note, { force: true });
}

/** The address of the embedded process that runs in the data folder, if there is one (B1). */
export async function addressBeside(config: Pick<Config, 'dataDir' | 'runtime'>): Promise<string | undefined> {
  const note = noteOf(config);
  if (config.runtime !== 'embedded' || !existsSync(note)) return undefined;
  try {
    const { pid, address } = JSON.parse(readFileSync(note, 'utf8')) as {
      readonly pid: number;
      readonly address: string;
    };
    kill(pid, 0);
    const { ok } = await fetch(`${address}/livez`, { signal: AbortSignal.timeout(ANSWER_MS) });
    return ok ? address : undefined;
  } catch {
    return undefined; // Torn, or nobody is there: the log itself tells whether somebody holds it.
  }
}

const isAnyAddress = (host: string): boolean => host === '0.0.0.0' || host === '::';
