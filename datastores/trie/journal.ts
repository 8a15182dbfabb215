// Journal: the files of a trie shard. A folder holds at most one snapshot and the logs since it, numbered by
// generation:
//
//   snapshot.<g>    the state at some time after log.<g> began, ended by an `end` record log.<g> ...     every change
//   since then, in order; the newest is written to
//
//   J1. `append` resolves when the record is in the newest log, and on the disk when `sync` is set.
//   J2. A snapshot is written beside the running log and renamed when it is complete. Only then are older files
//       removed.
//   J3. A snapshot is fuzzy: it may contain changes that are in log.<g> too. Replaying changes in order from
//       any state in between gives the same final state: a row is replaced only by a higher version, an erasure erases.
//   J4. At opening, a torn frame at the end of the newest log is cut off; any other damage is refused with
//       STORE_CORRUPT (F1 and F2 of journal-records.ts), a folder of another version with STORE_FORMAT.
//   J5. An error of the disk is STORE_UNAVAILABLE, never a bug: with a full disk only the write that met it fails. When
//       a log or snapshot cannot be started or finished, the older ones stay as they are; it is reported, and tried
//       again some records later.

import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../schemas/errors.ts';
import { isOfDisk } from '../disk-error.ts';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import { corrupt, FRAME_HEADER_BYTES, frameOf, type JournalRecord, payloadBytes, recordIn } from './journal-records.ts';

/** Ends in the version of the format. */
const MAGIC = Buffer.from('fs-trie1');
const READ_BYTES = 1024 * 1024;
/** After a failed snapshot, the next one is tried when at least this much more was written. */
const RETRY_BYTES_MIN = 64 * 1024;

export interface JournalSettings {
  /** True: a change waits for the disk. False: it survives the end of the process, but not a power failure. */
  readonly sync: boolean;
  /** A snapshot is due when the logs since the last one are longer than this. */
  readonly snapshotBytes: number;
  /** Called for each snapshot that could not be taken (J5). */
  readonly snapshotFailed: (failure: AppError) => void;
}

export class Journal {
  readonly #folder: string;
  readonly #settings: JournalSettings;
  #generation: number;
  #log: FileHandle;
  #logBytes: number;
  /** Length of the logs since the last snapshot, including the newest. */
  #bytesSinceSnapshot: number;
  readonly #lock: FolderLock;
  #snapshot: Promise<void> | undefined;
  /** After a failed snapshot: the length of the logs at which the next one is tried. */
  #retryBytes = 0;
  #failure: unknown;

  private constructor(folder: string, settings: JournalSettings, lock: FolderLock, log: FileHandle, found: Found) {
    this.#lock = lock;
    this.#folder = folder;
    this.#settings = settings;
    this.#log = log;
    this.#generation = found.generation;
    this.#logBytes = found.logBytes;
    this.#bytesSinceSnapshot = found.bytesSinceSnapshot;
  }

  /** Passes every record of the folder to `replay`, in order, and then opens it for appending unless `admit` throws. */
  static async open(
    folder: string,
    settings: JournalSettings,
    replay: (record: JournalRecord) => void,
    admit: () => void = () => {},
  ): Promise<Journal> {
    const lock = await refusedByDisk('cannot be opened', async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      return lockFolder(folder);
    });
    try {
      return await refusedByDisk('cannot be opened', async () => {
        const found = await recover(folder, replay);
        admit();
        const log = await openLog(folder, found.generation, found.logBytes);
        return new Journal(folder, settings, lock, log, { ...found, logBytes: Math.max(found.logBytes, MAGIC.length) });
      });
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** J1. One call at a time. After a failure that could not be undone every call throws STORE_UNAVAILABLE. */
  async append(record: JournalRecord): Promise<void> {
    if (this.#failure !== undefined) throw unavailable('an earlier write left the log unusable', this.#failure);
    const frame = frameOf(record);
    try {
      await writeAll(this.#log, frame, this.#logBytes);
      if (this.#settings.sync) await this.#log.datasync();
    } catch (error) {
      // Otherwise half a frame would stand before the next one.
      await this.#log.truncate(this.#logBytes).catch((failure) => {
        this.#failure = failure;
      });
      throw unavailable('the log cannot be written', error);
    }
    this.#logBytes += frame.length;
    this.#bytesSinceSnapshot += frame.length;
  }

  get isSnapshotDue(): boolean {
    const dueBytes = Math.max(this.#settings.snapshotBytes, this.#retryBytes);
    return this.#snapshot === undefined && this.#bytesSinceSnapshot > dueBytes;
  }

  /**
   * Starts a new log and writes a snapshot beside it. Resolves when the new log is in use, or could not be created
   * (J5); `append` must not be called meanwhile. `records` yields the state piece by piece, each as of the time it is
   * asked for.
   */
  async beginSnapshot(records: () => AsyncIterable<JournalRecord>): Promise<void> {
    const generation = this.#generation + 1;
    const before = this.#bytesSinceSnapshot;
    const failed = (error: unknown): void => {
      this.#retryBytes = this.#bytesSinceSnapshot + Math.max(RETRY_BYTES_MIN, this.#settings.snapshotBytes / 8);
      this.#settings.snapshotFailed(unavailable('a snapshot cannot be taken', error));
    };
    try {
      await this.#begin(generation);
    } catch (error) {
      failed(error);
      return;
    }
    this.#bytesSinceSnapshot = 0;
    this.#snapshot = writeSnapshot(this.#folder, generation, records)
      .then(
        () => {
          this.#retryBytes = 0;
        },
        async (error) => {
          await rm(join(this.#folder, `snapshot.${generation}.new`), { force: true }).catch(() => {});
          this.#bytesSinceSnapshot += before; // The older logs are still there, and read again at a start.
          if (!(error instanceof AppError && error.code === 'STORE_CLOSED')) failed(error);
        },
      )
      .finally(() => {
        this.#snapshot = undefined;
      });
  }

  /** Switches to a new log; when that fails, the previous one stays the newest. */
  async #begin(generation: number): Promise<void> {
    let log: FileHandle | undefined;
    try {
      await this.#log.datasync();
      log = await openLog(this.#folder, generation, 0);
      await syncFolder(this.#folder);
    } catch (error) {
      await log?.close().catch(() => {});
      // With a newer log after it, this one would have to be complete (J4).
      await rm(join(this.#folder, `log.${generation}`), { force: true }).catch((failure) => {
        this.#failure = failure;
      });
      throw error;
    }
    const before = this.#log;
    this.#log = log;
    this.#generation = generation;
    this.#logBytes = MAGIC.length;
    await before.close().catch(() => {}); // All of it is on the disk.
  }

  /** Resolves when no snapshot is being written. */
  async settled(): Promise<void> {
    await this.#snapshot;
  }

  async close(): Promise<void> {
    await this.settled();
    await this.#log.close();
    await this.#lock.release();
  }
}

interface Found {
  readonly generation: number;
  readonly logBytes: number;
  readonly bytesSinceSnapshot: number;
}

async function recover(folder: string, replay: (record: JournalRecord) => void): Promise<Found> {
  const names = await readdir(folder);
  const snapshots = generationsOf(names, 'snapshot');
  const first = snapshots.at(-1) ?? 0;
  const logs = generationsOf(names, 'log').filter((generation) => generation >= first);
  const newest = logs.at(-1) ?? first;
  if (snapshots.length > 0 || logs.length > 0) {
    for (let generation = first; generation <= newest; generation++)
      if (!logs.includes(generation)) throw corrupt('a log is missing', { generation });
  }
  if (snapshots.length > 0) await readSnapshot(join(folder, `snapshot.${first}`), replay);
  let bytesSinceSnapshot = 0;
  let logBytes = 0;
  for (const generation of logs) {
    logBytes = await readFrames(join(folder, `log.${generation}`), generation === newest, replay);
    bytesSinceSnapshot += logBytes;
  }
  const kept = new Set([`snapshot.${first}`, ...logs.map((generation) => `log.${generation}`)]);
  for (const name of names)
    if (/^(snapshot|log)\./.test(name) && !kept.has(name)) await rm(join(folder, name), { force: true });
  return { generation: newest, logBytes, bytesSinceSnapshot };
}

function generationsOf(names: readonly string[], kind: string): number[] {
  return names
    .map((name) => new RegExp(`^${kind}\\.(\\d+)$`).exec(name)?.[1])
    .filter((text) => text !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

async function readSnapshot(path: string, replay: (record: JournalRecord) => void): Promise<void> {
  let records = 0;
  let ended = false;
  await readFrames(path, false, (record) => {
    if (record.kind === 'end') ended = record.records === records;
    else {
      records += 1;
      replay(record);
    }
  });
  if (!ended) throw corrupt('the snapshot does not end as it should');
}

/** Replays the file's records; returns the length of its intact part. With `mayBeTorn` the rest is ignored. */
async function readFrames(path: string, mayBeTorn: boolean, replay: (record: JournalRecord) => void): Promise<number> {
  const file = await open(path, 'r');
  try {
    const bytes = pieces(file);
    const torn = (whole: number): number => {
      if (mayBeTorn) return whole;
      throw corrupt('a file ends within a record', { file: path });
    };
    const magic = await bytes.take(MAGIC.length);
    if (magic === undefined) return torn(0);
    if (!magic.equals(MAGIC))
      throw new AppError('STORE_FORMAT', 'the folder was made by another version', { file: path });
    for (let whole = MAGIC.length; ; ) {
      const header = await bytes.take(FRAME_HEADER_BYTES);
      if (header === undefined) return bytes.left() === 0 ? whole : torn(whole);
      const length = payloadBytes(header);
      const payload = await bytes.take(length);
      if (payload === undefined) return torn(whole);
      replay(recordIn(header, payload));
      whole += FRAME_HEADER_BYTES + length;
    }
  } finally {
    await file.close();
  }
}

/** Reads a file from its start: `take` returns the next `bytes` bytes, or `undefined` when there are fewer. */
function pieces(file: FileHandle): { take(bytes: number): Promise<Buffer | undefined>; left(): number } {
  let held = Buffer.alloc(0);
  let ended = false;
  return {
    async take(bytes) {
      while (held.length < bytes && !ended) {
        const more = Buffer.allocUnsafe(Math.min(Math.max(READ_BYTES, bytes - held.length), 64 * READ_BYTES));
        const { bytesRead } = await file.read(more, 0, more.length);
        ended = bytesRead === 0;
        held = Buffer.concat([held, more.subarray(0, bytesRead)]);
      }
      if (held.length < bytes) return undefined;
      const taken = held.subarray(0, bytes);
      held = held.subarray(bytes);
      return taken;
    },
    left: () => held.length,
  };
}

async function openLog(folder: string, generation: number, wholeBytes: number): Promise<FileHandle> {
  const path = join(folder, `log.${generation}`);
  const log = await open(path, wholeBytes === 0 ? 'w' : 'r+', 0o600);
  try {
    if (wholeBytes === 0) await writeAll(log, MAGIC, 0);
    else await log.truncate(wholeBytes);
    await log.datasync();
    if (wholeBytes === 0) await syncFolder(folder);
    return log;
  } catch (error) {
    await log.close().catch(() => {});
    throw error;
  }
}

/** J2. */
async function writeSnapshot(
  folder: string,
  generation: number,
  records: () => AsyncIterable<JournalRecord>,
): Promise<void> {
  const path = join(folder, `snapshot.${generation}`);
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    let bytes = await writeAll(file, MAGIC, 0);
    let count = 0;
    for await (const record of records()) {
      bytes = await writeAll(file, frameOf(record), bytes);
      count += 1;
    }
    await writeAll(file, frameOf({ kind: 'end', records: count }), bytes);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  await syncFolder(folder);
  for (const name of await readdir(folder)) {
    const old = /^(?:snapshot|log)\.(\d+)$/.exec(name)?.[1];
    if (old !== undefined && Number(old) < generation) await rm(join(folder, name), { force: true });
  }
}

/** Writes all bytes, since one call may write only a part; returns the position after them. */
async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<number> {
  for (let written = 0; written < bytes.length; )
    written += (await file.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  return position + bytes.length;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** J5. */
async function refusedByDisk<Result>(why: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isOfDisk(error) ? unavailable(why, error) : error;
  }
}

const unavailable = (why: string, cause: unknown): AppError =>
  new AppError('STORE_UNAVAILABLE', `a trie shard: ${why}`, {}, cause);
