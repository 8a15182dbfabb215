// Embedded storage: the entries of the embedded log in one LevelDB folder.
//
//   V1. A write is one LevelDB batch; with `sync` it is on the disk (fsync of LevelDB's own log) before the call
//       resolves.
//   V2. The entries of a partition cover its offsets from `start` to `end` without a gap; clean-up keeps this true
//       within the same batch that removes records. A gap, a bad checksum or a write that LevelDB lost is an error;
//       records are never silently missing.
//   V3. Clean-up by time never removes a record that a group has still to read, for every group that has committed here
//       once.
//   V4. Compaction keeps the last record of each key, at its offset. A removal is kept for `tombstoneMs` of the time in
//       which the log is open, so that no reader misses it that was down with the process.
//   V5. Clean-up works in steps of bounded size, between writes.
//
// LevelDB locks its folder, so a second process is refused.

import { crc32 } from 'node:zlib';
import { Level } from 'level';
import type { RawRecord, TopicShape } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import { writeLevel } from '../../state/level-batch.ts';
import { seal, unseal } from '../../state/seal.ts';
import { isWhole, type JournalHead, WriteJournal } from '../../state/write-journal.ts';
import type { Append, Extent, LogStorage, Position } from '../local/log-storage.ts';
import { ENTRY_BYTES_MAX, EntryWriter, entryHeader, entryKey, OFFSET_MAX, readEntry } from './embedded-entry.ts';

export interface EmbeddedStorageOptions {
  readonly dir: string;
  readonly sync: boolean;
  readonly now: () => number;
  readonly tombstoneMs: number;
  /** A compacted partition is cleaned when this share of its bytes was written since the last time... */
  readonly dirtyRatio: number;
  /** ...and it has at least this many such bytes: small partitions are not worth a pass. */
  readonly dirtyBytesMin: number;
}

/** With LevelDB's default of 4 MiB it would sort and merge all the time. Two such buffers can be in memory. */
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;
const FORMAT_VERSION = 1;
const FORMAT_KEY = Buffer.from('f');
const HEAD_KEY = Buffer.from('h');
/** Approximate size of one read, and of one step of clean-up. */
const READ_BYTES = 512 * 1024;
const READ_ENTRIES_MAX = 2_000;
/** Most distinct keys that one pass of compaction holds in memory; the rest waits for the next pass. */
const COMPACTED_KEYS_MAX = 500_000;

type Operation = { type: 'put'; key: Buffer; value: Buffer } | { type: 'del'; key: Buffer };

interface Part {
  readonly topic: TopicShape;
  readonly topicId: number;
  readonly partition: Partition;
  start: Offset;
  end: Offset;
  /** Compaction has processed all offsets before this one. */
  cleaned: Offset;
  /** Bytes of entries before and after `cleaned`. */
  cleanBytes: number;
  dirtyBytes: number;
}

/** What is stored of a partition beside its entries. */
interface Bounds {
  readonly start: Offset;
  readonly end: Offset;
  readonly cleaned: Offset;
  readonly cleanBytes: number;
}

/** The types of `level` cover what all platforms have; in Node it is a ClassicLevel, which can also tell sizes. */
type Database = Level<Buffer, Buffer> & { approximateSize(start: Buffer, end: Buffer): Promise<number> };

export class EmbeddedStorage implements LogStorage {
  readonly #options: EmbeddedStorageOptions;
  readonly #db: Database;
  readonly #journal: WriteJournal;
  readonly #topics = new Map<string, Part[]>();
  readonly #positions = new Map<string, Map<string, Offset>>(); // By place, then by group.
  readonly #openedAt: number;
  readonly #writer = new EntryWriter();
  #batches: Promise<unknown> = Promise.resolve();
  #cleaning: Promise<void> = Promise.resolve();
  #closed = false;

  /** Throws STORE_FORMAT, STORE_CORRUPT, or LOG_UNAVAILABLE when another process has the folder. */
  static async open(options: EmbeddedStorageOptions): Promise<EmbeddedStorage> {
    const db = new Level<Buffer, Buffer>(options.dir, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
      compression: false, // Entries are small Avro records; compressing them is not worth the CPU time.
      writeBufferSize: WRITE_BUFFER_BYTES,
    }) as Database;
    try {
      await db.open();
    } catch (error) {
      throw openingFailure(options.dir, error);
    }
    try {
      const format = await valueAt(db, FORMAT_KEY);
      if (format !== undefined && format[0] !== FORMAT_VERSION)
        throw new AppError(
          'STORE_FORMAT',
          `the embedded log in ${options.dir} has format ${format[0]}, and this program reads format ${FORMAT_VERSION}: start the program that wrote it, or choose another folder`,
          { dir: options.dir, found: format[0], expected: FORMAT_VERSION },
        );
      const head = await valueAt(db, HEAD_KEY);
      const found: number[] = [];
      for await (const key of db.keys(spaceOf('j'))) found.push(key.readUIntBE(1, 6));
      const named = head === undefined ? undefined : (JSON.parse(head.toString('utf8')) as JournalHead);
      if (!isWhole(named, found) || (named === undefined) !== (format === undefined))
        throw corrupt(options.dir, 'writes are missing');
      const storage = new EmbeddedStorage(options, db, new WriteJournal(WRITE_BUFFER_BYTES, named?.newest ?? 0));
      await storage.#load();
      // Opening has replayed LevelDB's own log, so the old batch numbers are no longer needed.
      await storage.#batch([
        ...found.map((number): Operation => ({ type: 'del', key: journalKey(number) })),
        sealed(FORMAT_KEY, Buffer.from([FORMAT_VERSION])),
      ]);
      return storage;
    } catch (error) {
      await db.close();
      throw error instanceof AppError ? error : openingFailure(options.dir, error);
    }
  }

  private constructor(options: EmbeddedStorageOptions, db: Database, journal: WriteJournal) {
    this.#options = options;
    this.#db = db;
    this.#journal = journal;
    this.#openedAt = options.now();
  }

  topics(): readonly { readonly shape: TopicShape; readonly extents: readonly Extent[] }[] {
    return [...this.#topics.values()].map((parts) => ({
      shape: parts[0]!.topic,
      extents: parts.map(({ start, end }) => ({ start, end })),
    }));
  }

  async create(shape: TopicShape): Promise<void> {
    if (this.#topics.has(shape.name)) return;
    const topicId = this.#topics.size;
    this.#topics.set(shape.name, partsOf(shape, topicId));
    await this.#batch([sealed(topicKey(shape.name), Buffer.from(JSON.stringify({ id: topicId, shape })))]);
  }

  async write(appends: readonly Append[], positions: readonly Position[], timestamp: number): Promise<void> {
    const operations: Operation[] = [];
    const grown: { part: Part; end: Offset; bytes: number }[] = [];
    for (const { topic, partition, base, records } of appends) {
      const part = this.#part(topic, partition);
      let bytes = 0;
      let next = base;
      while (next < base + records.length) {
        this.#writer.begin(next);
        while (next < base + records.length && !this.#writer.isFull) {
          this.#writer.add(next, timestamp, records[next - base]!);
          next++;
        }
        const key = entryKey(part.topicId, partition, next - 1);
        const value = this.#writer.finish(key);
        bytes += value.length;
        operations.push({ type: 'put', key, value });
      }
      grown.push({ part, end: next, bytes });
    }
    for (const { group, place, next } of positions)
      operations.push(sealed(positionKey(group, place), Buffer.from(String(next))));
    await this.#batch(operations);
    for (const { part, end, bytes } of grown) {
      part.end = end;
      part.dirtyBytes += bytes;
    }
    for (const position of positions) this.#hold(position);
  }

  async read(
    topic: string,
    partition: Partition,
    from: Offset,
    end: Offset,
  ): Promise<{ readonly records: readonly RawRecord[]; readonly next: Offset }> {
    const part = this.#part(topic, partition);
    const found = await this.#entries(part, from, READ_BYTES);
    let records: readonly RawRecord[] = [];
    let next = Math.max(from, part.start); // Clean-up may have removed records at `from` meanwhile.
    for (const [key, value] of found) {
      const entry = readEntry(key, value);
      if (entry === undefined || entry.first > next) throw this.#damaged(part, next);
      if (entry.last < next) continue;
      const some = within(entry.records, next, end);
      records = records.length === 0 ? some : [...records, ...some];
      next = entry.last + 1;
      if (next >= end) break;
    }
    if (next <= from) throw this.#damaged(part, from);
    return { records, next: Math.min(next, end) };
  }

  start(topic: string, partition: Partition): Offset {
    return this.#part(topic, partition).start;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#cleaning.catch(() => {});
    await this.#batches;
    await this.#db.close();
  }

  /** Cleans what is due: records past their time, and compacted partitions with enough new bytes. */
  clean(): Promise<void> {
    return this.#cleanOnce((part) => this.#isDirty(part));
  }

  /** Compacts a topic now, due or not. */
  compact(topic: string): Promise<void> {
    return this.#cleanOnce((part) => part.topic.name === topic);
  }

  // ---- clean-up ----------------------------------------------------------------------------------------------------

  #cleanOnce(isDue: (part: Part) => boolean): Promise<void> {
    const cleaning = this.#cleaning
      .catch(() => {})
      .then(async () => {
        for (const part of [...this.#topics.values()].flat()) {
          if (part.topic.cleanup === 'delete') await this.#removeOld(part);
          else if (isDue(part)) await this.#compact(part);
        }
      });
    this.#cleaning = cleaning;
    return cleaning;
  }

  #isDirty(part: Part): boolean {
    const { dirtyBytes, cleanBytes } = part;
    return (
      dirtyBytes >= this.#options.dirtyBytesMin && dirtyBytes >= this.#options.dirtyRatio * (dirtyBytes + cleanBytes)
    );
  }

  /** V3 */
  async #removeOld(part: Part): Promise<void> {
    if (part.topic.retentionMs < 0) return;
    const groups = this.#positions.get(`${part.topic.name}/${part.partition}`);
    const held = Math.min(part.end, ...(groups?.values() ?? []));
    while (!this.#closed && part.start < held) {
      const operations: Operation[] = [];
      let start = part.start;
      for (const [key, value] of await this.#entries(part, start, READ_BYTES)) {
        const header = entryHeader(key, value);
        if (header === undefined || header.first > start) throw this.#damaged(part, start);
        if (header.last >= held || header.latestTime >= this.#options.now() - part.topic.retentionMs) break;
        operations.push({ type: 'del', key });
        start = header.last + 1;
      }
      if (operations.length === 0) return;
      await this.#batch([...operations, boundsOf({ ...part, start })]);
      part.start = start;
    }
  }

  /**
   * One pass over a partition: learns the last offset of each key written since the last pass, then removes all earlier
   * records of these keys.
   */
  async #compact(part: Part): Promise<void> {
    const lasts = new Map<string, Offset>();
    const end = part.end;
    let until = part.cleaned;
    let learntBytes = 0;
    while (!this.#closed && until < end && lasts.size < COMPACTED_KEYS_MAX) {
      for (const [key, value] of await this.#entries(part, until, READ_BYTES)) {
        const entry = readEntry(key, value);
        if (entry === undefined || entry.first > until) throw this.#damaged(part, until);
        if (entry.first >= end) break; // Written since the pass began.
        for (const record of entry.records)
          if (record.key !== null) lasts.set(record.key.toString('latin1'), record.offset);
        until = entry.last + 1;
        learntBytes += value.length;
      }
    }
    const writer = new EntryWriter();
    let next = part.start;
    let keptBytes = 0;
    while (next < until) {
      if (this.#closed) return;
      const step = await this.#compactStep(part, next, until, lasts, writer);
      next = step.next;
      keptBytes += step.bytes;
    }
    await this.#batch([boundsOf({ ...part, cleaned: until, cleanBytes: keptBytes })]);
    part.cleaned = until;
    part.cleanBytes = keptBytes;
    part.dirtyBytes = Math.max(0, part.dirtyBytes - learntBytes); // After opening, `dirtyBytes` is LevelDB's estimate.
  }

  /** Replaces a run of entries by one entry that covers the same offsets (V2), so that small entries are merged. */
  async #compactStep(
    part: Part,
    from: Offset,
    until: Offset,
    lasts: ReadonlyMap<string, Offset>,
    writer: EntryWriter,
  ): Promise<{ readonly next: Offset; readonly bytes: number }> {
    const operations: Operation[] = [];
    const forgotten = this.#options.now() - this.#options.tombstoneMs;
    const forgets = this.#openedAt < forgotten; // V4
    let next = from;
    writer.begin(from);
    for (const [key, value] of await this.#entries(part, from, ENTRY_BYTES_MAX)) {
      const entry = readEntry(key, value);
      if (entry === undefined || entry.first > next) throw this.#damaged(part, next);
      if (entry.first >= until) break;
      for (const record of entry.records) {
        const last = record.key === null ? undefined : lasts.get(record.key.toString('latin1'));
        if (last !== undefined && record.offset < last) continue;
        if (forgets && record.value === null && record.timestamp < forgotten) continue;
        writer.add(record.offset, record.timestamp, record);
      }
      operations.push({ type: 'del', key });
      next = entry.last + 1;
      if (writer.isFull) break;
    }
    if (operations.length === 0) throw this.#damaged(part, from);
    const key = entryKey(part.topicId, part.partition, next - 1);
    const value = writer.finish(key);
    await this.#batch([...operations, { type: 'put', key, value }]);
    return { next, bytes: value.length };
  }

  // ---- LevelDB -----------------------------------------------------------------------------------------------------

  /** Entries that hold the offsets from `from` on, about `bytes` of them. */
  async #entries(part: Part, from: Offset, bytes: number): Promise<[Buffer, Buffer][]> {
    const iterator = this.#db.iterator({
      gte: entryKey(part.topicId, part.partition, from),
      lte: entryKey(part.topicId, part.partition, OFFSET_MAX),
      highWaterMarkBytes: bytes,
    });
    try {
      return await iterator.nextv(READ_ENTRIES_MAX);
    } finally {
      await iterator.close();
    }
  }

  /** Runs one batch after the other, so that their numbers are in order in LevelDB's log. */
  #batch(operations: readonly Operation[]): Promise<void> {
    const batch = this.#batches.then(async () => {
      let bytes = 0;
      for (const each of operations) bytes += each.key.length + (each.type === 'put' ? each.value.length : 0);
      const { head, dropped } = this.#journal.next(bytes);
      await writeLevel(
        this.#db,
        [
          ...operations,
          ...dropped.map((number): Operation => ({ type: 'del', key: journalKey(number) })),
          { type: 'put', key: journalKey(head.newest), value: Buffer.alloc(0) },
          sealed(HEAD_KEY, Buffer.from(JSON.stringify(head))),
        ],
        { sync: this.#options.sync },
      );
    });
    this.#batches = batch.catch(() => {});
    return batch;
  }

  async #load(): Promise<void> {
    for await (const [key, value] of this.#db.iterator(spaceOf('t'))) {
      const { id, shape } = this.#json<{ id: number; shape: TopicShape }>(key, value);
      this.#topics.set(shape.name, partsOf(shape, id));
    }
    for await (const [key, value] of this.#db.iterator(spaceOf('p'))) {
      const [group, place] = key.subarray(1).toString('utf8').split('\0');
      this.#hold({ group: group!, place: place!, next: this.#json<number>(key, value) });
    }
    for (const part of [...this.#topics.values()].flat()) {
      const key = boundsKey(part.topicId, part.partition);
      const value = await this.#db.get(key);
      if (value !== undefined) Object.assign(part, this.#json<Bounds>(key, value));
      const last = await this.#db
        .keys({
          gte: entryKey(part.topicId, part.partition, 0),
          lte: entryKey(part.topicId, part.partition, OFFSET_MAX),
          reverse: true,
          limit: 1,
        })
        .all();
      if (last[0] !== undefined) part.end = Math.max(part.end, last[0].readUIntBE(5, 6) + 1);
      part.dirtyBytes = await this.#db.approximateSize(
        entryKey(part.topicId, part.partition, part.cleaned),
        entryKey(part.topicId, part.partition, OFFSET_MAX),
      );
    }
  }

  #hold({ group, place, next }: Position): void {
    const groups = this.#positions.get(place) ?? new Map<string, Offset>();
    groups.set(group, next);
    this.#positions.set(place, groups);
  }

  #json<Value>(key: Buffer, value: Buffer): Value {
    const bytes = unseal(crc32, key, value);
    if (bytes === undefined) throw corrupt(this.#options.dir, `the value of ${key.toString('latin1')} is damaged`);
    return JSON.parse(bytes.toString('utf8')) as Value;
  }

  #part(topic: string, partition: Partition): Part {
    return this.#topics.get(topic)![partition]!;
  }

  #damaged(part: Part, offset: Offset): AppError {
    return corrupt(this.#options.dir, `${part.topic.name}/${part.partition} cannot be read at offset ${offset}`);
  }
}

function partsOf(topic: TopicShape, topicId: number): Part[] {
  return Array.from({ length: topic.partitions }, (_, partition) => ({
    topic,
    topicId,
    partition,
    start: 0,
    end: 0,
    cleaned: 0,
    cleanBytes: 0,
    dirtyBytes: 0,
  }));
}

function within(records: readonly RawRecord[], from: Offset, end: Offset): readonly RawRecord[] {
  const first = records[0];
  if (first === undefined || (first.offset >= from && records.at(-1)!.offset < end)) return records;
  return records.filter(({ offset }) => offset >= from && offset < end);
}

async function valueAt(db: Database, key: Buffer): Promise<Buffer | undefined> {
  const value = await db.get(key);
  if (value === undefined) return undefined;
  const bytes = unseal(crc32, key, value);
  if (bytes === undefined) throw corrupt(db.location, `the value of ${key.toString('latin1')} is damaged`);
  return bytes;
}

const sealed = (key: Buffer, value: Buffer): Operation => ({ type: 'put', key, value: seal(crc32, key, value) });
const topicKey = (name: string): Buffer => Buffer.from(`t${name}`);
const positionKey = (group: string, place: string): Buffer => Buffer.from(`p${group}\0${place}`);

function boundsKey(topicId: number, partition: Partition): Buffer {
  const key = entryKey(topicId, partition, 0).subarray(0, 5);
  key[0] = 0x62; // 'b'
  return key;
}

function boundsOf(part: Part): Operation {
  const { start, end, cleaned, cleanBytes } = part;
  const bounds: Bounds = { start, end, cleaned, cleanBytes };
  return sealed(boundsKey(part.topicId, part.partition), Buffer.from(JSON.stringify(bounds)));
}

function journalKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(7);
  key[0] = 0x6a; // 'j'
  key.writeUIntBE(number, 1, 6);
  return key;
}

/** All keys that begin with a letter. */
const spaceOf = (letter: string) => ({
  gte: Buffer.from(letter),
  lt: Buffer.from(String.fromCharCode(letter.charCodeAt(0) + 1)),
});

function corrupt(dir: string, what: string): AppError {
  return new AppError(
    'STORE_CORRUPT',
    `the embedded log in ${dir} is damaged: ${what}. Restore the folder from a backup, or remove it to start empty`,
    { dir, what },
  );
}

function openingFailure(dir: string, error: unknown): AppError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  if (cause?.code === 'LEVEL_LOCKED')
    return new AppError(
      'LOG_UNAVAILABLE',
      `the embedded log in ${dir} is in use by another process: stop it, or choose another folder`,
      { dir },
      error,
    );
  const reason = cause?.message ?? (error as Error).message;
  if (cause?.code === 'LEVEL_CORRUPTION' || /corrupt|no such file|missing|not a|invalid/i.test(reason))
    return corrupt(dir, reason);
  return new AppError('LOG_UNAVAILABLE', `the embedded log in ${dir} cannot be opened: ${reason}`, { dir }, error);
}
