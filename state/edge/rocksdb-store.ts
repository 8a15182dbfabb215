// RocksDB store: local stores on RocksDB, one folder for each task, for states that outgrow LevelDB's single compaction
// thread. The `rocksdb` package speaks the callbacks of abstract-leveldown and has no types; the few calls used are typed
// and turned into promises here. With `sync` each write is on the disk when it resolves; sealed-store.ts says why it need
// not be.

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Engine, type Operation, sealedStore } from '../sealed-store.ts';
import type { StoreFolder } from '../store.ts';
import type { StoreFiles } from '../table-sums.ts';

type Done<Value = void> = (error: Error | null | undefined, value?: Value) => void;

interface RocksIterator {
  next(done: (error: Error | null | undefined, key?: Buffer, value?: Buffer) => void): void;
  end(done: Done): void;
}

interface RocksDb {
  open(options: { readonly createIfMissing: boolean; readonly writeBufferSize: number }, done: Done): void;
  close(done: Done): void;
  get(key: Buffer, options: { readonly asBuffer: true }, done: Done<Buffer>): void;
  batch(operations: readonly Operation[], options: { readonly sync: boolean }, done: Done): void;
  iterator(options: {
    readonly gte: Buffer;
    readonly lt: Buffer;
    readonly keyAsBuffer: true;
    readonly valueAsBuffer: true;
    readonly highWaterMark: number;
  }): RocksIterator;
}

const rocksdb = createRequire(import.meta.url)('rocksdb') as (dir: string) => RocksDb;

const WRITE_BUFFER_BYTES = 16 * 1024 * 1024;

export function rocksdbFolder(dir: string, options: { readonly sync?: boolean } = {}): StoreFolder {
  return {
    open: (task) => {
      const folder = join(dir, task);
      return sealedStore(task, filesOf(folder), () => openEngine(folder, options.sync ?? false), crc32);
    },
    destroy: (task) => rm(join(dir, task), { recursive: true, force: true }),
  };
}

async function openEngine(dir: string, sync: boolean): Promise<Engine> {
  const db = rocksdb(dir);
  await mkdir(dir, { recursive: true });
  await called<void>((done) => db.open({ createIfMissing: true, writeBufferSize: WRITE_BUFFER_BYTES }, done));
  const reading = new Set<() => Promise<void>>(); // Ends of open iterators: the engine does not close before them.
  return {
    writeBufferBytes: WRITE_BUFFER_BYTES,
    get: (key) =>
      new Promise((resolve, reject) =>
        db.get(key, { asBuffer: true }, (error, value) => {
          if (!error) resolve(value);
          else if (/notfound/i.test(error.message)) resolve(undefined);
          else reject(error);
        }),
      ),
    entries: (from, to) => entriesOf(db, from, to, reading),
    batch: (operations) => called<void>((done) => db.batch(operations, { sync }, done)),
    close: async () => {
      await Promise.all([...reading].map((end) => end()));
      await called<void>((done) => db.close(done));
    },
  };
}

function entriesOf(
  db: RocksDb,
  from: Buffer,
  to: Buffer,
  reading: Set<() => Promise<void>>,
): AsyncIterable<readonly [Buffer, Buffer]> {
  // An iterator sees the store as of now, before anything else is written.
  const iterator = db.iterator({
    gte: from,
    lt: to,
    keyAsBuffer: true,
    valueAsBuffer: true,
    highWaterMark: 256 * 1024,
  });
  let current: Promise<unknown> = Promise.resolve();
  const end = async (): Promise<void> => {
    if (!reading.delete(end)) return;
    await current;
    await called<void>((done) => iterator.end(done));
  };
  reading.add(end);
  return (async function* () {
    try {
      while (reading.has(end)) {
        const next = new Promise<readonly [Buffer, Buffer] | undefined>((resolve, reject) =>
          iterator.next((error, key, value) => {
            if (error) reject(error);
            else resolve(key === undefined ? undefined : [key, value!]);
          }),
        );
        current = next.catch(() => {});
        const entry = await next;
        if (entry === undefined) return;
        yield entry;
      }
    } finally {
      await end();
    }
  })();
}

function called<Value>(call: (done: Done<Value>) => void): Promise<Value> {
  return new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value as Value))));
}

/** The store's folder, for table-sums.ts. */
const filesOf = (dir: string): StoreFiles => ({
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
