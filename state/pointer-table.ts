// PointerTable: what a reader of the pointer topic knows: each slice's shards, each shard's address, at one epoch.
//
//   I4   A change whose epoch is not above the table's is ignored: repetitions and reordered records change nothing.
//   I10  A change is applied whole. One that directly follows the table's epoch is applied with its last record; anything
//        else (the first load, records lost to compaction, skipped epochs) is held back until the reader has reached the
//        end of the topic, and then applied at once.
//   I11  A compacted topic leads to the same table as the full one: of each key the last record counts, and a change of
//        which records are missing was replaced, in these, by later ones.
//
// A mutable index with a pure face: `resolve` and `route` never change it. Keys of the topic: `p:<slice>`, `s:<shard>`.

import { type Epoch, epoch, type Offset, type ShardId, type SliceKey, shardId, sliceKey } from '../schemas/ids.ts';
import type { PointerEntry, PointerMode, PointerRecord, ShardEntry } from '../schemas/records.ts';
import { HashDirectory } from './hash-directory.ts';
import { filterHash, hasWildcard, parseSlice, partitionOf, placeOf } from './keys.ts';
import { PinTable } from './pin-table.ts';
import { SliceTree } from './slice-tree.ts';

/** Where a slice is. */
export interface Pointer {
  readonly slice: SliceKey;
  /** SPREAD: all of its shards together hold it. REPLICAS: any one of them does. */
  readonly mode: Exclude<PointerMode, 'GONE'>;
  readonly shards: readonly ShardId[];
  readonly epoch: Epoch;
}

/** One shard to be asked, with the slices it is asked for. */
export interface Stop {
  readonly shard: ShardId;
  /** `undefined` when the table names the shard but has no entry for it. */
  readonly entry: ShardEntry | undefined;
  readonly pointers: readonly Pointer[];
}

/** A table as a value, for a quick start. */
export interface PointerSnapshot {
  readonly format: 1;
  readonly partitions: number;
  readonly epoch: Epoch;
  readonly position: Offset;
  readonly pointers: readonly Pointer[];
  readonly shards: readonly ShardEntry[];
}

export const pointerKey = (slice: SliceKey): string => `p:${slice}`;
export const shardEntryKey = (shard: ShardId): string => `s:${shard}`;
export const keyOfBody = (body: PointerRecord['body']): string =>
  body.kind === 'PointerEntry' ? pointerKey(body.slice) : shardEntryKey(body.shardId);

export class PointerTable {
  readonly partitions: number;
  readonly #pointers = new Map<SliceKey, Pointer>();
  readonly #shards = new Map<ShardId, ShardEntry>();
  readonly #tree: SliceTree;
  // Most look-ups end in one of these two: with one hash of the filter, and one more for its partition.
  readonly #pins = new PinTable<Pointer>();
  readonly #hashes = new HashDirectory<Pointer>();
  readonly #spreads = new Map<string, number>();
  #epoch: Epoch = epoch(0);
  #position: Offset = 0;

  /** What was read and is not applied yet: the last record of each key, `null` for a removal. */
  readonly #pending = new Map<string, PointerRecord['body'] | null>();
  #newest: { readonly epoch: Epoch; readonly count: number; readonly seen: Set<number> } | undefined;
  /** Changes are held back until the end of the topic is reached (I10). */
  #holding = true;

  constructor(partitions: number) {
    this.partitions = partitions;
    this.#tree = new SliceTree(partitions);
  }

  static restore(snapshot: PointerSnapshot): PointerTable {
    const table = new PointerTable(snapshot.partitions);
    for (const pointer of snapshot.pointers) table.#putPointer(pointer);
    for (const shard of snapshot.shards) table.#shards.set(shard.shardId, shard);
    table.#hashes.settle();
    table.#epoch = snapshot.epoch;
    table.#position = snapshot.position;
    return table;
  }

  /** The epoch of the last change applied; 0 before the first. What stores are told as the asker's epoch. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** Every record below this offset is in the table, in `resolve` and `route`. */
  get position(): Offset {
    return this.#position;
  }

  /** Slices known. */
  get size(): number {
    return this.#pointers.size;
  }

  /** Takes one record of the topic, in the order of offsets; `null` is the removal of a key. */
  apply(key: string, record: PointerRecord | null, offset: Offset): void {
    if (record === null) this.#remove(key);
    else if (record.change.epoch > this.#epoch) this.#take(record); // I4
    if (this.#pending.size === 0) this.#position = Math.max(this.#position, offset + 1);
    else if (!this.#holding && this.#isWhole()) this.#commit(offset + 1);
  }

  /**
   * The reader has taken everything below `position`, and the topic ended at `end` when it did. A change is written in one
   * transaction, so at the end none is half there: what is missing of one was replaced by later records.
   */
  reached(position: Offset, end: Offset): void {
    const isAtEnd = position >= end;
    if (this.#pending.size > 0 && !isAtEnd) return;
    if (isAtEnd) this.#holding = false;
    this.#commit(position);
  }

  /** Where the subscription of this valid filter by this client is; `undefined` when no slice covers it. */
  resolve(filter: string, clientId: string): Pointer | undefined {
    if (this.#spreads.size === 0 || !this.#spreads.has(filter)) {
      const hash = filterHash(filter);
      const pinned = this.#pins.get(filter, hash);
      if (pinned !== undefined) return pinned;
      if (!hasWildcard(filter) && !filter.startsWith('$share/')) {
        const hashed = this.#hashes.get(partitionOf(filter, this.partitions), hash);
        if (hashed !== undefined) return hashed;
      }
    }
    const slice = this.#tree.sliceOf(filter, clientId);
    return slice === undefined ? undefined : this.#pointers.get(slice);
  }

  /**
   * The shards that together hold every subscription matching a PUBLISH to this topic, each once. Of replicas it is another
   * one by `turn`.
   */
  route(topic: string, turn = 0): Stop[] {
    const stops: { shard: ShardId; entry: ShardEntry | undefined; pointers: Pointer[] }[] = [];
    const ask = (shard: ShardId, pointer: Pointer): void => {
      const stop = stops.find((each) => each.shard === shard);
      if (stop !== undefined) stop.pointers.push(pointer);
      else stops.push({ shard, entry: this.#shards.get(shard), pointers: [pointer] });
    };
    const replicated: Pointer[] = [];
    for (const slice of this.#tree.slicesForTopic(topic)) {
      const pointer = this.#pointers.get(slice)!;
      if (pointer.mode === 'REPLICAS') replicated.push(pointer);
      else for (const shard of pointer.shards) ask(shard, pointer);
    }
    // Of replicas the one that is asked anyway; distinct shards are the cost of a PUBLISH.
    for (const pointer of replicated) {
      const shard =
        pointer.shards.find((each) => stops.some((stop) => stop.shard === each)) ??
        pointer.shards[turn % pointer.shards.length];
      if (shard !== undefined) ask(shard, pointer);
    }
    return stops;
  }

  shard(id: ShardId): ShardEntry | undefined {
    return this.#shards.get(id);
  }

  pointers(): IterableIterator<Pointer> {
    return this.#pointers.values();
  }

  shards(): IterableIterator<ShardEntry> {
    return this.#shards.values();
  }

  /** The table as a value, by key; what is held back is not in it, and comes again after `position`. */
  snapshot(): PointerSnapshot {
    return {
      format: 1,
      partitions: this.partitions,
      epoch: this.#epoch,
      position: this.#position,
      pointers: [...this.#pointers.values()].sort((a, b) => (a.slice < b.slice ? -1 : 1)),
      shards: [...this.#shards.values()].sort((a, b) => (a.shardId < b.shardId ? -1 : 1)),
    };
  }

  #take({ change, body }: PointerRecord): void {
    const before = this.#newest;
    if (before === undefined || change.epoch > before.epoch) {
      // An unfinished change before this one, or a change never seen: its records were replaced by ones to come.
      if (!this.#isWhole() || change.epoch !== (before?.epoch ?? this.#epoch) + 1) this.#holding = true;
      this.#newest = { epoch: change.epoch, count: change.count, seen: new Set() };
    } else if (change.epoch < before.epoch) return; // I4
    this.#newest!.seen.add(change.index);
    this.#pending.set(keyOfBody(body), body);
  }

  /** The planner removes the key of a slice or shard only after a change called it GONE: when that is not known, it was lost to compaction. */
  #remove(key: string): void {
    const isKnown = key.startsWith('p:')
      ? this.#pointers.has(sliceKey(key.slice(2)))
      : this.#shards.has(shardId(key.slice(2)));
    if (!isKnown && !this.#pending.has(key)) return;
    this.#holding = true;
    this.#pending.set(key, null);
  }

  #isWhole(): boolean {
    return this.#newest === undefined || this.#newest.seen.size === this.#newest.count;
  }

  #commit(position: Offset): void {
    for (const [key, body] of this.#pending) {
      if (body === null) this.#forget(key);
      else if (body.kind === 'ShardEntry') {
        if (body.state === 'GONE') this.#shards.delete(body.shardId);
        else this.#shards.set(body.shardId, body);
      } else this.#putEntry(body);
    }
    this.#hashes.settle();
    if (this.#newest !== undefined) this.#epoch = this.#newest.epoch;
    this.#pending.clear();
    this.#newest = undefined;
    this.#position = Math.max(this.#position, position);
  }

  #putEntry({ slice, mode, shards, epoch: at }: PointerEntry): void {
    if (mode === 'GONE') this.#forget(pointerKey(slice));
    else this.#putPointer({ slice, mode, shards, epoch: at });
  }

  #putPointer(pointer: Pointer): void {
    const isNew = !this.#pointers.has(pointer.slice);
    this.#pointers.set(pointer.slice, pointer);
    this.#tree.add(pointer.slice);
    const slice = parseSlice(pointer.slice);
    if (slice?.kind === 'pin' && !placeOf(slice.filter).trie) this.#pins.set(slice.filter, pointer);
    else if (slice?.kind === 'hash') this.#hashes.set(slice, pointer);
    else if (slice?.kind === 'spread' && isNew) this.#countSpread(slice.filter, 1);
  }

  #countSpread(filter: string, by: 1 | -1): void {
    const parts = (this.#spreads.get(filter) ?? 0) + by;
    if (parts === 0) this.#spreads.delete(filter);
    else this.#spreads.set(filter, parts);
  }

  #forget(key: string): void {
    if (key.startsWith('s:')) {
      this.#shards.delete(shardId(key.slice(2)));
      return;
    }
    const slice = sliceKey(key.slice(2));
    if (!this.#pointers.delete(slice)) return;
    this.#tree.remove(slice);
    const parsed = parseSlice(slice);
    if (parsed?.kind === 'pin') this.#pins.delete(parsed.filter);
    else if (parsed?.kind === 'hash') this.#hashes.delete(parsed);
    else if (parsed?.kind === 'spread') this.#countSpread(parsed.filter, -1);
  }
}
