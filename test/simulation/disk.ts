// Disk: what a simulated shard keeps, under the real stores: entries for the LevelDB store, journal records for the trie
// store. A write takes time; who is killed meanwhile has made it or not, as chance has it, but never a half.

import type { Database, Delete, Entries, EntryRange, Put } from '../../datastores/level-kv/level-kv.ts';
import type { JournalRecord } from '../../datastores/trie/journal-records.ts';
import type { ChangeLog } from '../../datastores/trie/trie-store.ts';
import type { Chance, Scheduler } from './scheduler.ts';
import { never } from './scheduler.ts';

type Entry = [key: Buffer, value: Buffer];

export class Disk {
  readonly records: JournalRecord[] = [];
  readonly #entries = new Map<string, Entry>();
  #sorted: string[] = [];

  get isEmpty(): boolean {
    return this.#entries.size === 0 && this.records.length === 0;
  }

  get(key: Buffer): Buffer | undefined {
    return this.#entries.get(textOf(key))?.[1];
  }

  put(key: Buffer, value: Buffer): void {
    const text = textOf(key);
    if (!this.#entries.has(text)) this.#sorted.splice(this.#placeOf(text), 0, text);
    this.#entries.set(text, [key, value]);
  }

  delete(key: Buffer): void {
    const text = textOf(key);
    if (this.#entries.delete(text)) this.#sorted.splice(this.#placeOf(text), 1);
  }

  within({ gte, gt, lt, limit = Number.POSITIVE_INFINITY }: EntryRange): Entry[] {
    const from =
      gte === undefined ? (gt === undefined ? 0 : this.#placeOf(`${textOf(gt)}\0`)) : this.#placeOf(textOf(gte));
    const to = lt === undefined ? this.#sorted.length : this.#placeOf(textOf(lt));
    return this.#sorted.slice(from, Math.min(to, from + limit)).map((text) => this.#entries.get(text)!);
  }

  /** Where the text is, or would be. */
  #placeOf(text: string): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#sorted[middle]! < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One code unit for each byte, so that texts sort as their bytes do. */
const textOf = (bytes: Buffer): string => bytes.toString('latin1');

/** A disk in the hands of one process, until that is killed. */
export class Mount {
  readonly #disk: Disk;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #latencyMs: number;
  readonly #underWay = new Set<() => void>();
  /** Resolves when it is killed. */
  readonly killed: Promise<void>;
  #isDead = false;
  #tell!: () => void;

  constructor(disk: Disk, scheduler: Scheduler, chance: Chance, latencyMs: number) {
    this.#disk = disk;
    this.#scheduler = scheduler;
    this.#chance = chance;
    this.#latencyMs = latencyMs;
    this.killed = new Promise((resolve) => {
      this.#tell = resolve;
    });
  }

  kill(): void {
    this.#isDead = true;
    for (const make of this.#underWay) if (this.#chance.hits(0.5)) make();
    this.#underWay.clear();
    this.#tell();
  }

  database(): Database {
    const disk = this.#disk;
    const write = (operations: readonly (Put | Delete)[]): Promise<void> =>
      this.#write(() => {
        for (const each of operations) {
          if (each.type === 'put') disk.put(each.key, each.value);
          else disk.delete(each.key);
        }
      });
    return {
      open: async () => {},
      close: async () => {},
      get: async (key) => disk.get(key),
      getMany: async (keys) => keys.map((key) => disk.get(key)),
      put: (key, value) => write([{ type: 'put', key, value }]),
      del: (key) => write([{ type: 'del', key }]),
      batch: write,
      iterator: (range) => entriesOf(disk.within(range)),
    };
  }

  journal(): ChangeLog {
    return {
      append: (record) => this.#write(() => void this.#disk.records.push(record)),
      isSnapshotDue: false,
      beginSnapshot: async () => {},
      close: async () => {},
    };
  }

  async #write(make: () => void): Promise<void> {
    if (this.#isDead) return never();
    const pause = this.#scheduler.pause(this.#latencyMs, 'disk');
    if (pause !== undefined) {
      this.#underWay.add(make);
      await pause;
      if (this.#isDead) return never();
      this.#underWay.delete(make);
    }
    make();
  }
}

function entriesOf(entries: readonly Entry[]): Entries {
  let at = 0;
  return {
    nextv: async (size) => {
      at += size;
      return entries.slice(at - size, at);
    },
    all: async () => [...entries],
    close: async () => {},
    async *[Symbol.asyncIterator]() {
      yield* entries;
    },
  };
}
