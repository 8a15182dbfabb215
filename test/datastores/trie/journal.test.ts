import { appendFile, copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ShardStore } from '../../../datastores/shard-store.ts';
import { openTrieStore } from '../../../datastores/trie/trie-store.ts';
import type { AppError } from '../../../schemas/errors.ts';
import { epoch, eventTime } from '../../../schemas/ids.ts';
import { groupSlice } from '../../../state/keys.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';
import { erased, owned, PARTITIONS, row } from '../shard-store-suite.ts';

let temp: TempFolder;
let folders = 0;
const folderOfOwn = async (): Promise<string> => {
  const path = join(temp.path, String(folders++));
  await mkdir(path);
  return path;
};
beforeAll(async () => {
  temp = await tempFolder();
});
afterAll(() => temp.remove());

const open = (folder: string, snapshotBytes = 1_000_000): Promise<ShardStore> =>
  openTrieStore(folder, { partitions: PARTITIONS, snapshotBytes });

async function stateOf(store: ShardStore): Promise<string> {
  const rows = [];
  for (let partition = 0; partition < PARTITIONS; partition++)
    rows.push(...(await store.scan({ slice: groupSlice(partition), except: [] }, undefined, 10_000)).rows);
  return JSON.stringify({ rows, owners: await store.owners() });
}

async function reopened(folder: string): Promise<string> {
  const store = await open(folder);
  try {
    return await stateOf(store);
  } finally {
    await store.close();
  }
}

const range = { slice: groupSlice(0), except: [] };
const CHANGES: readonly ((store: ShardStore) => Promise<unknown>)[] = [
  (store) => store.own(owned(groupSlice(0))),
  (store) => store.write([row('a/#', 'c1', 1), row('b/+', 'c2', 2, { brokerId: 'ü' })]),
  (store) => store.write([row('a/#', 'c1', 3, { gone: true }), row('c/#', 'c3', 4)]),
  (store) => store.own(owned(groupSlice(0), 3, 'moved')),
  (store) => store.erase(range, 1, { state: 'moved', epoch: epoch(3) }),
  (store) => store.own(owned(groupSlice(1), 2, 'moved')),
  (store) => store.write([row('$share/g/a', 'c4', 5)]),
  (store) => store.disown(groupSlice(0), { state: 'moved', epoch: epoch(1_000) }),
  (store) => store.dropTombstones(eventTime(1e12)),
  (store) => store.write([row('a/#', 'c1', 2)]),
];

/** A folder with all changes, and the state after each of them. */
async function written(snapshotBytes?: number): Promise<{ folder: string; states: string[] }> {
  const folder = await folderOfOwn();
  const store = await open(folder, snapshotBytes);
  const states = [await stateOf(store)];
  for (const change of CHANGES) {
    await change(store);
    states.push(await stateOf(store));
  }
  await store.close();
  return { folder, states };
}

describe('the journal of a trie shard', () => {
  test('cut off at any byte, it opens with a prefix of the changes, and goes on from there', async () => {
    const { folder, states } = await written();
    const log = await readFile(join(folder, 'log.0'));
    let reached = 0;
    for (let bytes = 0; bytes <= log.length; bytes++) {
      const cut = await folderOfOwn();
      await writeFile(join(cut, 'log.0'), log.subarray(0, bytes));
      const state = await reopened(cut);
      const at = states.indexOf(state, reached);
      expect(at, `cut at byte ${bytes}`).toBeGreaterThanOrEqual(reached);
      reached = at;
      if (bytes % 7 === 0) {
        const store = await open(cut);
        await store.write([row('z/#', 'after', 99)]);
        const after = await stateOf(store);
        await store.close();
        expect(await reopened(cut), `written to after a cut at byte ${bytes}`).toBe(after);
      }
      await rm(cut, { recursive: true });
    }
    expect(states[reached]).toBe(states.at(-1));
  });

  test('one flipped bit anywhere is refused, never read as something else', async () => {
    const { folder, states } = await written();
    const log = await readFile(join(folder, 'log.0'));
    for (let byte = 0; byte < log.length; byte++) {
      const flipped = Buffer.from(log);
      flipped[byte] = flipped[byte]! ^ (1 << (byte % 8));
      await writeFile(join(folder, 'log.0'), flipped);
      const outcome = await reopened(folder).catch((error) => error.code);
      expect(outcome, `byte ${byte}`).toBe(byte < 8 ? 'STORE_FORMAT' : 'STORE_CORRUPT');
    }
    await writeFile(join(folder, 'log.0'), log);
    expect(await reopened(folder)).toBe(states.at(-1));
  });

  test('a snapshot takes the place of the logs before it, and holds the same', async () => {
    const { folder, states } = await written(0);
    const names = await readdir(folder);
    expect(names.some((name) => name.startsWith('snapshot.'))).toBe(true);
    expect(names).not.toContain('log.0');
    expect(await reopened(folder)).toBe(states.at(-1));
  });

  test('a snapshot cut off or flipped anywhere is refused', async () => {
    const { folder } = await written(0);
    const name = (await readdir(folder)).find((each) => each.startsWith('snapshot.'))!;
    const snapshot = await readFile(join(folder, name));
    for (let byte = 0; byte < snapshot.length; byte += 3) {
      await writeFile(join(folder, name), snapshot.subarray(0, byte));
      expect(await reopened(folder).catch((error) => error.code)).toBe('STORE_CORRUPT');
      const flipped = Buffer.from(snapshot);
      flipped[byte] = flipped[byte]! ^ 0x10;
      await writeFile(join(folder, name), flipped);
      expect(await reopened(folder).catch((error) => error.code)).toMatch(/STORE_CORRUPT|STORE_FORMAT/);
    }
  });

  test('changes made while a snapshot is written are in it or behind it', async () => {
    const folder = await folderOfOwn();
    const store = await open(folder, 20_000);
    for (let round = 0; round < 40; round++) {
      await store.write(
        Array.from({ length: 200 }, (_, i) => row(`g${i % 50}/+/${round % 7}/${i}`, `c${i}`, round * 200 + i)),
      );
      await erased(store, { slice: groupSlice(round % PARTITIONS), except: [] }, 60);
    }
    await store.own(owned(groupSlice(2), 9));
    const state = await stateOf(store);
    await store.close();
    expect((await readdir(folder)).some((name) => name.startsWith('snapshot.'))).toBe(true);
    expect(await reopened(folder)).toBe(state);
  });

  test('a missing log, and a half-written snapshot beside whole logs', async () => {
    const { folder, states } = await written();
    await copyFile(join(folder, 'log.0'), join(folder, 'snapshot.1.new'));
    await appendFile(join(folder, 'snapshot.1.new'), 'half');
    expect(await reopened(folder)).toBe(states.at(-1));
    expect(await readdir(folder)).toEqual(['lock', 'log.0']);
    await writeFile(join(folder, 'log.2'), '');
    await expect(open(folder)).rejects.toMatchObject({ code: 'STORE_CORRUPT', facts: { generation: 1 } });
  });

  test('lookups of a reopened shard know which epoch their slice moved in', async () => {
    const folder = await folderOfOwn();
    const store = await open(folder);
    for (let partition = 0; partition < PARTITIONS; partition++)
      await store.own(owned(groupSlice(partition), 5, 'moved'));
    await store.close();
    const again = await open(folder);
    expect(await again.lookup(['a/#'], epoch(4))).toEqual([{ kind: 'moved', epoch: 5 }]);
    await again.close();
  });

  describe('on a full disk', () => {
    const FULL = '/dev/full'; // Refuses every byte, as a disk does that has no space left.
    for (const { name, place } of [
      { name: 'no new log can be begun', place: 'log.1' },
      { name: 'no snapshot can be written', place: 'snapshot.1.new' },
    ])
      test(`${name}: nothing is lost, it is told, and tried again once there is room`, async () => {
        const folder = await folderOfOwn();
        const failures: string[] = [];
        const snapshotFailed = (failure: AppError) => failures.push(`${failure.code} ${String(failure.cause)}`);
        const opened = () => openTrieStore(folder, { partitions: PARTITIONS, snapshotBytes: 0, snapshotFailed });
        const written = async (store: ShardStore, from: number) => {
          for (let i = from; i < from + 40; i++)
            expect(await store.write([row(`a/${'x'.repeat(2_000)}/+`, `c${i}`, i)])).toMatchObject({ applied: 1 });
        };
        const store = await opened();
        await symlink(FULL, join(folder, place));
        await store.write([row('a/#', 'c', 1)]);
        await expect.poll(() => failures.length).toBe(1);
        expect(failures[0]).toMatch(/^STORE_UNAVAILABLE .*ENOSPC/);
        await store.write([row('b/#', 'c', 2)]);
        const state = await stateOf(store);
        await store.close();
        await rm(join(folder, place), { force: true });
        const again = await opened();
        expect(await stateOf(again)).toBe(state);
        await written(again, 100);
        const last = await stateOf(again);
        await again.close();
        expect((await readdir(folder)).some((each) => each.startsWith('snapshot.'))).toBe(true);
        expect(await reopened(folder)).toBe(last);
      });

    test('a shard whose log cannot be opened is unavailable, not a bug', async () => {
      const folder = await folderOfOwn();
      await mkdir(join(folder, 'log.0'));
      await expect(open(folder)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });
  });
});
