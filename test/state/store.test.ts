import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Level } from 'level';
import { describe, expect, test } from 'vitest';
import { levelFolder } from '../../state/edge/level-store.ts';
import { rocksdbFolder } from '../../state/edge/rocksdb-store.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { seal } from '../../state/seal.ts';
import type { StoreFolder } from '../../state/store.ts';
import { isWhole, WriteJournal } from '../../state/write-journal.ts';
import { damageSuite, type StoreFixture, storeSuite } from './store-suite.ts';

function onDisk(folder: (dir: string) => StoreFolder, put: (dir: string, key: string, value: Buffer) => Promise<void>) {
  return async (): Promise<StoreFixture> => {
    const dir = mkdtempSync(join(tmpdir(), 'store-'));
    return {
      folder: folder(dir),
      dir,
      over: folder,
      putFormat: (task, version) => put(join(dir, task), 'f', seal(crc32, Buffer.from('f'), Buffer.from([version]))),
      dispose: async () => rmSync(dir, { recursive: true, force: true }),
    };
  };
}

const level = onDisk(levelFolder, async (dir, key, value) => {
  const db = new Level<string, Buffer>(dir, { valueEncoding: 'buffer' });
  await db.put(key, value);
  await db.close();
});

const rocksdb = onDisk(rocksdbFolder, async (dir, key, value) => {
  const RocksDB = createRequire(import.meta.url)('rocksdb-native');
  const db = new RocksDB(dir);
  await db.put(Buffer.from(key), value);
  await db.close();
});

storeSuite('memory', async () => ({ folder: memoryFolder(), dispose: async () => {} }));
storeSuite('level', level);
storeSuite(
  'level, with sync',
  onDisk(
    (dir) => levelFolder(dir, { sync: true }),
    async () => {},
  ),
);
storeSuite('rocksdb', rocksdb);
damageSuite('level', level, '.ldb');
damageSuite('rocksdb', rocksdb, '.sst');

describe('a folder of the other engine', () => {
  for (const [made, asked, fixtureOf, other] of [
    ['level', 'rocksdb', level, rocksdbFolder],
    ['rocksdb', 'level', rocksdb, levelFolder],
  ] as const)
    test(`made by ${made} and asked for as ${asked}: it says so, and is not taken for damaged`, async () => {
      const { folder, dir, dispose } = await fixtureOf();
      try {
        const store = await folder.open('work-0');
        await store.write([{ key: 'a', value: Buffer.from('1') }], { changelog: 1, inputs: {} });
        await store.close();
        await expect(other(dir!).open('work-0')).rejects.toMatchObject({
          code: 'STORE_FORMAT',
          message: expect.stringMatching(
            `made by the engine ${made}, and FORESHARD_STORE_ENGINE is ${asked}: it is rebuilt`,
          ),
        });
        const again = await folder.open('work-0');
        expect(await again.get('a')).toEqual(Buffer.from('1'));
        await again.close();
        await other(dir!).destroy('work-0');
        await (await other(dir!).open('work-0')).close();
      } finally {
        await dispose();
      }
    });
});

describe('rocksdb', () => {
  test('it is loaded only when it is asked for', () => {
    // In a process of its own: this one has it already.
    const program = `
      const { createRequire } = await import('node:module');
      const loaded = () => Object.keys(createRequire(import.meta.url).cache).some((each) => each.includes('rocksdb-native'));
      await import('${join(import.meta.dirname, '../../app/main.ts')}');
      const before = loaded();
      const { rocksdbFolder } = await import('${join(import.meta.dirname, '../../state/edge/rocksdb-store.ts')}');
      rocksdbFolder('never-opened');
      console.log(before, loaded());`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { encoding: 'utf8' },
    );
    expect(`${stdout}${stderr}`).toBe('false true\n');
  });

  test('where it cannot be loaded, the setting is refused, and no store is taken for damaged', () => {
    const missing = (): never => {
      throw new Error('no build for this platform');
    };
    expect(() => rocksdbFolder('never-opened', missing)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('no build for this platform'),
      }),
    );
  });
});

describe('write journal', () => {
  for (const { name, head, found, whole } of [
    { name: 'a new store', head: undefined, found: [], whole: true },
    { name: 'all there', head: { oldest: 3, newest: 5 }, found: [3, 4, 5], whole: true },
    { name: 'older ones left over', head: { oldest: 3, newest: 5 }, found: [1, 3, 4, 5], whole: true },
    { name: 'one lost in the middle', head: { oldest: 3, newest: 5 }, found: [3, 5], whole: false },
    { name: 'the oldest lost', head: { oldest: 3, newest: 5 }, found: [4, 5], whole: false },
    { name: 'the newest lost', head: { oldest: 3, newest: 5 }, found: [3, 4], whole: false },
    { name: 'one past the head', head: { oldest: 3, newest: 5 }, found: [3, 4, 5, 6], whole: false },
    { name: 'the head lost', head: undefined, found: [3, 4], whole: false },
  ])
    test(`${name}: ${whole ? 'whole' : 'not whole'}`, () => expect(isWhole(head, found)).toBe(whole));

  test('numbers are dropped only when later writes fill three write buffers', () => {
    const journal = new WriteJournal(100, 7);
    const kept = new Set<number>();
    const sizes = new Map<number, number>();
    for (let i = 0; i < 200; i++) {
      const bytes = 1 + ((i * 37) % 90);
      const { head, dropped } = journal.next(bytes);
      for (const number of dropped) kept.delete(number);
      kept.add(head.newest);
      sizes.set(head.newest, bytes);
      const numbers = [...kept].sort((a, b) => a - b);
      expect(isWhole(head, numbers)).toBe(true);
      for (const number of dropped) {
        const later = [...sizes].filter(([each]) => each > number).reduce((sum, [, size]) => sum + size, 0);
        expect(later).toBeGreaterThan(200);
      }
      expect(numbers.reduce((sum, number) => sum + sizes.get(number)!, 0)).toBeLessThanOrEqual(400);
    }
    expect(kept.size).toBeLessThan(40);
  });
});
