// Level names: assigns a small number to each distinct text of a filter's level. Part of the topic trie, which
// compares levels as numbers.
//
//   L1. Two texts have the same number when they are equal code unit by code unit; the hash alone never decides.
//   L2. A name exists while something holds it (`hold`, `letGo`); then its number and its text's space are reused.
//
// A mutable index with a pure face (Hot paths in the style guide): `find` changes nothing. Texts lie in one
// Uint16Array, in blocks of 4 code units; a freed block goes to the list of its size, so space of a size that is no
// longer needed is kept until the index itself is dropped.

/** Level numbers begin at 1, so that 0 can say "none" in zeroed memory. */
export const NO_LEVEL = 0;

const RECORD = 4; // hash, first code unit in `text`, length, holders (of a free record: the next free one)
const BLOCK = 4; // code units
const SHARD_BITS = 6;
const SHARD_SLOTS_MIN = 4;

export class LevelNames {
  readonly #seed: number;
  #records = new Int32Array(RECORD * 64);
  #recordsUsed = 1;
  #freeRecord = 0;
  /**
   * From hash to number: 64 tables, chosen by the hash's first bits, so that no insert has to rehash all names at once.
   * Each is open addressing with linear probing, at most 2/3 full: pairs of hash and number.
   */
  readonly #shards: Int32Array[] = Array.from({ length: 1 << SHARD_BITS }, () => new Int32Array(2 * SHARD_SLOTS_MIN));
  readonly #shardSizes = new Int32Array(1 << SHARD_BITS);
  #text = new Uint16Array(256);
  #textUsed = 0;
  readonly #freeBlocks = new Map<number, number[]>(); // By length in blocks.
  #size = 0;

  /** A secret seed prevents clients from choosing level names that collide. */
  constructor(seed = 0) {
    this.#seed = seed | 0;
  }

  /** Initial value for `hashWith`. */
  get seed(): number {
    return this.#seed;
  }

  /** How many names there are. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of the arrays behind it. */
  get bytes(): number {
    let shards = 0;
    for (const shard of this.#shards) shards += shard.byteLength;
    return this.#records.byteLength + shards + this.#text.byteLength;
  }

  /**
   * The number of the level topic[start, end), or NO_LEVEL. `hash` is `seed`, continued with `hashWith` over its code
   * units.
   */
  find(topic: string, start: number, end: number, hash: number): number {
    const mixed = mix(hash);
    const shard = this.#shards[mixed >>> (32 - SHARD_BITS)]!;
    const mask = (shard.length >> 1) - 1;
    for (let slot = mixed & mask; ; slot = (slot + 1) & mask) {
      const level = shard[2 * slot + 1]!;
      if (level === NO_LEVEL) return NO_LEVEL;
      if (shard[2 * slot] === mixed && this.#isText(level, topic, start, end)) return level;
    }
  }

  /** The number of a level, assigned when it is new. It must be held before the next call. */
  intern(topic: string, start: number, end: number, hash: number): number {
    const known = this.find(topic, start, end, hash);
    if (known !== NO_LEVEL) return known;
    const level = this.#takeRecord();
    const text = this.#takeText(end - start);
    for (let i = start; i < end; i++) this.#text[text + i - start] = topic.charCodeAt(i);
    const at = level * RECORD;
    this.#records[at] = mix(hash);
    this.#records[at + 1] = text;
    this.#records[at + 2] = end - start;
    this.#records[at + 3] = 0;
    this.#addToShard(mix(hash), level);
    this.#size++;
    return level;
  }

  hold(level: number): void {
    this.#records[level * RECORD + 3]!++;
  }

  letGo(level: number): void {
    if (--this.#records[level * RECORD + 3]! > 0) return;
    this.#removeFromShard(level);
    const at = level * RECORD;
    const blocks = Math.ceil(this.#records[at + 2]! / BLOCK);
    if (blocks > 0) {
      const free = this.#freeBlocks.get(blocks);
      if (free === undefined) this.#freeBlocks.set(blocks, [this.#records[at + 1]!]);
      else free.push(this.#records[at + 1]!);
    }
    this.#records[at + 3] = this.#freeRecord;
    this.#freeRecord = level;
    this.#size--;
  }

  #isText(level: number, topic: string, start: number, end: number): boolean {
    const at = level * RECORD;
    if (this.#records[at + 2] !== end - start) return false;
    const text = this.#text;
    const offset = this.#records[at + 1]! - start;
    for (let i = start; i < end; i++) if (text[offset + i] !== topic.charCodeAt(i)) return false;
    return true;
  }

  #takeRecord(): number {
    const free = this.#freeRecord;
    if (free !== 0) {
      this.#freeRecord = this.#records[free * RECORD + 3]!;
      return free;
    }
    if ((this.#recordsUsed + 1) * RECORD > this.#records.length) {
      const grown = new Int32Array(grownLength(this.#records.length));
      grown.set(this.#records);
      this.#records = grown;
    }
    return this.#recordsUsed++;
  }

  #takeText(length: number): number {
    const blocks = Math.ceil(length / BLOCK);
    const free = this.#freeBlocks.get(blocks)?.pop();
    if (free !== undefined) return free;
    const at = this.#textUsed;
    this.#textUsed += blocks * BLOCK;
    if (this.#textUsed > this.#text.length) {
      const grown = new Uint16Array(Math.max(this.#textUsed, grownLength(this.#text.length)));
      grown.set(this.#text);
      this.#text = grown;
    }
    return at;
  }

  #addToShard(hash: number, level: number): void {
    const number = hash >>> (32 - SHARD_BITS);
    let shard = this.#shards[number]!;
    if (3 * (this.#shardSizes[number]! + 1) > shard.length) {
      const larger = new Int32Array(2 * shard.length);
      for (let at = 0; at < shard.length; at += 2)
        if (shard[at + 1] !== NO_LEVEL) put(larger, shard[at]!, shard[at + 1]!);
      shard = larger;
      this.#shards[number] = larger;
    }
    put(shard, hash, level);
    this.#shardSizes[number]!++;
  }

  /** Removes an entry and closes the gap (Knuth 6.4, algorithm R), so that no tombstones are needed. */
  #removeFromShard(level: number): void {
    const hash = this.#records[level * RECORD]!;
    const shard = this.#shards[hash >>> (32 - SHARD_BITS)]!;
    const mask = (shard.length >> 1) - 1;
    let gap = hash & mask;
    while (shard[2 * gap + 1] !== level) gap = (gap + 1) & mask;
    for (let next = (gap + 1) & mask; shard[2 * next + 1] !== NO_LEVEL; next = (next + 1) & mask) {
      const home = shard[2 * next]! & mask;
      if (((next - home) & mask) < ((next - gap) & mask)) continue; // Its home position is after the gap: it stays.
      shard[2 * gap] = shard[2 * next]!;
      shard[2 * gap + 1] = shard[2 * next + 1]!;
      gap = next;
    }
    shard[2 * gap + 1] = NO_LEVEL;
    this.#shardSizes[hash >>> (32 - SHARD_BITS)]!--;
  }
}

/** FNV-1a over code units, so that a scan of a topic for its slashes can hash its levels on the way. */
export const hashWith = (hash: number, code: number): number => Math.imul(hash ^ code, 0x01000193);

/** The low bits choose the slot and the high ones the table, so both must depend on all bits. */
function mix(hash: number): number {
  const half = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return half ^ (half >>> 13);
}

function put(shard: Int32Array, hash: number, level: number): void {
  const mask = (shard.length >> 1) - 1;
  let slot = hash & mask;
  while (shard[2 * slot + 1] !== NO_LEVEL) slot = (slot + 1) & mask;
  shard[2 * slot] = hash;
  shard[2 * slot + 1] = level;
}

/**
 * Half as much again: little unused space in large arrays, and each element is still copied only about twice in its
 * life.
 */
export const grownLength = (length: number): number => Math.ceil((length * 3) / 2 / 8) * 8;
