// Outbox file: an outbox in numbered files `events.<n>`, of which the newest is written to.
//
//   X1. Entries are appended as one frame. `append` resolves when it is in the newest file, and on the disk when `sync`
//       is set. A frame that could not be written whole is cut off again.
//   X2. How far entries were removed is written behind the last frame, and the next entries overwrite it and say it
//       themselves. So at any time at most the last frame of the newest file is not on the disk. (Without `sync` that
//       holds for the end of the process, and not for a power failure.)
//   X3. A file is removed when all its entries are, and a frame that stays says so on the disk. A new one is begun when
//       the newest is large enough, and everything before it is on the disk then.
//   X4. At opening, what is not whole at the end of the newest file was never acknowledged: it is cut off and counted.
//       Damage anywhere else is STORE_CORRUPT, and the outbox is left as it is. (Without `sync` everything after the
//       first damage in the newest file is cut off: a power failure may have left it.)
//   X5. Entries of another broker or fleet are never sent: opening throws CONFIG_INVALID.

import { isOfDisk } from '../../datastores/disk-error.ts';
import { Serial } from '../../datastores/serial.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Outbox, OutboxEntry } from '../outbox.ts';
import type { OutboxDisk, OutboxFile } from './outbox-disk.ts';
import { eventsFrame, eventsIn, frameAt, hasFrameFrom, headerFrame, headerIn, MAGIC } from './outbox-records.ts';

export interface OutboxFileSettings {
  /** Whose events these are: the broker and its fleet (X5). */
  readonly owner: string;
  /** True: entries wait for the disk. False: they survive the end of the process, but not a power failure. */
  readonly sync: boolean;
  /** A new file is begun when the newest is at least this large. */
  readonly fileBytes: number;
  /** Called when the files are closed. */
  readonly closed?: () => Promise<void>;
}

/** One file, and the part of it that holds entries. */
interface Part {
  readonly number: number;
  readonly file: OutboxFile;
  /** Number of its first entry. */
  readonly first: number;
  /** Where its first frame after the header begins. */
  readonly begin: number;
  /** Where its last frame ends, but for one that may be overwritten (X2). */
  end: number;
}

/** Up to where entries were returned: the frame before this place was the last one. */
interface Place {
  readonly part: Part;
  readonly at: number;
  /** Number of the entry at this place. */
  readonly entry: number;
}

/** Of entries read at a time; one frame may be larger. */
const READ_BYTES = 1024 * 1024;

export async function openOutboxFile(disk: OutboxDisk, settings: OutboxFileSettings): Promise<Outbox> {
  return onDisk('cannot be opened', () => OutboxFiles.open(disk, settings));
}

class OutboxFiles implements Outbox {
  readonly #disk: OutboxDisk;
  readonly #settings: OutboxFileSettings;
  readonly #serial = new Serial();
  /** Oldest first; never empty. */
  readonly #parts: Part[];
  /** Number of the next entry. */
  #next: number;
  /** Where the oldest entry is. */
  #head: Place;
  /** Where what `oldest` has returned ends. */
  #read: Place;
  #sessionEpoch: number;
  #failure: unknown;
  readonly cutBytes: number;

  private constructor(disk: OutboxDisk, settings: OutboxFileSettings, found: Found) {
    this.#disk = disk;
    this.#settings = settings;
    this.#parts = found.parts;
    this.#next = found.next;
    this.#sessionEpoch = found.sessionEpoch;
    this.#head = found.head;
    this.#read = found.head;
    this.cutBytes = found.cutBytes;
  }

  static async open(disk: OutboxDisk, settings: OutboxFileSettings): Promise<Outbox> {
    const opened: OutboxFile[] = [];
    try {
      const outbox = new OutboxFiles(disk, settings, await recover(disk, settings, opened));
      await outbox.#dropRemoved();
      return outbox;
    } catch (error) {
      for (const file of opened) await file.close().catch(() => {});
      throw error;
    }
  }

  get length(): number {
    return this.#next - this.#head.entry;
  }

  get sizeBytes(): number {
    const { part: oldest, at } = this.#head;
    return this.#parts.reduce((sum, part) => sum + part.end - (part === oldest ? at : part.begin), 0);
  }

  get sessionEpoch(): number {
    return this.#sessionEpoch;
  }

  append(entries: readonly OutboxEntry[]): Promise<void> {
    return this.#onDisk('cannot be written', async () => {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#newest.end >= this.#settings.fileBytes) await this.#begin();
      const { file, end } = this.#newest;
      const frame = eventsFrame({ removed: this.#head.entry, entries });
      try {
        await file.write(frame, end);
        if (this.#settings.sync) await file.sync();
      } catch (error) {
        await this.#cutOff(error); // X1
        throw error;
      }
      this.#newest.end += frame.length;
      this.#next += entries.length;
      for (const { sessionEpoch } of entries) this.#sessionEpoch = Math.max(this.#sessionEpoch, sessionEpoch);
    });
  }

  oldest(): Promise<readonly OutboxEntry[]> {
    return this.#onDisk('cannot be read', async () => {
      const entries: OutboxEntry[] = [];
      let place = this.#head;
      while (entries.length === 0 && place.entry < this.#next) {
        if (place.at === place.part.end) place = startOf(this.#after(place.part));
        place = await this.#readFrom(place, entries);
      }
      this.#read = place;
      return entries;
    });
  }

  removeOldest(): Promise<void> {
    return this.#onDisk('cannot be written', async () => {
      this.#head = this.#read;
      const { file, end } = this.#newest;
      try {
        await file.write(this.#mark(), end); // X2
        await this.#dropRemoved();
      } catch (error) {
        if (!isOfDisk(error)) throw error; // The next entries say it; until then some may be sent again.
      }
    });
  }

  async close(): Promise<void> {
    await this.#serial.idle();
    this.#failure ??= new AppError('STORE_CLOSED', 'the outbox has been closed');
    for (const { file } of this.#parts) await file.close();
    await this.#settings.closed?.();
  }

  get #newest(): Part {
    return this.#parts.at(-1)!;
  }

  #after(part: Part): Part {
    return this.#parts[this.#parts.indexOf(part) + 1]!;
  }

  /** Adds whole frames from this place on, and returns where they end. */
  async #readFrom({ part, at, entry }: Place, entries: OutboxEntry[]): Promise<Place> {
    let bytes = await part.file.read(at, Math.min(READ_BYTES, part.end - at));
    const first = frameAt(bytes, 0);
    if (typeof first === 'number') bytes = await part.file.read(at, Math.min(first, part.end - at));
    let done = 0;
    let next = entry;
    while (done < bytes.length) {
      const frame = frameAt(bytes, done);
      if (typeof frame === 'number' && done > 0) break; // The rest of it was not read.
      if (typeof frame !== 'object') throw corrupt('an entry has changed since it was written', part.number);
      const events = eventsIn(frame.payload);
      for (const each of events.entries) entries.push(each);
      done += frame.sizeBytes;
      next += events.entries.length;
    }
    return { part, at: at + done, entry: next };
  }

  #mark(): Buffer {
    return eventsFrame({ removed: this.#head.entry, entries: [] });
  }

  /** X3: begins a new file. */
  async #begin(): Promise<void> {
    const before = this.#newest;
    await before.file.sync();
    const header = { owner: this.#settings.owner, first: this.#next, sessionEpoch: this.#sessionEpoch };
    this.#parts.push(await created(this.#disk, before.number + 1, header));
  }

  /** X3: removes files without entries that wait. */
  async #dropRemoved(): Promise<void> {
    const { part, at } = this.#head;
    const isDone = at === part.end && part !== this.#newest;
    const count = this.#parts.indexOf(part) + (isDone ? 1 : 0);
    if (count === 0) return;
    const mark = this.#mark();
    await this.#newest.file.write(mark, this.#newest.end);
    await this.#newest.file.sync();
    this.#newest.end += mark.length;
    const dropped = this.#parts.splice(0, count);
    if (isDone) this.#head = startOf(this.#parts[0]!);
    this.#read = this.#head;
    for (const { file, number } of dropped) {
      await file.close();
      await this.#disk.remove(nameOf(number));
    }
  }

  /** Otherwise half a frame would lie behind the last one. */
  async #cutOff(cause: unknown): Promise<void> {
    const { file, end } = this.#newest;
    await file.truncate(end).catch(() => {
      this.#failure = cause;
    });
  }

  #onDisk<Result>(why: string, work: () => Promise<Result>): Promise<Result> {
    return this.#serial.run(() => onDisk(why, work));
  }
}

interface Found {
  readonly parts: Part[];
  readonly next: number;
  readonly head: Place;
  readonly sessionEpoch: number;
  readonly cutBytes: number;
}

/** X4. Files that it has opened are in `opened`. */
async function recover(disk: OutboxDisk, settings: OutboxFileSettings, opened: OutboxFile[]): Promise<Found> {
  const { owner } = settings;
  const numbers = numbersOf(await disk.names());
  const run = lastRun(numbers);
  const parts: Part[] = [];
  let next = 0;
  let removed = 0;
  let sessionEpoch = 0;
  let cutBytes = 0;
  const places: Place[] = [];
  for (const number of run) {
    const isNewest = number === run.at(-1);
    const file = await disk.open(nameOf(number));
    opened.push(file);
    const bytes = await file.read(0, await file.sizeBytes());
    const head = bytes.length < MAGIC.length ? MAGIC.length : frameAt(bytes, MAGIC.length);
    if (bytes.length >= MAGIC.length && !bytes.subarray(0, MAGIC.length).equals(MAGIC) && !isZero(bytes))
      throw new AppError('STORE_FORMAT', 'the outbox was made by another version', { file: nameOf(number) });
    if (typeof head !== 'object') {
      if (!isNewest || hasFrameFrom(bytes, 0)) throw corrupt('a file has no header', number);
      cutBytes += bytes.length; // It was being begun: no entry was ever in it.
      await file.close();
      opened.pop();
      await disk.remove(nameOf(number));
      break;
    }
    const header = headerIn(head.payload);
    if (header.owner !== owner) throw ofAnother(header.owner, owner);
    if (parts.length > 0 && header.first !== next) throw corrupt('entries are missing', number);
    next = header.first;
    sessionEpoch = Math.max(sessionEpoch, header.sessionEpoch);
    const begin = MAGIC.length + head.sizeBytes;
    const part: Part = { number, file, first: next, begin, end: begin };
    parts.push(part);
    let at = begin;
    for (;;) {
      const frame = frameAt(bytes, at);
      if (typeof frame !== 'object') break;
      const events = eventsIn(frame.payload);
      removed = Math.max(removed, events.removed);
      at += frame.sizeBytes;
      part.end = at;
      next += events.entries.length;
      for (const entry of events.entries) sessionEpoch = Math.max(sessionEpoch, entry.sessionEpoch);
      places.push({ part, at, entry: next });
    }
    if (at === bytes.length) continue;
    if (!isNewest || (settings.sync && hasFrameFrom(bytes, at + 1))) throw corrupt('an entry is damaged', number);
    cutBytes += bytes.length - at;
    await file.truncate(at);
  }
  const oldest = parts[0];
  if (oldest === undefined) {
    const first = await created(disk, (run.at(-1) ?? 0) + 1, { owner, first: 0, sessionEpoch });
    opened.push(first.file);
    return { parts: [first], next: 0, head: startOf(first), sessionEpoch, cutBytes };
  }
  if (oldest.first > removed) throw corrupt('a file is missing', oldest.number - 1);
  for (const number of numbers) if (number < oldest.number) await disk.remove(nameOf(number)); // X3, not yet durable.
  const head = places.findLast(({ entry }) => entry <= removed) ?? startOf(oldest);
  return { parts, next, head, sessionEpoch, cutBytes };
}

/** A file with its header, on the disk. */
async function created(disk: OutboxDisk, number: number, header: Parameters<typeof headerFrame>[0]): Promise<Part> {
  const file = await disk.open(nameOf(number));
  try {
    const bytes = Buffer.concat([MAGIC, headerFrame(header)]);
    await file.truncate(0); // What an earlier try has left.
    await file.write(bytes, 0);
    await file.sync();
    await disk.sync();
    return { number, file, first: header.first, begin: bytes.length, end: bytes.length };
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  }
}

const startOf = (part: Part): Place => ({ part, at: part.begin, entry: part.first });

const nameOf = (number: number): string => `events.${number}`;

/** In ascending order. */
const numbersOf = (names: readonly string[]): number[] =>
  names
    .map((name) => /^events\.(\d+)$/.exec(name)?.[1])
    .filter((text) => text !== undefined)
    .map(Number)
    .sort((a, b) => a - b);

/** The newest files without a gap: what lies before a gap was removed (X3), and came back with a power failure. */
function lastRun(numbers: readonly number[]): number[] {
  const gap = numbers.findLastIndex((number, i) => i > 0 && numbers[i - 1] !== number - 1);
  return numbers.slice(Math.max(0, gap));
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

const corrupt = (why: string, number: number): AppError =>
  new AppError('STORE_CORRUPT', `the outbox of this broker cannot be trusted: ${why}`, { file: nameOf(number) });

const ofAnother = (found: string, owner: string): AppError =>
  new AppError('CONFIG_INVALID', `the folder has the outbox of ${found}, and this is ${owner}: name another folder`, {
    found,
    owner,
  });

/** What the disk refuses is for an operator to mend. */
async function onDisk<Result>(why: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!isOfDisk(error)) throw error;
    throw new AppError('OUTBOX_UNAVAILABLE', `the outbox of this broker ${why}`, {}, error);
  }
}
