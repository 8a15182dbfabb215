// TopicTrie: finds which of up to millions of topic filters match a topic. It holds distinct filters, each under one
// small id; the caller stores, by id, who subscribed and through which share group. Filters are inserted without
// `$share/group/`, with wildcards or without.
//
//   M1. `match` returns the ids of exactly the filters for which `matches` of topic-filter.ts is true, each once.
//   M2. An id belongs to one filter from its `insert` to its `remove`; then it is reused. Ids are dense: all are below
//       the largest number of filters that the trie has held at a time.
//   M3. What `remove` frees is reused by later inserts. The arrays grow and never shrink.
//   M4. Filters are valid (filterProblem), so at most LEVELS_MAX levels deep; a topic may be any string.
//
// A mutable index with a pure face (Hot paths in the style guide); `matches` is its oracle, bench/topic-match.ts its
// benchmark. A topic is scanned once: each level becomes a number (level-names.ts), and the nodes that the
// levels so far lead to (the frontier) advance together. A level that no filter has can only be matched by + or #.
//
// The work of a match is bounded by the nodes that it can reach: each level at most doubles the frontier, so at most
// 2^depth, and never more than the trie has at that depth. A frontier of 65,536 nodes takes 65,536 filters that have +
// or the topic's own level, in every combination, at 16 levels.
//
// It grows without long pauses: nodes come in pages and level names in 64 tables, so at 1 M filters the largest copy of
// one insert is an array of some 15 MB, which takes about 15 ms and happens once in every half million filters. A
// node's table of children is rebuilt when it doubles: for a node of 1 M children some 30 ms.

import { grownLength, hashWith, LevelNames, NO_LEVEL } from './level-names.ts';
import { LEVELS_MAX } from './topic-filter.ts';

// A node is 8 numbers at its address in `pages`; the root's address is 0, which as a child says "none".
const PLUS = 0; // address of the child behind +
const HASH_ID = 1; // id + 1 of the filter that continues with #
const OWN_ID = 2; // id + 1 of the filter that ends here
const LEVEL = 3; // level of the first literal child, which is kept here since most nodes have no other
const CHILD = 4; // its address
const TABLE = 5; // offset in `tables` of the table of the other literal children
const TABLE_BITS = 6; // it has 2^bits slots
const COUNT = 7; // how many of them are taken
const NODE = 8;

/** 1 MB: the most that is copied when nodes are added, and little to waste. */
const PAGE_BITS = 18;
const PAGE = 1 << PAGE_BITS;
const IN_PAGE = PAGE - 1;

const ROOT = 0;
const NONE = 0;
const TABLE_BITS_MIN = 2;
const TABLE_BITS_MAX = 28;
const DOLLAR = 0x24;
const SLASH = 0x2f;
const PLUS_SIGN = 0x2b;
const HASH_SIGN = 0x23;

export class TopicTrie {
  readonly #levels: LevelNames;
  /** Of PAGE numbers each, except in a trie with only one page, which starts small. */
  readonly #pages: Int32Array[] = [new Int32Array(NODE * 32)];
  #nodesUsed = NODE; // The root.
  #freeNode = NONE; // Free nodes are linked through their first number.
  /** Tables of pairs of level and child address, open addressing, at most 3/4 full. */
  #tables: Int32Array = new Int32Array(256);
  #tablesUsed = 2; // Offset 0 says "none".
  readonly #freeTables = new Int32Array(TABLE_BITS_MAX + 1); // By bits; linked through their first number.
  readonly #freeIds: number[] = [];
  #idsUsed = 0;
  #size = 0;
  #frontier: Int32Array = new Int32Array(256);
  #nextFrontier: Int32Array = new Int32Array(256);
  /** The nodes of the last descent, and the level by which each was left. */
  readonly #path = new Int32Array(LEVELS_MAX + 1);
  readonly #pathLevels = new Int32Array(LEVELS_MAX + 1);
  #depth = 0;

  /** A secret seed prevents clients from choosing level names that collide; it changes no result. */
  constructor(seed = 0) {
    this.#levels = new LevelNames(seed);
  }

  /** How many filters it holds. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of the arrays behind it. */
  get bytes(): number {
    const frontiers = this.#frontier.byteLength + this.#nextFrontier.byteLength;
    let nodes = 0;
    for (const page of this.#pages) nodes += page.byteLength;
    return this.#levels.bytes + nodes + this.#tables.byteLength + frontiers + 8 * this.#freeIds.length;
  }

  /**
   * Writes the ids of the filters that match to the front of `into` and returns how many; what is behind them has no
   * meaning. The order is arbitrary, but the same for the same history of inserts and removals.
   */
  match(topic: string, into: number[]): number {
    const pages = this.#pages;
    const levels = this.#levels;
    const length = topic.length;
    let frontier = this.#frontier;
    let next = this.#nextFrontier;
    let found = 0;
    let count = 1;
    frontier[0] = ROOT;
    let isOpen = topic.charCodeAt(0) !== DOLLAR; // Wildcards match the first level only when it has no leading $.
    for (let start = 0; count > 0 && start <= length; ) {
      let end = start;
      let hash = levels.seed;
      for (; end < length; end++) {
        const code = topic.charCodeAt(end);
        if (code === SLASH) break;
        hash = hashWith(hash, code);
      }
      const level = levels.find(topic, start, end, hash);
      if (2 * count > next.length) next = this.#widenNext(2 * count);
      let nextCount = 0;
      for (let i = 0; i < count; i++) {
        const node = frontier[i]!;
        const page = pages[node >>> PAGE_BITS]!;
        const at = node & IN_PAGE;
        if (isOpen) {
          const id = page[at + HASH_ID]!;
          if (id !== NONE) into[found++] = id - 1;
          const plus = page[at + PLUS]!;
          if (plus !== NONE) next[nextCount++] = plus;
        }
        if (level === NO_LEVEL) continue;
        if (page[at + LEVEL] === level) next[nextCount++] = page[at + CHILD]!;
        else if (page[at + COUNT] !== 0) {
          const child = this.#inTable(page[at + TABLE]!, page[at + TABLE_BITS]!, level);
          if (child !== NONE) next[nextCount++] = child;
        }
      }
      const swap = frontier;
      frontier = next;
      next = swap;
      this.#frontier = frontier;
      this.#nextFrontier = next;
      count = nextCount;
      isOpen = true;
      start = end + 1;
    }
    for (let i = 0; i < count; i++) {
      const node = frontier[i]!;
      const page = pages[node >>> PAGE_BITS]!;
      const at = node & IN_PAGE;
      const own = page[at + OWN_ID]!;
      if (own !== NONE) into[found++] = own - 1;
      const id = page[at + HASH_ID]!;
      if (id !== NONE) into[found++] = id - 1;
    }
    return found;
  }

  /** The id of the filter, or -1 when it is not there. */
  find(filter: string): number {
    const slot = this.#descend(filter);
    return slot < 0 ? -1 : this.#get(slot, 0) - 1;
  }

  /** The id of the filter, which is inserted when it is new. */
  insert(filter: string): number {
    const length = filter.length;
    let node = ROOT;
    let field = OWN_ID;
    for (let start = 0; start <= length; ) {
      const end = levelEnd(filter, start);
      const sign = wildcardAt(filter, start, end);
      if (sign === HASH_SIGN) {
        field = HASH_ID;
        break;
      }
      node =
        sign === PLUS_SIGN
          ? this.#plusOf(node)
          : this.#childOf(node, this.#levels.intern(filter, start, end, this.#hash(filter, start, end)));
      start = end + 1;
    }
    const id = this.#get(node, field);
    if (id !== NONE) return id - 1;
    const given = this.#freeIds.pop() ?? this.#idsUsed++;
    this.#set(node, field, given + 1);
    this.#size++;
    return given;
  }

  /** Removes the filter. Returns its id, which is free now, or -1 when the filter was not in the trie. */
  remove(filter: string): number {
    const slot = this.#descend(filter);
    const id = slot < 0 ? NONE : this.#get(slot, 0);
    if (id === NONE) return -1;
    this.#set(slot, 0, NONE);
    this.#freeIds.push(id - 1);
    this.#size--;
    let node = slot - (slot % NODE);
    for (let depth = this.#depth; depth > 0 && this.#isEmpty(node); depth--) {
      const parent = this.#path[depth - 1]!;
      const level = this.#pathLevels[depth - 1]!;
      if (level === NO_LEVEL) this.#set(parent, PLUS, NONE);
      else this.#unlink(parent, level);
      this.#set(node, 0, this.#freeNode);
      this.#freeNode = node;
      node = parent;
    }
    return id - 1;
  }

  /** The address of the filter's id in the pages, or -1. Leaves its path in `path`, `pathLevels` and `depth`. */
  #descend(filter: string): number {
    const length = filter.length;
    let node = ROOT;
    let depth = 0;
    for (let start = 0; start <= length; ) {
      const end = levelEnd(filter, start);
      const sign = wildcardAt(filter, start, end);
      if (sign === HASH_SIGN) {
        this.#depth = depth;
        return node + HASH_ID;
      }
      const level =
        sign === PLUS_SIGN ? NO_LEVEL : this.#levels.find(filter, start, end, this.#hash(filter, start, end));
      this.#path[depth] = node;
      this.#pathLevels[depth++] = level;
      if (sign === PLUS_SIGN) node = this.#get(node, PLUS);
      else node = level === NO_LEVEL ? NONE : this.#literal(node, level);
      if (node === NONE) return -1;
      start = end + 1;
    }
    this.#depth = depth;
    return node + OWN_ID;
  }

  #hash(filter: string, start: number, end: number): number {
    let hash = this.#levels.seed;
    for (let at = start; at < end; at++) hash = hashWith(hash, filter.charCodeAt(at));
    return hash;
  }

  #isEmpty(node: number): boolean {
    const ids = this.#get(node, HASH_ID) | this.#get(node, OWN_ID);
    return (ids | this.#get(node, PLUS) | this.#get(node, LEVEL) | this.#get(node, COUNT)) === 0;
  }

  #literal(node: number, level: number): number {
    if (this.#get(node, LEVEL) === level) return this.#get(node, CHILD);
    if (this.#get(node, COUNT) === 0) return NONE;
    return this.#inTable(this.#get(node, TABLE), this.#get(node, TABLE_BITS), level);
  }

  #inTable(table: number, bits: number, level: number): number {
    const tables = this.#tables;
    const mask = (1 << bits) - 1;
    for (let slot = slotOf(level, bits); ; slot = (slot + 1) & mask) {
      const at = table + 2 * slot;
      if (tables[at] === level) return tables[at + 1]!;
      if (tables[at] === NO_LEVEL) return NONE;
    }
  }

  #plusOf(node: number): number {
    const known = this.#get(node, PLUS);
    if (known !== NONE) return known;
    const child = this.#takeNode();
    this.#set(node, PLUS, child);
    return child;
  }

  /** The child for a literal level, created when it is missing. */
  #childOf(node: number, level: number): number {
    const known = this.#literal(node, level);
    if (known !== NONE) return known;
    const child = this.#takeNode();
    this.#levels.hold(level);
    if (this.#get(node, LEVEL) === NO_LEVEL) {
      this.#set(node, LEVEL, level);
      this.#set(node, CHILD, child);
      return child;
    }
    const count = this.#get(node, COUNT);
    const bits = this.#get(node, TABLE_BITS);
    if (count === 0) this.#resize(node, TABLE_BITS_MIN);
    else if (4 * (count + 1) > 3 << bits) this.#resize(node, bits + 1);
    this.#put(node, level, child);
    this.#set(node, COUNT, count + 1);
    return child;
  }

  #unlink(node: number, level: number): void {
    this.#levels.letGo(level);
    if (this.#get(node, LEVEL) === level) {
      this.#set(node, LEVEL, NO_LEVEL);
      this.#set(node, CHILD, NONE);
      return;
    }
    const bits = this.#get(node, TABLE_BITS);
    this.#closeGap(this.#get(node, TABLE), bits, level);
    const count = this.#get(node, COUNT) - 1;
    this.#set(node, COUNT, count);
    if (count === 0) this.#resize(node, 0);
    else if (bits > TABLE_BITS_MIN && 8 * count < 1 << bits) this.#resize(node, bits - 1);
  }

  #put(node: number, level: number, child: number): void {
    const tables = this.#tables;
    const table = this.#get(node, TABLE);
    const bits = this.#get(node, TABLE_BITS);
    const mask = (1 << bits) - 1;
    let slot = slotOf(level, bits);
    while (tables[table + 2 * slot] !== NO_LEVEL) slot = (slot + 1) & mask;
    tables[table + 2 * slot] = level;
    tables[table + 2 * slot + 1] = child;
  }

  /** Removes an entry and closes the gap (Knuth 6.4, algorithm R), so that no tombstones are needed. */
  #closeGap(table: number, bits: number, level: number): void {
    const tables = this.#tables;
    const mask = (1 << bits) - 1;
    let gap = slotOf(level, bits);
    while (tables[table + 2 * gap] !== level) gap = (gap + 1) & mask;
    for (let next = (gap + 1) & mask; tables[table + 2 * next] !== NO_LEVEL; next = (next + 1) & mask) {
      const home = slotOf(tables[table + 2 * next]!, bits);
      if (((next - home) & mask) < ((next - gap) & mask)) continue; // Its home position is after the gap: it stays.
      tables[table + 2 * gap] = tables[table + 2 * next]!;
      tables[table + 2 * gap + 1] = tables[table + 2 * next + 1]!;
      gap = next;
    }
    tables[table + 2 * gap] = NO_LEVEL;
  }

  /** Moves the node's children to a table of 2^bits slots; with 0 bits, to none. */
  #resize(node: number, bits: number): void {
    const before = this.#get(node, TABLE);
    const bitsBefore = this.#get(node, TABLE_BITS);
    this.#set(node, TABLE, bits === 0 ? NONE : this.#takeTable(bits));
    this.#set(node, TABLE_BITS, bits);
    if (before === NONE) return;
    const tables = this.#tables;
    if (bits > 0) {
      for (let at = before; at < before + (2 << bitsBefore); at += 2) {
        if (tables[at] !== NO_LEVEL) this.#put(node, tables[at]!, tables[at + 1]!);
      }
    }
    tables[before] = this.#freeTables[bitsBefore]!;
    this.#freeTables[bitsBefore] = before;
  }

  #takeNode(): number {
    const free = this.#freeNode;
    if (free !== NONE) {
      this.#freeNode = this.#get(free, 0);
      this.#set(free, 0, NONE); // The rest of an empty node is zero already.
      return free;
    }
    const node = this.#nodesUsed;
    this.#nodesUsed += NODE;
    const last = this.#pages.length - 1;
    if (this.#nodesUsed > PAGE * last + this.#pages[last]!.length) {
      if (this.#pages[last]!.length === PAGE) this.#pages.push(new Int32Array(PAGE));
      else this.#pages[last] = grown(this.#pages[last]!, 2 * this.#pages[last]!.length);
    }
    return node;
  }

  #get(node: number, field: number): number {
    return this.#pages[node >>> PAGE_BITS]![(node & IN_PAGE) + field]!;
  }

  #set(node: number, field: number, value: number): void {
    this.#pages[node >>> PAGE_BITS]![(node & IN_PAGE) + field] = value;
  }

  #takeTable(bits: number): number {
    const length = 2 << bits;
    const free = this.#freeTables[bits]!;
    if (free !== NONE) {
      this.#freeTables[bits] = this.#tables[free]!;
      this.#tables.fill(0, free, free + length);
      return free;
    }
    const table = this.#tablesUsed;
    this.#tablesUsed += length;
    if (this.#tablesUsed > this.#tables.length) this.#tables = grown(this.#tables, this.#tablesUsed);
    return table;
  }

  #widenNext(length: number): Int32Array {
    this.#nextFrontier = new Int32Array(grownLength(length));
    return this.#nextFrontier;
  }
}

/** Home slot of a level in a table of 2^bits slots: Fibonacci hashing (Knuth 6.4), as levels are dense numbers. */
const slotOf = (level: number, bits: number): number => Math.imul(level, 0x9e3779b1) >>> (32 - bits);

function levelEnd(filter: string, start: number): number {
  const end = filter.indexOf('/', start);
  return end < 0 ? filter.length : end;
}

/** The code of + or # when it stands alone in the level, else 0. */
function wildcardAt(filter: string, start: number, end: number): number {
  if (end - start !== 1) return 0;
  const code = filter.charCodeAt(start);
  return code === PLUS_SIGN || code === HASH_SIGN ? code : 0;
}

function grown(array: Int32Array, lengthMin: number): Int32Array {
  const larger = new Int32Array(Math.max(lengthMin, grownLength(array.length)));
  larger.set(array);
  return larger;
}
