// PointerTable: what a reader of the pointer topic knows: each slice's shards and each shard's address, at one epoch.
//
//   I4   A change whose epoch is not above the table's is ignored: repetitions and reordered records change nothing.
//   I10  A change is applied as a whole. One that directly follows the table's epoch is applied with its last record;
//        anything else (the first load, records lost to compaction, skipped epochs) is held back until the reader has
//        reached the end of the topic, and then applied at once.
//   I11  A compacted topic leads to the same table as the full one: for each key the last record counts, and when
//        records of a change are missing, later records have replaced them.
//   W1   Anyone with write access can write to the topic, so a record is accepted only when a planner can have written
//        it: it names a planner that is not fenced (fence.ts), has the right key, and belongs to the next change.
//   W2   Epochs must be backed by offsets: each change takes one record at least, so between two records that are read
//        the epoch grows by at most one more than the number of offsets between them that are missing. Stores are never
//        asked with an epoch that was not backed in this way. Only the record at offset 0, which nothing can precede,
//        may have any epoch. Terms take precedence over epochs: a planner that continues below the table's epoch, in a
//        new term, thereby says that the changes above were not its own.
//   W3   A change that would leave a hash without owner or with two, or name an unknown shard, is refused as a whole.
//        In a first load, or when changes were lost to compaction, the entries that are refused are those that fit with
//        no other.
//   W4   A removal of a slice that is known means that its GONE record was lost to compaction, so a change must be
//        missing too. The removal is judged at the next change, which shows whether one is missing, or at the end of
//        the topic. A removal of a shard that has slices is refused.
//
// A refused record changes nothing and is counted; the planner reads the topic back and corrects what was damaged.
//
// A mutable index with a pure face: `resolve` and `route` never change it. Keys of the topic: `p:<slice>`, `s:<shard>`.

import {
  type Epoch,
  epoch,
  type Offset,
  type Partition,
  type ShardId,
  type SliceKey,
  shardId,
  sliceKey,
} from '../schemas/ids.ts';
import type { PointerEntry, PointerMode, PointerRecord, ShardEntry } from '../schemas/records.ts';
import { type FenceRefusal, fenceRefusal, NOBODY, type Writer } from './fence.ts';
import { HashDirectory } from './hash-directory.ts';
import { filterHash, hashSlice, hasWildcard, parseSlice, partitionOf, placeOf, type Slice } from './keys.ts';
import { PinTable } from './pin-table.ts';
import { hashGap } from './shard-map.ts';
import { SliceTree } from './slice-tree.ts';

/** Where a slice is. */
export interface Pointer {
  readonly slice: SliceKey;
  /** SPREAD: all of its shards together hold it. REPLICAS: each one of them holds all of it. */
  readonly mode: Exclude<PointerMode, 'GONE'>;
  readonly shards: readonly ShardId[];
  readonly epoch: Epoch;
}

/** One shard to be asked, with the slices it is asked for. */
export interface RouteTarget {
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
  /** Absent in a snapshot of an earlier release. */
  readonly writer?: Writer;
}

/** Why a record was refused. */
export type PointerRefusal =
  | FenceRefusal
  | 'malformed'
  | 'old-epoch'
  | 'same-epoch'
  | 'epoch-not-earned'
  | 'cover'
  | 'unknown-shard'
  | 'removal';

export const pointerKey = (slice: SliceKey): string => `p:${slice}`;
export const shardEntryKey = (shard: ShardId): string => `s:${shard}`;
export const keyOfBody = (body: Omit<PointerEntry, 'epoch'> | Omit<ShardEntry, 'epoch'>): string =>
  body.kind === 'PointerEntry' ? pointerKey(body.slice) : shardEntryKey(body.shardId);

export class PointerTable {
  readonly partitions: number;
  readonly #pointers = new Map<SliceKey, Pointer>();
  readonly #shards = new Map<ShardId, ShardEntry>();
  readonly #tree: SliceTree;
  // Most look-ups end in one of these two: they need one hash of the filter, and one more for its partition.
  readonly #pins = new PinTable<Pointer>();
  readonly #hashes = new HashDirectory<Pointer>();
  readonly #spreads = new Map<string, number>();
  #epoch: Epoch = epoch(0);
  #position: Offset = 0;

  /** Records read and not applied yet: the last record of each key, `null` for a removal. */
  readonly #pending = new Map<string, PointerRecord['body'] | null>();
  #newest: { readonly epoch: Epoch; readonly count: number; readonly seen: Set<number> } | undefined;
  /** Changes are held back until the end of the topic is reached (I10). */
  #holding = true;
  #writer: Writer = NOBODY;
  /** The writer of the last change that was applied: a snapshot is of before those that are held back. */
  #appliedWriter: Writer = NOBODY;
  /**
   * The offset after the last record read, and how many missing offsets before it have not backed an epoch yet (W2).
   */
  #next: Offset = 0;
  #missing = 0;
  /** Removals of slices that are known (W4). */
  readonly #removed = new Set<string>();
  readonly #onRefusal: (refusal: PointerRefusal, key: string) => void;

  /** `onRefusal` is called for each record that is refused (W1). */
  constructor(partitions: number, onRefusal: (refusal: PointerRefusal, key: string) => void = () => {}) {
    this.partitions = partitions;
    this.#tree = new SliceTree(partitions);
    this.#onRefusal = onRefusal;
  }

  static restore(snapshot: PointerSnapshot, onRefusal?: (refusal: PointerRefusal, key: string) => void): PointerTable {
    const table = new PointerTable(snapshot.partitions, onRefusal);
    for (const pointer of snapshot.pointers) table.#putPointer(pointer);
    for (const shard of snapshot.shards) table.#shards.set(shard.shardId, shard);
    table.#hashes.settle();
    table.#epoch = snapshot.epoch;
    table.#position = snapshot.position;
    table.#next = snapshot.position;
    table.#writer = snapshot.writer ?? NOBODY;
    table.#appliedWriter = table.#writer;
    return table;
  }

  /** The epoch of the last change applied; 0 before the first. Sent to stores as the asker's epoch. */
  get epoch(): Epoch {
    return this.#epoch;
  }

  /** Every record below this offset is in the table, in `resolve` and `route`. */
  get position(): Offset {
    return this.#position;
  }

  /** Number of slices known. */
  get size(): number {
    return this.#pointers.size;
  }

  /** Reads one record of the topic, in the order of offsets; `null` is the removal of a key. */
  apply(key: string, record: PointerRecord | null, offset: Offset): void {
    const isNew = offset >= this.#next;
    if (isNew) {
      this.#missing += offset - this.#next;
      this.#next = offset + 1;
    }
    if (record === null) this.#remove(key);
    else {
      const refusal = this.#refusalOf(key, record, offset);
      if (refusal === undefined) this.#take(record);
      else if (isNew) this.#onRefusal(refusal, key); // A record that is read again was judged before.
    }
    if (this.#pending.size + this.#removed.size === 0) this.#position = Math.max(this.#position, offset + 1);
    else if (!this.#holding && this.#newest !== undefined && this.#isWhole()) this.#commit(offset + 1);
  }

  /**
   * The reader has read everything below `position`, and the topic ended at `end` at that time. A change is written in
   * one transaction, so none is incomplete at the end: missing records of a change were replaced by later ones.
   */
  reached(position: Offset, end: Offset): void {
    const isAtEnd = position >= end;
    if (this.#pending.size + this.#removed.size > 0 && !isAtEnd) return;
    this.#commit(position);
    if (isAtEnd) this.#holding = false;
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
   * The shards that together hold every subscription matching a PUBLISH to this topic, each once. `turn` chooses among
   * replicas.
   */
  route(topic: string, turn = 0): RouteTarget[] {
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
    // Among replicas a shard that is asked anyway is chosen: the cost of a PUBLISH is the number of distinct shards.
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

  /** The table as a value, by key. Changes that are held back are not in it; they come again after `position`. */
  snapshot(): PointerSnapshot {
    return {
      format: 1,
      partitions: this.partitions,
      epoch: this.#epoch,
      position: this.#position,
      pointers: [...this.#pointers.values()].sort((a, b) => (a.slice < b.slice ? -1 : 1)),
      shards: [...this.#shards.values()].sort((a, b) => (a.shardId < b.shardId ? -1 : 1)),
      writer: this.#appliedWriter,
    };
  }

  /** W1 and W2. */
  #refusalOf(key: string, { change, body }: PointerRecord, offset: Offset): PointerRefusal | undefined {
    const { epoch: at, index, count } = change;
    const isSound = index >= 0 && index < count && body.epoch === at && keyOfBody(body) === key;
    if (!isSound || (body.kind === 'PointerEntry' && !isPlace(body))) return 'malformed';
    const fenced = fenceRefusal(this.#writer, change);
    if (fenced !== undefined) return fenced;
    const newest = this.#newest ?? { epoch: this.#epoch, count: 0, seen: undefined };
    if (at <= newest.epoch && change.term > this.#writer.term) return undefined;
    if (at < newest.epoch || (at === newest.epoch && newest.seen === undefined)) return 'old-epoch'; // I4
    if (at === newest.epoch) return newest.count !== count || newest.seen!.has(index) ? 'same-epoch' : undefined;
    return at - newest.epoch > this.#missing + 1 && offset > 0 ? 'epoch-not-earned' : undefined;
  }

  #take({ change, body }: PointerRecord): void {
    const before = this.#newest;
    if (before === undefined || change.epoch !== before.epoch || change.term > this.#writer.term) {
      // Either the change before this one is unfinished, or one was never seen: later records have replaced theirs.
      if (!this.#isWhole() || change.epoch !== (before?.epoch ?? this.#epoch) + 1) this.#holding = true;
      this.#newest = { epoch: change.epoch, count: change.count, seen: new Set() };
      for (const [key, body] of this.#pending)
        if (body !== null && body.epoch >= change.epoch) this.#pending.delete(key);
    }
    this.#missing = 0;
    if (change.term > 0) this.#writer = { term: change.term, planner: change.planner };
    this.#newest!.seen.add(change.index);
    this.#pending.set(keyOfBody(body), body);
    this.#removed.delete(keyOfBody(body));
  }

  /** The planner removes the key of a slice or shard only after a change has marked it GONE (W4). */
  #remove(key: string): void {
    const pending = this.#pending.get(key);
    if (pending !== undefined && pending !== null) {
      const isGone = pending.kind === 'ShardEntry' ? pending.state === 'GONE' : pending.mode === 'GONE';
      if (isGone) this.#pending.set(key, null);
      else this.#removed.add(key);
      return;
    }
    const isKnown = key.startsWith('p:')
      ? this.#pointers.has(sliceKey(key.slice(2)))
      : this.#shards.has(shardId(key.slice(2)));
    if (isKnown) this.#removed.add(key);
  }

  #isWhole(): boolean {
    return this.#newest === undefined || this.#newest.seen.size === this.#newest.count;
  }

  #commit(position: Offset): void {
    if (!this.#isWhole()) this.#holding = true;
    this.#judgeRemovals();
    this.#judgeEntries();
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
    this.#appliedWriter = this.#writer;
    this.#position = Math.max(this.#position, position);
  }

  /** W4: removals that are accepted become part of what is applied. */
  #judgeRemovals(): void {
    const hashes = new Map<Partition, string[]>();
    for (const key of this.#removed) {
      const slice = key.startsWith('p:') ? parseSlice(key.slice(2)) : undefined;
      if (slice?.kind === 'hash' && this.#holding)
        hashes.set(slice.partition, [...(hashes.get(slice.partition) ?? []), slice.bits]);
      else if (slice === undefined ? !this.#isUsed(shardId(key.slice(2))) : this.#holding && !isRootGroup(slice))
        this.#pending.set(key, null);
      else this.#onRefusal('removal', key);
    }
    const touched = hashes.size > 0 ? this.#touched() : undefined;
    for (const [partition, removed] of hashes) {
      const left = this.#hashesOf(partition, touched?.get(partition) ?? []);
      for (const bits of removed) left.delete(bits);
      const isWhole = hashGap([...left.keys()]) === undefined;
      for (const bits of removed) {
        const key = pointerKey(hashSlice(partition, bits));
        if (isWhole) this.#pending.set(key, null);
        else this.#onRefusal('removal', key);
      }
    }
    this.#removed.clear();
  }

  /** W3 */
  #judgeEntries(): void {
    const refused = new Map<string, PointerRefusal>();
    for (const [key, body] of this.#holding ? [] : this.#pending)
      if (body?.kind === 'ShardEntry' ? body.state === 'GONE' && this.#isUsed(body.shardId) : !this.#hasShards(body))
        refused.set(key, 'unknown-shard');
    for (const [partition, keys] of this.#touched()) {
      const before = this.#tree.hashSlicesOf(partition).map(bitsOf);
      const after = this.#hashesOf(
        partition,
        keys.filter((key) => !refused.has(key)),
      );
      for (let pair = overlapOf(after); pair !== undefined; pair = overlapOf(after)) {
        const [one, other] = pair;
        const younger = after.get(one)! > after.get(other)! ? one : other;
        if (after.get(younger) === 0) break; // Both were in the table before.
        after.delete(younger);
        refused.set(pointerKey(hashSlice(partition, younger)), 'cover');
      }
      if (this.#holding || hashGap(before) !== undefined || hashGap([...after.keys()]) === undefined) continue;
      for (const bits of before) if (!after.has(bits)) refused.set(pointerKey(hashSlice(partition, bits)), 'cover'); // GONE, without a successor.
    }
    for (const [key, body] of this.#pending) {
      const slice = body?.kind === 'PointerEntry' && body.mode === 'GONE' ? parseSlice(body.slice) : undefined;
      if (slice !== undefined && isRootGroup(slice)) refused.set(key, 'cover');
    }
    for (const [key, refusal] of refused) this.#onRefusal(refusal, key);
    if (this.#holding && refused.size > 0) {
      for (const key of refused.keys()) this.#pending.delete(key);
      let newest = this.#epoch;
      for (const body of this.#pending.values()) if (body !== null && body.epoch > newest) newest = body.epoch;
      if (this.#newest !== undefined) this.#newest = { ...this.#newest, epoch: newest };
    } else if (refused.size > 0) {
      this.#pending.clear();
      this.#newest = undefined;
    }
  }

  /** The hash slices that are pending, by partition. */
  #touched(): ReadonlyMap<Partition, readonly string[]> {
    const touched = new Map<Partition, string[]>();
    for (const key of this.#pending.keys()) {
      const slice = key.startsWith('p:c/') ? parseSlice(key.slice(2)) : undefined;
      if (slice?.kind !== 'hash') continue;
      const keys = touched.get(slice.partition);
      if (keys === undefined) touched.set(slice.partition, [key]);
      else keys.push(key);
    }
    return touched;
  }

  /**
   * The hash slices of the partition once the pending records of these keys are applied, by their bits; with the epoch
   * of the pending ones.
   */
  #hashesOf(partition: Partition, keys: readonly string[]): Map<string, number> {
    const slices = new Map(this.#tree.hashSlicesOf(partition).map((slice) => [bitsOf(slice), 0]));
    for (const key of keys) {
      const body = this.#pending.get(key);
      if (body?.kind === 'PointerEntry' && body.mode !== 'GONE') slices.set(bitsOf(key), body.epoch);
      else slices.delete(bitsOf(key));
    }
    return slices;
  }

  /** Whether the shards of a pointer exist once what is pending is applied. */
  #hasShards(body: PointerRecord['body'] | null): boolean {
    if (body?.kind !== 'PointerEntry' || body.mode === 'GONE') return true;
    return body.shards.every((shard) => {
      const pending = this.#pending.get(shardEntryKey(shard));
      if (pending === undefined) return this.#shards.has(shard);
      return pending?.kind === 'ShardEntry' && pending.state !== 'GONE';
    });
  }

  /** Whether a slice is on the shard once what is pending is applied. */
  #isUsed(shard: ShardId): boolean {
    for (const body of this.#pending.values())
      if (body?.kind === 'PointerEntry' && body.shards.includes(shard)) return true;
    for (const { slice, shards } of this.#pointers.values())
      if (shards.includes(shard) && !this.#pending.has(pointerKey(slice))) return true;
    return false;
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

const bitsOf = (slice: string): string => slice.slice(slice.lastIndexOf('/') + 1);

/** Every partition has one, whatever was carved out of it. */
const isRootGroup = (slice: Slice): boolean => slice.kind === 'group' && slice.prefix === '';

/** Two slices of which one contains the other: in sort order they are neighbours. */
function overlapOf(slices: ReadonlyMap<string, unknown>): readonly [string, string] | undefined {
  const bits = [...slices.keys()].sort();
  for (let i = 1; i < bits.length; i++) if (bits[i]!.startsWith(bits[i - 1]!)) return [bits[i - 1]!, bits[i]!];
  return undefined;
}

/** True for an entry with a valid slice key, and with shards unless it is GONE. */
const isPlace = ({ slice, mode, shards }: PointerEntry): boolean =>
  parseSlice(slice) !== undefined && (mode === 'GONE' || shards.length > 0);
