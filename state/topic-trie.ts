// TopicTrie: which of up to millions of topic filters match a topic. It holds distinct filters, each under one small id;
// who subscribed, and through which share group, is the caller's to keep by id. Filters are put in without
// `$share/group/`, with wildcards or without.
//
//   M1. `match` gives the ids of exactly the filters for which `matches` of topic-filter.ts says true, each once.
//   M2. An id belongs to one filter from the `insert` that gave it to the `remove` that takes it back; then it is used
//       again. Ids are dense: all are below the largest number of filters there ever was.
//   M3. What `remove` frees is used again by later inserts. The arrays grow by half and never shrink.
//   M4. Filters are valid (filterProblem), so at most LEVELS_MAX levels deep; a topic may be any string.
//
// A mutable index with a pure face (Hot paths in the style guide); its oracle is `matches`, its measurement
// bench/topic-match.ts. A topic is scanned once: each level becomes a number (level-names.ts), and the nodes that the
// levels so far lead to (the frontier) step together. A level that no filter has can only be taken by + or #.
//
// Work of a match is bounded by the nodes it can reach: at most two for each node of the frontier and level, so
// 2^depth, and never more than the trie has at that depth. A frontier of 65,536 nodes takes 16 levels of + or the
// topic's own level in every combination, which is 65,536 filters.
//
// Growth copies one array at a time. At 1 M filters the largest is about 70 MB, which is a pause of some 30 ms, once in
// every half million filters. A node's table of children is rebuilt when it doubles: for 1 M children again some 30 ms.

import { grownLength, LevelNames, NO_LEVEL } from './level-names.ts';
import { LEVELS_MAX } from './topic-filter.ts';

// A node is 8 numbers at its address in `nodes`; the root's address is 0, which as a child says "none".
const PLUS = 0; // address of the child behind +
const HASH_ID = 1; // id + 1 of the filter that goes on with #
const OWN_ID = 2; // id + 1 of the filter that ends here
const LEVEL = 3; // level of the first literal child, which is kept here since most nodes have no other
const CHILD = 4; // its address
const TABLE = 5; // offset in `tables` of the table of the other literal children
const TABLE_BITS = 6; // it has 2^bits slots
const COUNT = 7; // how many of them are taken
const NODE = 8;

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
  #nodes: Int32Array = new Int32Array(NODE * 64);
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
  /** The nodes that the last descent went through, and the level it left each by. */
  readonly #path = new Int32Array(LEVELS_MAX + 1);
  readonly #pathLevels = new Int32Array(LEVELS_MAX + 1);
  #depth = 0;

  /** A secret seed keeps strangers from choosing level names that share a hash; it changes no result. */
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
    return this.#levels.bytes + this.#nodes.byteLength + this.#tables.byteLength + frontiers + 8 * this.#freeIds.length;
  }

  /**
   * Writes the ids of the filters that match to the front of `into` and returns how many; what stands behind them is of
   * no meaning. The order is the same for the same history of inserts and removals, and otherwise arbitrary.
   */
  match(topic: string, into: number[]): number {
    const nodes = this.#nodes;
    const length = topic.length;
    let frontier = this.#frontier;
    let next = this.#nextFrontier;
    let found = 0;
    let count = 1;
    frontier[0] = ROOT;
    let isOpen = topic.charCodeAt(0) !== DOLLAR; // The first level is open to wildcards only when it has no leading $.
    for (let start = 0; count > 0 && start <= length; ) {
      let end = start;
      while (end < length && topic.charCodeAt(end) !== SLASH) end++;
      const level = this.#levels.find(topic, start, end);
      if (2 * count > next.length) next = this.#widenNext(2 * count);
      let nextCount = 0;
      for (let i = 0; i < count; i++) {
        const node = frontier[i]!;
        if (isOpen) {
          const id = nodes[node + HASH_ID]!;
          if (id !== NONE) into[found++] = id - 1;
          const plus = nodes[node + PLUS]!;
          if (plus !== NONE) next[nextCount++] = plus;
        }
        if (level === NO_LEVEL) continue;
        if (nodes[node + LEVEL] === level) next[nextCount++] = nodes[node + CHILD]!;
        else if (nodes[node + COUNT] !== 0) {
          const child = this.#inTable(node, level);
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
      const own = nodes[node + OWN_ID]!;
      if (own !== NONE) into[found++] = own - 1;
      const id = nodes[node + HASH_ID]!;
      if (id !== NONE) into[found++] = id - 1;
    }
    return found;
  }

  /** The id of the filter, or -1 when it is not there. */
  find(filter: string): number {
    const slot = this.#descend(filter);
    return slot < 0 ? -1 : this.#nodes[slot]! - 1;
  }

  /** The filter's id: the one it has, or a new one. */
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
      node = sign === PLUS_SIGN ? this.#plusOf(node) : this.#childOf(node, this.#levels.intern(filter, start, end));
      start = end + 1;
    }
    const id = this.#nodes[node + field]!;
    if (id !== NONE) return id - 1;
    const given = this.#freeIds.pop() ?? this.#idsUsed++;
    this.#nodes[node + field] = given + 1;
    this.#size++;
    return given;
  }

  /** Takes the filter out; the id that is free now, or -1 when the filter was not there. */
  remove(filter: string): number {
    const slot = this.#descend(filter);
    const id = slot < 0 ? NONE : this.#nodes[slot]!;
    if (id === NONE) return -1;
    this.#nodes[slot] = NONE;
    this.#freeIds.push(id - 1);
    this.#size--;
    let node = slot - (slot % NODE);
    for (let depth = this.#depth; depth > 0 && this.#isEmpty(node); depth--) {
      const parent = this.#path[depth - 1]!;
      const level = this.#pathLevels[depth - 1]!;
      if (level === NO_LEVEL) this.#nodes[parent + PLUS] = NONE;
      else this.#unlink(parent, level);
      this.#nodes[node] = this.#freeNode;
      this.#freeNode = node;
      node = parent;
    }
    return id - 1;
  }

  /** Where in `nodes` the id of this filter stands, or -1. Leaves its way in `path`, `pathLevels` and `depth`. */
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
      const level = sign === PLUS_SIGN ? NO_LEVEL : this.#levels.find(filter, start, end);
      this.#path[depth] = node;
      this.#pathLevels[depth++] = level;
      if (sign === PLUS_SIGN) node = this.#nodes[node + PLUS]!;
      else node = level === NO_LEVEL ? NONE : this.#literal(node, level);
      if (node === NONE) return -1;
      start = end + 1;
    }
    this.#depth = depth;
    return node + OWN_ID;
  }

  #isEmpty(node: number): boolean {
    const nodes = this.#nodes;
    const ids = nodes[node + HASH_ID]! | nodes[node + OWN_ID]!;
    return (ids | nodes[node + PLUS]! | nodes[node + LEVEL]! | nodes[node + COUNT]!) === 0;
  }

  #literal(node: number, level: number): number {
    const nodes = this.#nodes;
    if (nodes[node + LEVEL] === level) return nodes[node + CHILD]!;
    return nodes[node + COUNT] === 0 ? NONE : this.#inTable(node, level);
  }

  #inTable(node: number, level: number): number {
    const tables = this.#tables;
    const table = this.#nodes[node + TABLE]!;
    const bits = this.#nodes[node + TABLE_BITS]!;
    const mask = (1 << bits) - 1;
    for (let slot = slotOf(level, bits); ; slot = (slot + 1) & mask) {
      const at = table + 2 * slot;
      if (tables[at] === level) return tables[at + 1]!;
      if (tables[at] === NO_LEVEL) return NONE;
    }
  }

  #plusOf(node: number): number {
    const known = this.#nodes[node + PLUS]!;
    if (known !== NONE) return known;
    const child = this.#takeNode();
    this.#nodes[node + PLUS] = child;
    return child;
  }

  /** The child behind a literal level, made when it is missing. */
  #childOf(node: number, level: number): number {
    const known = this.#literal(node, level);
    if (known !== NONE) return known;
    const child = this.#takeNode();
    this.#levels.hold(level);
    if (this.#nodes[node + LEVEL] === NO_LEVEL) {
      this.#nodes[node + LEVEL] = level;
      this.#nodes[node + CHILD] = child;
      return child;
    }
    const count = this.#nodes[node + COUNT]!;
    const bits = this.#nodes[node + TABLE_BITS]!;
    if (count === 0) this.#resize(node, TABLE_BITS_MIN);
    else if (4 * (count + 1) > 3 << bits) this.#resize(node, bits + 1);
    this.#put(node, level, child);
    this.#nodes[node + COUNT] = count + 1;
    return child;
  }

  #unlink(node: number, level: number): void {
    const nodes = this.#nodes;
    this.#levels.letGo(level);
    if (nodes[node + LEVEL] === level) {
      nodes[node + LEVEL] = NO_LEVEL;
      nodes[node + CHILD] = NONE;
      return;
    }
    const bits = nodes[node + TABLE_BITS]!;
    this.#closeGap(nodes[node + TABLE]!, bits, level);
    const count = --nodes[node + COUNT]!;
    if (count === 0) this.#resize(node, 0);
    else if (bits > TABLE_BITS_MIN && 8 * count < 1 << bits) this.#resize(node, bits - 1);
  }

  #put(node: number, level: number, child: number): void {
    const tables = this.#tables;
    const table = this.#nodes[node + TABLE]!;
    const bits = this.#nodes[node + TABLE_BITS]!;
    const mask = (1 << bits) - 1;
    let slot = slotOf(level, bits);
    while (tables[table + 2 * slot] !== NO_LEVEL) slot = (slot + 1) & mask;
    tables[table + 2 * slot] = level;
    tables[table + 2 * slot + 1] = child;
  }

  /** Takes an entry out and closes the gap (Knuth 6.4, algorithm R), so that there are no markers to clean up. */
  #closeGap(table: number, bits: number, level: number): void {
    const tables = this.#tables;
    const mask = (1 << bits) - 1;
    let gap = slotOf(level, bits);
    while (tables[table + 2 * gap] !== level) gap = (gap + 1) & mask;
    for (let next = (gap + 1) & mask; tables[table + 2 * next] !== NO_LEVEL; next = (next + 1) & mask) {
      const home = slotOf(tables[table + 2 * next]!, bits);
      if (((next - home) & mask) < ((next - gap) & mask)) continue; // Its home lies behind the gap: it stays.
      tables[table + 2 * gap] = tables[table + 2 * next]!;
      tables[table + 2 * gap + 1] = tables[table + 2 * next + 1]!;
      gap = next;
    }
    tables[table + 2 * gap] = NO_LEVEL;
  }

  /** Moves the node's children to a table of 2^bits slots; of 0 bits, to none. */
  #resize(node: number, bits: number): void {
    const before = this.#nodes[node + TABLE]!;
    const bitsBefore = this.#nodes[node + TABLE_BITS]!;
    this.#nodes[node + TABLE] = bits === 0 ? NONE : this.#takeTable(bits);
    this.#nodes[node + TABLE_BITS] = bits;
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
      this.#freeNode = this.#nodes[free]!;
      this.#nodes[free] = NONE; // The rest of an empty node is zero already.
      return free;
    }
    const node = this.#nodesUsed;
    this.#nodesUsed += NODE;
    if (this.#nodesUsed > this.#nodes.length) this.#nodes = grown(this.#nodes, this.#nodesUsed);
    return node;
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

/** Where a level's search begins in a table of 2^bits slots: Fibonacci hashing (Knuth 6.4), as levels are dense numbers. */
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
