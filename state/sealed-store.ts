// Sealed store: the Store contract over an ordered key-value engine that makes one batch atomic. The engines under
// edge/ differ only in their calls; what is stored, and how damage is detected, is here.
//
//   keys    r<row key> · m the mark · f the format version · j<number> and h the write journal (write-journal.ts)
//   values  sealed (seal.ts): a value that was changed, or lies under a wrong key, is refused
//
//   Damage inside the engine's own files is found by table-sums.ts before the engine opens them.
//
//   Durability: a write survives the death of the process at once, as the engine hands its write-ahead log to the
//   operating system. It survives a power failure only with `sync`, which costs an fsync for each write. The default is
//   no sync, since the changelog is the durable copy: writes that were lost are replayed from the mark, which is lost
//   with them (store.ts S1).

import { AppError } from '../schemas/errors.ts';
import { type Checksum, seal, unseal } from './seal.ts';
import { type Change, type Mark, STORE_FORMAT_VERSION, type Store } from './store.ts';
import { type EngineName, type StoreFiles, TableSums } from './table-sums.ts';
import { isWhole, type JournalHead, WriteJournal } from './write-journal.ts';

export type Operation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };

/** An ordered key-value engine, open. Rejects with the engine's own errors. */
export interface Engine {
  /** Its write-ahead log holds at most two of these: a full write buffer, and one that is being written out. */
  readonly writeBufferBytes: number;
  get(key: Buffer): Promise<Buffer | undefined>;
  getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | undefined)[]>;
  /** Entries with `from` <= key < `to`, ascending, as of the call. */
  entries(from: Buffer, to: Buffer): AsyncIterable<readonly [key: Buffer, value: Buffer]>;
  batch(operations: readonly Operation[]): Promise<void>;
  close(): Promise<void>;
}

const FORMAT_KEY = Buffer.from('f');
const HEAD_KEY = Buffer.from('h');
const MARK_KEY = Buffer.from('m');
const ROW = Buffer.from('r');
const ZERO = Buffer.alloc(1);
/** Removals in one batch when a store is cleared. */
const CLEARED_PER_BATCH = 10_000;
/** Writes between two recordings of the table files: about a quarter of a minute at the usual pace of commits. */
const WRITES_PER_RECORD = 64;

/** Opens the store in `files` with the engine that `openEngine` opens there. Throws STORE_CORRUPT, STORE_FORMAT or STORE_UNAVAILABLE. */
export async function sealedStore(
  name: string,
  files: StoreFiles,
  openEngine: () => Promise<Engine>,
  checksum: Checksum,
): Promise<Store> {
  const tables = new TableSums(files, checksum);
  await trusted(name, () => checkEngine(name, files));
  await trusted(name, () => tables.compare());
  const engine = await trusted(name, openEngine);
  try {
    const store = await SealedStore.open(engine, name, checksum, tables);
    await tables.record();
    return store;
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/** Either engine opens the other's folder, and would then find rows missing or damaged. */
async function checkEngine(name: string, files: StoreFiles): Promise<void> {
  const found = engineOf(await files.list());
  if (found === undefined || found === files.engine) return;
  throw new AppError(
    'STORE_FORMAT',
    `the local store ${name} was made by the engine ${found}, and FORESHARD_STORE_ENGINE is ${files.engine}: it is rebuilt from the changelog, once; there is nothing to do`,
    { store: name, found, expected: files.engine },
  );
}

/**
 * Recognised by files that an engine creates first: CURRENT is in the folders of both, IDENTITY in those of RocksDB.
 */
function engineOf(files: readonly string[]): EngineName | undefined {
  if (files.includes('IDENTITY')) return 'rocksdb';
  return files.includes('CURRENT') ? 'level' : undefined;
}

class SealedStore implements Store {
  readonly #engine: Engine;
  readonly #name: string;
  readonly #checksum: Checksum;
  readonly #journal: WriteJournal;
  readonly #tables: TableSums;
  #writesUnrecorded = 0;
  #writes: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;

  static async open(engine: Engine, name: string, checksum: Checksum, tables: TableSums): Promise<SealedStore> {
    const read = async (key: Buffer): Promise<Buffer | undefined> => {
      const sealed = await trusted(name, () => engine.get(key));
      if (sealed === undefined) return undefined;
      const value = unseal(checksum, key, sealed);
      if (value === undefined) throw corrupt(name, `its ${key.toString('latin1')} value does not match its checksum`);
      return value;
    };
    const format = await read(FORMAT_KEY);
    if (format !== undefined && format[0] !== STORE_FORMAT_VERSION)
      throw new AppError(
        'STORE_FORMAT',
        `the local store ${name} has format ${format[0]}, and this program reads format ${STORE_FORMAT_VERSION}: it is rebuilt from the changelog`,
        { store: name, found: format[0], expected: STORE_FORMAT_VERSION },
      );
    const head = await read(HEAD_KEY);
    const found = await trusted(name, async () => {
      const numbers: number[] = [];
      for await (const [key] of engine.entries(Buffer.from('j'), Buffer.from('k'))) numbers.push(key.readUIntBE(1, 6));
      return numbers;
    });
    const named = head === undefined ? undefined : (JSON.parse(head.toString('utf8')) as JournalHead);
    if (!isWhole(named, found) || (named === undefined) !== (format === undefined))
      throw corrupt(name, 'writes are missing from it');
    if (named === undefined && (await hasAny(engine, name))) throw corrupt(name, 'it has rows but no format');
    const store = new SealedStore(engine, name, checksum, tables, named?.newest ?? 0);
    // Opening has moved everything from the engine's own log to tables, so the old numbers are no longer needed.
    await store.#batch([
      ...found.map((number): Operation => ({ type: 'del', key: journalKey(number) })),
      store.#sealed(FORMAT_KEY, Buffer.from([STORE_FORMAT_VERSION])),
    ]);
    return store;
  }

  private constructor(engine: Engine, name: string, checksum: Checksum, tables: TableSums, newest: number) {
    this.#engine = engine;
    this.#name = name;
    this.#checksum = checksum;
    this.#tables = tables;
    this.#journal = new WriteJournal(engine.writeBufferBytes, newest);
  }

  async get(key: string): Promise<Buffer | undefined> {
    this.#mustBeOpen();
    return this.#valueAt(rowKey(key));
  }

  async getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    this.#mustBeOpen();
    const at = keys.map(rowKey);
    const found = await trusted(this.#name, () => this.#engine.getMany(at));
    return found.map((sealed, i) => (sealed === undefined ? undefined : this.#unseal(at[i]!, sealed)));
  }

  entries(prefix: string, behind?: string): AsyncIterable<readonly [key: string, value: Buffer]> {
    this.#mustBeOpen();
    const whole = rowKey(prefix);
    const next = behind === undefined ? whole : Buffer.concat([rowKey(behind), ZERO]);
    const from = Buffer.compare(next, whole) > 0 ? next : whole;
    const found = this.#engine.entries(from, after(whole)); // Called now: the caller is promised the state as of the call.
    return this.#opened(found);
  }

  async write(changes: readonly Change[], mark: Mark): Promise<void> {
    this.#mustBeOpen();
    const operations = changes.map(({ key, value }): Operation => {
      const at = rowKey(key);
      return value === undefined ? { type: 'del', key: at } : this.#sealed(at, value);
    });
    operations.push(this.#sealed(MARK_KEY, Buffer.from(JSON.stringify(mark))));
    await this.#batch(operations);
  }

  async mark(): Promise<Mark | undefined> {
    this.#mustBeOpen();
    const value = await this.#valueAt(MARK_KEY);
    return value === undefined ? undefined : (JSON.parse(value.toString('utf8')) as Mark);
  }

  async clear(): Promise<void> {
    this.#mustBeOpen();
    // The mark is removed first: a store that was cleared in part is rebuilt from the start.
    let operations: Operation[] = [{ type: 'del', key: MARK_KEY }];
    await trusted(this.#name, async () => {
      for await (const [key] of this.#engine.entries(ROW, after(ROW))) {
        operations.push({ type: 'del', key });
        if (operations.length < CLEARED_PER_BATCH) continue;
        await this.#batch(operations);
        operations = [];
      }
    });
    await this.#batch(operations);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writes;
    await this.#engine.close();
    await this.#tables.record();
  }

  async #valueAt(key: Buffer): Promise<Buffer | undefined> {
    const sealed = await trusted(this.#name, () => this.#engine.get(key));
    return sealed === undefined ? undefined : this.#unseal(key, sealed);
  }

  async *#opened(
    found: AsyncIterable<readonly [Buffer, Buffer]>,
  ): AsyncIterable<readonly [key: string, value: Buffer]> {
    const iterator = found[Symbol.asyncIterator]();
    try {
      for (;;) {
        this.#mustBeOpen();
        const next = await trusted(this.#name, () => iterator.next());
        if (next.done) return;
        const [key, value] = next.value;
        yield [key.toString('utf8', ROW.length), this.#unseal(key, value)];
      }
    } finally {
      await iterator.return?.();
    }
  }

  /** Runs one batch after the other, so that their numbers are in order in the engine's log. */
  #batch(operations: readonly Operation[]): Promise<void> {
    const batch = this.#writes.then(async () => {
      let bytes = 0;
      for (const each of operations) bytes += each.key.length + (each.type === 'put' ? each.value.length : 0);
      const { head, dropped } = this.#journal.next(bytes);
      await trusted(this.#name, () =>
        this.#engine.batch([
          ...operations,
          ...dropped.map((number): Operation => ({ type: 'del', key: journalKey(number) })),
          { type: 'put', key: journalKey(head.newest), value: Buffer.alloc(0) },
          this.#sealed(HEAD_KEY, Buffer.from(JSON.stringify(head))),
        ]),
      );
      if (++this.#writesUnrecorded < WRITES_PER_RECORD) return;
      this.#writesUnrecorded = 0;
      await trusted(this.#name, () => this.#tables.record());
    });
    this.#writes = batch.catch(() => {});
    return batch;
  }

  #sealed(key: Buffer, value: Buffer): Operation {
    return { type: 'put', key, value: seal(this.#checksum, key, value) };
  }

  #unseal(key: Buffer, sealed: Buffer): Buffer {
    const value = unseal(this.#checksum, key, sealed);
    if (value === undefined) throw corrupt(this.#name, 'a row does not match its checksum');
    return value;
  }

  #mustBeOpen(): void {
    if (this.#closing !== undefined) throw new AppError('STORE_CLOSED', `the local store ${this.#name} is closed`);
  }
}

/** The failure of an engine that cannot be read, as an AppError. */
function engineFailure(name: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  const reasons: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause) reasons.push(each.message);
  const reason = reasons.join(': ');
  if (/lock/i.test(reason) && !/corrupt/i.test(reason))
    return new AppError(
      'STORE_UNAVAILABLE',
      `the local store ${name} is in use by another process: ${reason}`,
      { store: name },
      error,
    );
  if (/no space|permission denied|read-only|too many open files|input\/output error/i.test(reason))
    return new AppError(
      'STORE_UNAVAILABLE',
      `the disk of the local store ${name} refuses: ${reason}`,
      { store: name },
      error,
    );
  return corrupt(name, reason, error);
}

async function trusted<Result>(name: string, call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw engineFailure(name, error);
  }
}

function corrupt(name: string, what: string, cause?: unknown): AppError {
  return new AppError(
    'STORE_CORRUPT',
    `the local store ${name} cannot be trusted: ${what}. It is rebuilt from the changelog`,
    { store: name },
    cause,
  );
}

async function hasAny(engine: Engine, name: string): Promise<boolean> {
  return trusted(name, async () => {
    for await (const _ of engine.entries(Buffer.alloc(1), Buffer.from([0xff]))) return true;
    return false;
  });
}

function rowKey(key: string): Buffer {
  return Buffer.from(`r${key}`, 'utf8');
}

function journalKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(7);
  key[0] = 0x6a; // 'j'
  key.writeUIntBE(number, 1, 6);
  return key;
}

/** The first key after all that begin with `prefix`. No prefix ends in 0xff, since it is UTF-8. */
function after(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}
