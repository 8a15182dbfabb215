// What a killed process leaves: every commit that was answered, each of them whole, in the log and in the local store.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { embeddedLog } from '../../../log/embedded/embedded-log.ts';
import type { TaskLog } from '../../../runtime/ports.ts';
import { levelFolder } from '../../../state/edge/level-store.ts';

/** Runs the writer until it has reported `count` commits, kills it, and returns the last number reported. */
async function writeAndKill(dir: string, count: number): Promise<number> {
  const writer = spawn(process.execPath, ['--import', 'tsx', 'test/support/crash-writer.ts', dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => writer.once('exit', (_, signal) => resolve(signal)));
  let last = 0;
  let seen = 0;
  for await (const line of createInterface({ input: writer.stdout })) {
    last = Number(line);
    if (++seen === count) writer.kill('SIGKILL');
  }
  expect(await ended).toBe('SIGKILL');
  return last;
}

test('after kill -9 every answered commit is there, whole, in the log and in the store', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'embedded-crash-'));
  try {
    for (const count of [1, 37, 260]) {
      const answered = await writeAndKill(dir, count);
      const log = await embeddedLog({ dir: `${dir}/log`, app: 'crash', partitions: 1, cleanEveryMs: 0 });
      const outputs: number[] = [];
      const follower = await log.follow('out', 'earliest', async (batch) => {
        for (const { value } of batch.records) outputs.push(Number(value));
      });
      await follower.caughtUp;
      await follower.close();
      expect(outputs).toEqual(Array.from({ length: outputs.length }, (_, i) => i + 1));
      expect(outputs.length).toBeGreaterThanOrEqual(answered);

      const rows = new Map<string, number>();
      const task = await new Promise<TaskLog>((resolve, reject) => {
        const handler = { records: async () => {}, lost: async () => {} };
        const gained = async (each: TaskLog) => {
          resolve(each);
          return {};
        };
        log.join({ name: 'work', gathers: false, address: '', topics: [] }, { ...handler, gained }).catch(reject);
      });
      const end = await task.restore(0, async (changes) => {
        for (const { key, value } of changes) if (!key.startsWith('\0')) rows.set(key, Number(value));
      });
      expect(rows.get('count')).toBe(outputs.length); // The changelog and the outputs went together.

      const store = await levelFolder(`${dir}/state`).open('work-0');
      const mark = (await store.mark())!;
      expect(mark.changelog).toBeLessThanOrEqual(end);
      const kept = Number(await store.get('count'));
      expect(mark.inputs).toEqual({ 'out/0': kept });
      expect(kept).toBeGreaterThanOrEqual(answered);
      await task.restore(mark.changelog, async (changes, next) => {
        await store.write(
          changes.filter(({ key }) => !key.startsWith('\0')),
          { changelog: next, inputs: mark.inputs },
        );
      });
      const restored = new Map<string, number>();
      for await (const [key, value] of store.entries('')) restored.set(key, Number(value));
      expect(restored).toEqual(rows);
      await store.close();
      await log.close();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}, 120_000);
