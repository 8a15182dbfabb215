// RocksDB store: local stores on RocksDB, one folder for each task, for states that are too large for LevelDB's single
// compaction thread. The `rocksdb-native` package is loaded only when such a folder is asked for, so that everything
// else runs on a platform for which it has no build. It has no types: the few calls used are typed here.
// sealed-store.ts explains why a write need not be on the disk when it resolves.

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { AppError } from '../../schemas/errors.ts';
import { type Engine, type Operation, sealedStore } from '../sealed-store.ts';
import type { StoreFolder } from '../store.ts';
import type { StoreFiles } from '../table-sums.ts';

interface RocksBatch {
  tryPut(key: Buffer, value: Buffer): void;
  tryDelete(key: Buffer): void;
  flush(): Promise<void>;
  destroy(): void;
}

interface RocksSession {
  iterator(
    range: { readonly gte: Buffer; readonly lt: Buffer },
    options: { readonly capacity: number },
  ): AsyncIterable<{ readonly key: Buffer; readonly value: Buffer }>;
  close(): Promise<void>;
}

interface RocksDb extends RocksSession {
  ready(): Promise<void>;
  get(key: Buffer): Promise<Buffer | null>;
  write(options: { readonly capacity: number }): RocksBatch;
  /** Reads the store as of the call. */
  snapshot(): RocksSession;
}

type RocksClass = new (dir: string, options: { readonly writeBufferSize: number }) => RocksDb;

const WRITE_BUFFER_BYTES = 16 * 1024 * 1024;
const ENTRIES_PER_READ = 1_000;

/** Throws CONFIG_INVALID when RocksDB cannot be loaded on this platform. */
export function rocksdbFolder(dir: string, load: () => unknown = requireRocks): StoreFolder {
  const RocksDB = loaded(load);
  return {
    open: (task) => {
      const folder = join(dir, task);
      return sealedStore(task, filesOf(folder), () => openEngine(RocksDB, folder), crc32);
    },
    destroy: (task) => rm(join(dir, task), { recursive: true, force: true }),
  };
}

const requireRocks = (): unknown => createRequire(import.meta.url)('rocksdb-native');

function loaded(load: () => unknown): RocksClass {
  try {
    return load() as RocksClass;
  } catch (error) {
    const { message } = error as Error;
    throw new AppError(
      'CONFIG_INVALID',
      `storeEngine rocksdb cannot be loaded on ${process.platform}-${process.arch}, level can: ${message}`,
      { setting: 'storeEngine' },
      error,
    );
  }
}

async function openEngine(RocksDB: RocksClass, dir: string): Promise<Engine> {
  await mkdir(dir, { recursive: true });
  const db = new RocksDB(dir, { writeBufferSize: WRITE_BUFFER_BYTES });
  await db.ready();
  const reading = new Set<() => Promise<void>>(); // How to end the open iterators: the engine cannot close before them.
  return {
    writeBufferBytes: WRITE_BUFFER_BYTES,
    get: async (key) => (await db.get(key)) ?? undefined,
    getMany: async (keys) => (await Promise.all(keys.map((key) => db.get(key)))).map((value) => value ?? undefined),
    entries: (from, to) => entriesOf(db, from, to, reading),
    batch: async (operations: readonly Operation[]) => {
      const batch = db.write({ capacity: operations.length });
      for (const each of operations) {
        if (each.type === 'put') batch.tryPut(each.key, each.value);
        else batch.tryDelete(each.key);
      }
      try {
        await batch.flush();
      } finally {
        batch.destroy();
      }
    },
    close: async () => {
      await Promise.all([...reading].map((end) => end()));
      await db.close();
    },
  };
}

function entriesOf(
  db: RocksDb,
  gte: Buffer,
  lt: Buffer,
  reading: Set<() => Promise<void>>,
): AsyncIterable<readonly [Buffer, Buffer]> {
  // A snapshot is the store as of now, before anything else is written.
  const snapshot = db.snapshot();
  const iterator = snapshot.iterator({ gte, lt }, { capacity: ENTRIES_PER_READ })[Symbol.asyncIterator]();
  let current: Promise<unknown> = Promise.resolve();
  const end = async (): Promise<void> => {
    if (!reading.delete(end)) return;
    await current;
    await iterator.return?.();
    await snapshot.close();
  };
  reading.add(end);
  return (async function* () {
    try {
      while (reading.has(end)) {
        const next = iterator.next();
        current = next.catch(() => {});
        const entry = await next;
        if (entry.done === true) return;
        yield [entry.value.key, entry.value.value] as const;
      }
    } finally {
      await end();
    }
  })();
}

/** The store's folder, for table-sums.ts. */
const filesOf = (dir: string): StoreFiles => ({
  engine: 'rocksdb',
  tableSuffix: '.sst',
  list: () => orAbsent(readdir(dir), []),
  read: (name) => orAbsent(readFile(join(dir, name)), undefined),
  replace: async (name, bytes) => {
    await writeFile(join(dir, `${name}.new`), bytes);
    await rename(join(dir, `${name}.new`), join(dir, name));
  },
});

async function orAbsent<Value, Absent>(call: Promise<Value>, absent: Absent): Promise<Value | Absent> {
  try {
    return await call;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return absent;
    throw error;
  }
}
