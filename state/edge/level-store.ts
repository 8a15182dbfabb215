// Level store: local stores on LevelDB, one folder for each task. With `sync` each write is on the disk when it
// resolves; sealed-store.ts explains why it usually need not be.

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Level } from 'level';
import { writeLevel } from '../level-batch.ts';
import { type Engine, type Operation, sealedStore } from '../sealed-store.ts';
import type { StoreFolder } from '../store.ts';
import type { StoreFiles } from '../table-sums.ts';

/** Twice LevelDB's default: a commit's rows are rewritten often, and are then merged in memory. */
const WRITE_BUFFER_BYTES = 8 * 1024 * 1024;

export function levelFolder(dir: string, options: { readonly sync?: boolean } = {}): StoreFolder {
  return {
    open: (task) => {
      const folder = join(dir, task);
      return sealedStore(task, filesOf(folder), () => openEngine(folder, options.sync ?? false), crc32);
    },
    destroy: (task) => rm(join(dir, task), { recursive: true, force: true }),
  };
}

async function openEngine(dir: string, sync: boolean): Promise<Engine> {
  const db = new Level<Buffer, Buffer>(dir, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    writeBufferSize: WRITE_BUFFER_BYTES,
  });
  try {
    await mkdir(dir, { recursive: true });
    await db.open();
  } catch (error) {
    await db.close();
    throw error;
  }
  return {
    writeBufferBytes: WRITE_BUFFER_BYTES,
    get: (key) => db.get(key),
    getMany: (keys) => db.getMany([...keys]),
    entries: (from, to) => entriesOf(db, from, to),
    batch: (operations: readonly Operation[]) => writeLevel(db, operations, { sync }),
    close: () => db.close(),
  };
}

function entriesOf(db: Level<Buffer, Buffer>, from: Buffer, to: Buffer): AsyncIterable<readonly [Buffer, Buffer]> {
  // An iterator reads the store as of now, before anything else is written.
  const iterator = db.iterator({ gte: from, lt: to, highWaterMarkBytes: 256 * 1024 });
  return (async function* () {
    try {
      for (;;) {
        const some = await iterator.nextv(1000);
        if (some.length === 0) return;
        yield* some;
      }
    } finally {
      await iterator.close();
    }
  })();
}

/** The store's folder, for table-sums.ts. */
const filesOf = (dir: string): StoreFiles => ({
  engine: 'level',
  tableSuffix: '.ldb',
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
