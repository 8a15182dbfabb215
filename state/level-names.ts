// Level names: the levels of filters, each distinct text known by one small number. Part of the topic trie, which
// compares levels as numbers.
//
//   L1. Two texts have the same number when they are equal code unit by code unit; a hash alone never decides.
//   L2. A name lives while something holds it (`hold`, `letGo`); then its number and its text's room are used again.
//
// A mutable index with a pure face (Hot paths in the style guide): `find` changes nothing. Texts lie in one Uint16Array,
// in blocks of whole units of 4 code units; a freed block goes to the list of its size, so room for a size that is no
// longer asked for is kept until the index itself goes.

/** Level numbers begin at 1, so that 0 can say "none" in zeroed memory. */
export const NO_LEVEL = 0;

const RECORD = 4; // hash, first code unit in `text`, length, holders (of a free record: the next free one)
const BLOCK = 4; // code units
const TABLE_MIN = 64;

export class LevelNames {
  readonly #seed: number;
  #records = new Int32Array(RECORD * 64);
  #recordsUsed = 1;
  #freeRecord = 0;
  /** Open addressing, linear probing, at most 2/3 full: pairs of hash and number. */
  #table = new Int32Array(2 * TABLE_MIN);
  #tableMask = TABLE_MIN - 1;
  #text = new Uint16Array(256);
  #textUsed = 0;
  readonly #freeBlocks = new Map<number, number[]>(); // By length in blocks.
  #size = 0;

  /** A secret seed keeps strangers from choosing names that share a hash. */
  constructor(seed = 0) {
    this.#seed = seed | 0;
  }

  /** How many names there are. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of the arrays behind it. */
  get bytes(): number {
    return this.#records.byteLength + this.#table.byteLength + this.#text.byteLength;
  }

  /** The number of the level topic[start, end), or NO_LEVEL. */
  find(topic: string, start: number, end: number): number {
    let hash = this.#seed;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ topic.charCodeAt(at), 0x01000193);
    hash ^= hash >>> 15; // The low bits, which choose the slot, else know little of the high ones.
    const table = this.#table;
    const mask = this.#tableMask;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const level = table[2 * slot + 1]!;
      if (level === NO_LEVEL) return NO_LEVEL;
      if (table[2 * slot] === hash && this.#isText(level, topic, start, end)) return level;
    }
  }

  /** The number of a level, made when it is new. It must be held before the next call. */
  intern(topic: string, start: number, end: number): number {
    const known = this.find(topic, start, end);
    if (known !== NO_LEVEL) return known;
    if (3 * (this.#size + 1) > 2 * (this.#tableMask + 1)) this.#growTable();
    const level = this.#takeRecord();
    const at = level * RECORD;
    let hash = this.#seed;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ topic.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 15;
    const text = this.#takeText(end - start);
    for (let i = start; i < end; i++) this.#text[text + i - start] = topic.charCodeAt(i);
    this.#records[at] = hash;
    this.#records[at + 1] = text;
    this.#records[at + 2] = end - start;
    this.#records[at + 3] = 0;
    this.#put(hash, level);
    this.#size++;
    return level;
  }

  hold(level: number): void {
    this.#records[level * RECORD + 3]!++;
  }

  letGo(level: number): void {
    if (--this.#records[level * RECORD + 3]! > 0) return;
    this.#removeFromTable(level);
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

  #put(hash: number, level: number): void {
    let slot = hash & this.#tableMask;
    while (this.#table[2 * slot + 1] !== NO_LEVEL) slot = (slot + 1) & this.#tableMask;
    this.#table[2 * slot] = hash;
    this.#table[2 * slot + 1] = level;
  }

  #growTable(): void {
    const before = this.#table;
    this.#table = new Int32Array(2 * before.length);
    this.#tableMask = before.length - 1;
    for (let at = 0; at < before.length; at += 2)
      if (before[at + 1] !== NO_LEVEL) this.#put(before[at]!, before[at + 1]!);
  }

  /** Takes an entry out and closes the gap (Knuth 6.4, algorithm R), so that there are no markers to clean up. */
  #removeFromTable(level: number): void {
    const table = this.#table;
    const mask = this.#tableMask;
    let gap = this.#records[level * RECORD]! & mask;
    while (table[2 * gap + 1] !== level) gap = (gap + 1) & mask;
    for (let next = (gap + 1) & mask; table[2 * next + 1] !== NO_LEVEL; next = (next + 1) & mask) {
      const home = table[2 * next]! & mask;
      if (((next - home) & mask) < ((next - gap) & mask)) continue; // Its home lies behind the gap: it stays.
      table[2 * gap] = table[2 * next]!;
      table[2 * gap + 1] = table[2 * next + 1]!;
      gap = next;
    }
    table[2 * gap] = 0;
    table[2 * gap + 1] = NO_LEVEL;
  }
}

/** Half as much again: little slack in large arrays, and each element is still copied about twice in its life. */
export const grownLength = (length: number): number => Math.ceil((length * 3) / 2 / 8) * 8;
