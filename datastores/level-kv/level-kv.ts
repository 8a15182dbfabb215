// LevelDB store: the KEY_VALUE shard for concrete filters, one LevelDB folder each. keys.ts describes its keys.
//
//   L1. One write at a time: versions are read, compared and written with nothing in between (shard-store.ts D1).
//   L2. A write is one LevelDB batch: it is stored completely or not at all, and with `sync` it survives a power
//       failure.
//   L3. Owner records and the brokers' names are kept in memory; they change after the batch that stores them has been
//       written.
//   L4. Each value has a checksum over itself and its key (state/seal.ts), verified whenever it is read: a flipped bit
//       gives STORE_CORRUPT, never a wrong answer. LevelDB verifies its blocks only when an option asks for it, which
//       its Node binding does not pass on.
//   L5. After a failed write the folder is opened again before the next one: LevelDB would continue to write behind the
//       torn record that a full disk leaves in its log, and would find nothing behind it when it is opened the next
//       time.

import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { Level } from 'level';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import type { Epoch, EventTime, SliceKey } from '../../schemas/ids.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { KEY_FORMAT } from '../../state/keys.ts';
import { writeLevel } from '../../state/level-batch.ts';
import { seal, unseal } from '../../state/seal.ts';
import { checkKeySpace, gone, lacksIdentity, type Opening, type StoreIdentity } from '../identity.ts';
import { isSameRow, lastAt, mergeRows, writeResult } from '../merge.ts';
import { OwnerIndex } from '../owner-index.ts';
import { cursorAt, placeAt, RowDigest, rowBytes, subscriberOf } from '../rows.ts';
import { Serial } from '../serial.ts';
import type { Answer, Count, LocalShardStore, Page, RangeDigest, Subscriber, WriteResult } from '../shard-store.ts';
import { residentOf } from '../vacancy.ts';
import {
  BROKERS,
  brokerKey,
  IDENTITY_KEY,
  keyRange,
  META_KEY,
  OWNERS,
  ownerKey,
  placeOfKey,
  ROWS,
  rowKey,
  type Stretch,
  stretchOfFilter,
} from './keys.ts';
import { decodeRow, encodeRow, isGone } from './values.ts';

export interface LevelKvSettings {
  /**
   * Number of partitions of the subscriptions topic. It is part of every key: a folder created for another number is
   * refused.
   */
  readonly partitions: number;
  /**
   * True (the default): a write waits for the disk. False: it survives the end of the process, but not a power failure.
   */
  readonly sync?: boolean;
  /** Size of the cache for the folder's blocks. */
  readonly cacheBytes?: number;
  /** The identity that the folder must have (identity.ts); absent: any, or a new one. */
  readonly opening?: Opening;
  /** The host's clock. */
  readonly now?: () => number;
  /** Stores the entries instead of LevelDB in the folder. */
  readonly keptBy?: { readonly isThere: boolean; readonly database: Database };
}

/** An ordered key-value database: the calls of LevelDB that are used here. */
export interface Database {
  open(): Promise<void>;
  close(): Promise<void>;
  get(key: Buffer): Promise<Buffer | undefined>;
  getMany(keys: Buffer[]): Promise<(Buffer | undefined)[]>;
  put(key: Buffer, value: Buffer, options: { readonly sync: boolean }): Promise<void>;
  del(key: Buffer, options: { readonly sync: boolean }): Promise<void>;
  batch(operations: (Put | Delete)[], options: { readonly sync: boolean }): Promise<void>;
  iterator(range: EntryRange): Entries;
}

export interface EntryRange {
  readonly gte?: Buffer;
  readonly gt?: Buffer;
  readonly lt?: Buffer;
  readonly limit?: number;
  readonly fillCache?: boolean;
  readonly highWaterMarkBytes?: number;
}

/** The entries of a range as of the call that asked for them. */
export interface Entries extends AsyncIterable<[Buffer, Buffer]> {
  nextv(size: number): Promise<[Buffer, Buffer][]>;
  all(): Promise<[Buffer, Buffer][]>;
  close(): Promise<void>;
}

export type Put = { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer };
export type Delete = { readonly type: 'del'; readonly key: Buffer };

/** 64 MiB: version checks read each key before it is written, and LevelDB's 8 MiB default misses most of them. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** 32 MiB: LevelDB's 4 MiB default compacts so often that a burst of writes runs at two thirds of the speed. */
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;

const FORMAT_VERSION = 2;
/** Rows read at a time by work over a whole range: a few hundred KiB, so that other work does not wait long. */
const SCAN_ROWS = 2_000;
/**
 * Most look-ups of one call that run at the same time: more than LevelDB's reading threads, few enough to limit memory.
 */
const LOOKUPS_AT_ONCE = 64;
/** Bytes that LevelDB returns at a time; with its default of 16 KiB a long scan waits for many small pages. */
const READ_AHEAD_BYTES = 256 * 1024;

/**
 * Opens the folder, or creates it. Throws STORE_FORMAT, STORE_CORRUPT, STORE_UNAVAILABLE when another process has it
 * open, or SHARD_LOST and FLEET_MISMATCH when its identity is not the one in `opening` (shard-store.ts D7).
 */
export async function openLevelKv(folder: string, settings: LevelKvSettings): Promise<LocalShardStore> {
  const { opening, keptBy } = settings;
  if (opening !== undefined && opening.as !== 'new' && !(keptBy?.isThere ?? (await isDatabase(folder))))
    throw gone(opening.identity.instanceId, 'its store is empty');
  const database = keptBy?.database ?? (await levelIn(folder, settings.cacheBytes ?? CACHE_BYTES));
  return reported(async () => {
    await database.open();
    try {
      await checkFormat(database, settings.partitions);
      const owners = new OwnerIndex(settings.partitions, settings.now ?? Date.now);
      for await (const [key, value] of database.iterator(OWNERS))
        owners.put(JSON.parse(opened(key, value).toString('utf8')));
      const brokers: string[] = [];
      for await (const [key, value] of database.iterator(BROKERS))
        brokers[key.readUInt32BE(1)] = opened(key, value).toString('utf8');
      if (opening !== undefined) await identified(database, opening, owners.all().length > 0);
      return new LevelKv(database, settings, owners, brokers);
    } catch (error) {
      await database.close();
      throw error;
    }
  });
}

async function levelIn(folder: string, cacheBytes: number): Promise<Database> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const db = new Level<Buffer, Buffer>(folder, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize: cacheBytes,
    writeBufferSize: WRITE_BUFFER_BYTES,
  });
  return {
    open: () => db.open(),
    close: () => db.close(),
    get: (key) => db.get(key),
    getMany: (keys) => db.getMany(keys),
    put: (key, value, options) => db.put(key, value, options),
    del: (key, options) => db.del(key, options),
    batch: (operations, options) => writeLevel(db, operations, options),
    iterator: (range) => db.iterator(range),
  };
}

class LevelKv implements LocalShardStore {
  readonly kind = 'KEY_VALUE';
  readonly instanceId: string;
  readonly #database: Database;
  readonly #partitions: number;
  readonly #sync: boolean;
  readonly #owners: OwnerIndex;
  readonly #brokers: string[];
  readonly #brokerIds: Map<string, number>;
  readonly #writes = new Serial();
  #isTorn = false;

  constructor(database: Database, settings: LevelKvSettings, owners: OwnerIndex, brokers: string[]) {
    this.instanceId = settings.opening?.identity.instanceId ?? '';
    this.#database = database;
    this.#partitions = settings.partitions;
    this.#sync = settings.sync ?? true;
    this.#owners = owners;
    this.#brokers = brokers;
    this.#brokerIds = new Map(brokers.map((name, id) => [name, id]));
  }

  write(rows: readonly SubscriptionRow[]): Promise<WriteResult> {
    return this.#changing(async () => {
      // In key order reads and writes touch neighbouring blocks; rows of one key stay in their own order (stable sort).
      const writes = rows.map((row) => ({ row, key: rowKey(row.filter, row.clientId, this.#partitions) }));
      writes.sort((a, b) => Buffer.compare(a.key, b.key));
      const stored = await this.#stored(writes.map(({ key }) => key));
      const puts: Put[] = [];
      const newBrokers = new Map<string, number>();
      const brokerOf = (name: string): number => this.#brokerOf(name, newBrokers);
      let stale = 0;
      let foreign = 0;
      let known: SubscriptionRow | undefined;
      for (let i = 0; i < writes.length; i++) {
        const { row, key } = writes[i]!;
        if (this.#owners.hasLeft(row.filter, row.clientId)) {
          stale += 1; // shard-store.ts D8
          continue;
        }
        const again = i > 0 && key.equals(writes[i - 1]!.key);
        if (!again) known = stored[i] && decodeRow(row, opened(key, stored[i]!), this.#brokers);
        const merged = mergeRows(known, row);
        if (merged.is === 'stale') {
          stale += 1;
          continue;
        }
        if (merged.is === 'foreign') foreign += 1;
        known = merged.row;
        if (again && puts.at(-1)?.key.equals(key)) puts.pop();
        puts.push(sealedPut(key, encodeRow(known, brokerOf)));
      }
      for (const [name, id] of newBrokers) puts.push(sealedPut(brokerKey(id), Buffer.from(name, 'utf8')));
      if (puts.length > 0) await this.#database.batch(puts, { sync: this.#sync });
      for (const [name, id] of newBrokers) {
        this.#brokers[id] = name;
        this.#brokerIds.set(name, id);
      }
      return writeResult(rows.length, stale, foreign);
    });
  }

  forget(rows: readonly SubscriptionRow[]): Promise<number> {
    return this.#changing(async () => {
      const keys = rows.map((row) => rowKey(row.filter, row.clientId, this.#partitions));
      const stored = await this.#stored(keys);
      const deletes: Delete[] = [];
      for (const [i, row] of rows.entries()) {
        const [key, value] = [keys[i]!, stored[i]];
        if (value === undefined || !isSameRow(decodeRow(row, opened(key, value), this.#brokers), row)) continue;
        deletes.push({ type: 'del', key });
      }
      if (deletes.length > 0) await this.#database.batch(deletes, { sync: this.#sync });
      return deletes.length;
    });
  }

  own(owner: OwnerRecord): Promise<boolean> {
    return this.#changing(async () => {
      if (!this.#owners.accepts(owner)) return false;
      const { key, value } = sealedPut(ownerKey(owner.slice), Buffer.from(JSON.stringify(owner), 'utf8'));
      await this.#database.put(key, value, { sync: this.#sync });
      this.#owners.put(owner);
      return true;
    });
  }

  disown(slice: SliceKey, right: DisownRight): Promise<boolean> {
    return this.#changing(async () => {
      if (!this.#owners.allowsDisown(slice, right)) return false;
      const forgotten = [slice, ...this.#owners.forgottenWith(slice)];
      const deletes = forgotten.map((key): Delete => ({ type: 'del', key: ownerKey(key) }));
      await this.#database.batch(deletes, { sync: this.#sync });
      for (const key of forgotten) this.#owners.delete(key);
      return true;
    });
  }

  async owners(): Promise<readonly OwnerRecord[]> {
    return this.#owners.all();
  }

  lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]> {
    return reported(async () => {
      const answers: Answer[] = [];
      for (let from = 0; from < filters.length; from += LOOKUPS_AT_ONCE) {
        const some = filters.slice(from, from + LOOKUPS_AT_ONCE);
        answers.push(...(await Promise.all(some.map((filter) => this.#answer(filter, asker)))));
      }
      return answers;
    });
  }

  async match(): Promise<readonly Answer[]> {
    throw new AppError('REQUEST_INVALID', 'a key-value shard cannot match topics: ask a trie shard');
  }

  scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page> {
    return reported(async () => {
      const rows: SubscriptionRow[] = [];
      let done = true;
      // One row more than asked for shows whether the range continues.
      reading: for await (const entries of this.#entries(range, cursor, undefined, limit + 1)) {
        for (const [key, value] of entries) {
          done = rows.length < limit;
          if (!done) break reading;
          rows.push(decodeRow(placeOfKey(key), value, this.#brokers));
        }
      }
      const last = rows.at(-1);
      return { rows, cursor: last === undefined ? undefined : cursorAt(last), done };
    });
  }

  digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest> {
    return reported(async () => {
      const digest = new RowDigest((filter) => this.#owners.finds(filter));
      for await (const entries of this.#entries(range, after, upTo, SCAN_ROWS))
        for (const [key, value] of entries) digest.add(decodeRow(placeOfKey(key), value, this.#brokers));
      return digest.result();
    });
  }

  erase(asked: SliceRange, limit: number, right: EraseRight): Promise<number | undefined> {
    return this.#changing(async () => {
      if (!this.#owners.allowsErase(asked.slice, right)) return undefined;
      const range = this.#owners.erasable(asked, right);
      const deletes: Delete[] = [];
      for await (const entries of this.#entries(range, undefined, undefined, limit)) {
        for (const [key] of entries) if (deletes.length < limit) deletes.push({ type: 'del', key });
        if (deletes.length === limit) break;
      }
      const erased = deletes.length;
      const forgotten = this.#owners.within(range);
      for (const slice of forgotten) deletes.push({ type: 'del', key: ownerKey(slice) });
      if (deletes.length > 0) await this.#database.batch(deletes, { sync: this.#sync });
      for (const slice of forgotten) this.#owners.delete(slice);
      return erased;
    });
  }

  count(range: SliceRange, from?: Cursor, limit = Number.POSITIVE_INFINITY): Promise<Count> {
    return reported(async () => {
      let count = 0;
      let bytes = 0;
      let seen = 0;
      for await (const entries of this.#entries(range, from, undefined, SCAN_ROWS)) {
        for (const [key, value] of entries) {
          if (!isGone(value)) {
            count += 1;
            bytes += rowBytes(decodeRow(placeOfKey(key), value, this.#brokers));
          }
          if (++seen === limit) return { entries: count, bytes, rest: cursorAt(placeOfKey(key)) };
        }
      }
      return { entries: count, bytes };
    });
  }

  /** Page by page, so that writes can run in between. */
  async dropTombstones(before: EventTime): Promise<number> {
    let dropped = 0;
    let from: Buffer = ROWS.gte;
    for (let more = true; more; ) {
      await this.#changing(async () => {
        const entries = await this.#database
          .iterator({ gt: from, lt: ROWS.lt, limit: SCAN_ROWS, fillCache: false, highWaterMarkBytes: READ_AHEAD_BYTES })
          .all();
        const deletes: Delete[] = [];
        for (const [key, sealed] of entries) {
          const value = opened(key, sealed);
          if (isGone(value) && lastAt(decodeRow(placeOfKey(key), value, this.#brokers)) < before)
            deletes.push({ type: 'del', key });
        }
        if (deletes.length > 0) await this.#database.batch(deletes, { sync: this.#sync });
        dropped += deletes.length;
        more = entries.length === SCAN_ROWS;
        from = entries.at(-1)?.[0] ?? from;
      });
    }
    return dropped;
  }

  closeIfVacant(): Promise<string | undefined> {
    return this.#changing(async () => {
      const resident = await residentOf(this, this.#partitions);
      if (resident === undefined) await this.#database.close();
      return resident;
    });
  }

  async close(): Promise<void> {
    await this.#writes.idle();
    await this.#database.close();
  }

  /** Runs one change at a time (L1). */
  #changing<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#writes.run(() =>
      reported(async () => {
        if (this.#isTorn) await this.#openAgain();
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof AppError)) this.#isTorn = true;
          throw error;
        }
      }),
    );
  }

  /** Opens the folder again after a failed write (L5). */
  async #openAgain(): Promise<void> {
    await this.#database.close();
    await this.#database.open();
    this.#isTorn = false;
  }

  /**
   * The values of these keys. In two halves, since LevelDB reads each call's keys one after the other in one thread.
   */
  async #stored(keys: Buffer[]): Promise<(Buffer | undefined)[]> {
    const middle = keys.length >> 1;
    const [first, second] = await Promise.all([
      this.#database.getMany(keys.slice(0, middle)),
      this.#database.getMany(keys.slice(middle)),
    ]);
    return [...first, ...second];
  }

  async #answer(filter: string, asker: Epoch): Promise<Answer> {
    const moved = this.#owners.movedFor(filter, asker);
    if (moved !== undefined) return { kind: 'moved', epoch: moved };
    const subscribers: Subscriber[] = [];
    for await (const entries of this.#stretches([stretchOfFilter(filter, this.#partitions)], SCAN_ROWS)) {
      for (const [key, value] of entries) {
        if (isGone(value)) continue;
        const { clientId } = placeOfKey(key);
        subscribers.push(subscriberOf(decodeRow({ filter, clientId }, value, this.#brokers)));
      }
    }
    return { kind: 'found', subscribers };
  }

  /** The stored rows of a range with after < place <= upTo, in order, at most `size` at a time. */
  async *#entries(
    range: SliceRange,
    after: Cursor | undefined,
    upTo: Cursor | undefined,
    size: number,
  ): AsyncGenerator<(readonly [Buffer, Buffer])[]> {
    const { stretches, holds } = keyRange(range, this.#partitions);
    for await (const entries of this.#stretches(this.#clipped(stretches, after, upTo), size))
      yield holds === undefined ? entries : entries.filter(([key]) => holds(placeOfKey(key)));
  }

  async *#stretches(stretches: readonly Stretch[], size: number): AsyncGenerator<(readonly [Buffer, Buffer])[]> {
    for (const { gte, lt } of stretches) {
      const iterator = this.#database.iterator({ gte, lt, highWaterMarkBytes: READ_AHEAD_BYTES });
      try {
        for (let entries = await iterator.nextv(size); entries.length > 0; entries = await iterator.nextv(size))
          yield entries.map(([key, value]) => [key, opened(key, value)] as const);
      } finally {
        await iterator.close();
      }
    }
  }

  #clipped(stretches: readonly Stretch[], after: Cursor | undefined, upTo: Cursor | undefined): Stretch[] {
    const from = after === undefined ? undefined : next(this.#keyAt(after));
    const end = upTo === undefined ? undefined : next(this.#keyAt(upTo));
    const clipped: Stretch[] = [];
    for (const stretch of stretches) {
      const gte = from !== undefined && Buffer.compare(from, stretch.gte) > 0 ? from : stretch.gte;
      const lt = end !== undefined && Buffer.compare(end, stretch.lt) < 0 ? end : stretch.lt;
      if (Buffer.compare(gte, lt) < 0) clipped.push({ gte, lt });
    }
    return clipped;
  }

  #keyAt(cursor: Cursor): Buffer {
    const { filter, clientId } = placeAt(cursor);
    return rowKey(filter, clientId, this.#partitions);
  }

  /** The broker's id; a new one is added to `added`, which is written in the same batch (L3). */
  #brokerOf(name: string, added: Map<string, number>): number {
    let id = this.#brokerIds.get(name) ?? added.get(name);
    if (id === undefined) {
      id = this.#brokers.length + added.size;
      added.set(name, id);
    }
    return id;
  }
}

/** A put of a value with its checksum (L4). */
const sealedPut = (key: Buffer, value: Buffer): Put => ({ type: 'put', key, value: seal(crc32, key, value) });

/** The value without its checksum (L4). Throws STORE_CORRUPT. */
function opened(key: Buffer, sealed: Buffer): Buffer {
  const value = unseal(crc32, key, sealed);
  if (value !== undefined) return value;
  throw new AppError('STORE_CORRUPT', 'a row of the store does not match its checksum', { sizeBytes: sealed.length });
}

/** The first key after this one. */
const next = (key: Buffer): Buffer => Buffer.concat([key, Buffer.of(0)]);

async function checkFormat(database: Database, partitions: number): Promise<void> {
  const found = await database.get(META_KEY);
  if (found === undefined) {
    const made = JSON.stringify({ format: FORMAT_VERSION, partitions });
    await database.put(META_KEY, Buffer.from(made, 'utf8'), { sync: true });
    return;
  }
  const made = JSON.parse(found.toString('utf8')) as { readonly format: number; readonly partitions: number };
  if (made.format !== FORMAT_VERSION)
    throw new AppError('STORE_FORMAT', 'the folder was made by another version', {
      found: made.format,
      expected: FORMAT_VERSION,
    });
  checkKeySpace({ partitions: made.partitions, keyFormat: KEY_FORMAT }, { partitions, keyFormat: KEY_FORMAT });
}

async function identified(database: Database, opening: Opening, holdsRecords: boolean): Promise<void> {
  const sealed = await database.get(IDENTITY_KEY);
  const found = sealed && (JSON.parse(opened(IDENTITY_KEY, sealed).toString('utf8')) as StoreIdentity);
  if (!lacksIdentity(found, opening, holdsRecords)) return;
  const { key, value } = sealedPut(IDENTITY_KEY, Buffer.from(JSON.stringify(opening.identity), 'utf8'));
  await database.put(key, value, { sync: true });
}

/** LevelDB creates a file of this name first. */
const isDatabase = (folder: string): Promise<boolean> =>
  access(join(folder, 'CURRENT')).then(
    () => true,
    () => false,
  );

const CODES: Readonly<Record<string, ErrorCode>> = {
  LEVEL_CORRUPTION: 'STORE_CORRUPT',
  LEVEL_DATABASE_NOT_OPEN: 'STORE_CLOSED',
  LEVEL_ITERATOR_NOT_OPEN: 'STORE_CLOSED',
};

/** Runs the work; errors of LevelDB become AppErrors. */
async function reported<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError) throw error;
    const {
      code: outer,
      message,
      cause,
    } = error as { code?: string; message: string; cause?: Error & { code?: string } };
    if (outer?.startsWith('LEVEL_') !== true) throw error;
    // A failed open says "not open" and carries the reason as its cause.
    const code = CODES[cause === undefined ? outer : (cause.code ?? '')] ?? 'STORE_UNAVAILABLE';
    throw new AppError(code, `LevelDB: ${cause === undefined ? message : cause.message}`, {}, error);
  }
}
