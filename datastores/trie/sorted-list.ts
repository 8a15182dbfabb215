// SortedList: items in order, in chunks of bounded size, so that an insert into a million items moves only a few
// hundred. The caller gives a position as a test that is true for the items before it and false for the rest.

/**
 * Up to this length a chunk is copied at its exact length for each change: V8 grows arrays by half and sixteen slots.
 */
const EXACT_LENGTH_MAX = 32;
/**
 * Chunks are split at this length: moving 512 references costs about as much as the comparisons that find the position.
 */
const CHUNK_LENGTH_MAX = 512;

export class SortedList<Item> {
  #chunks: Item[][] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The first item that is not before the position, or `undefined`. */
  firstNot(isBefore: (item: Item) => boolean): Item | undefined {
    const chunk = this.#chunks[this.#chunkAt(isBefore)];
    return chunk?.[indexIn(chunk, isBefore)];
  }

  /** Every item from the first that is not before the position. The list must not change meanwhile. */
  *from(isBefore: (item: Item) => boolean): Generator<Item> {
    let chunkIndex = this.#chunkAt(isBefore);
    const first = this.#chunks[chunkIndex];
    let index = first === undefined ? 0 : indexIn(first, isBefore);
    for (; chunkIndex < this.#chunks.length; chunkIndex++, index = 0) {
      const chunk = this.#chunks[chunkIndex]!;
      for (; index < chunk.length; index++) yield chunk[index]!;
    }
  }

  [Symbol.iterator](): Generator<Item> {
    return this.from(() => false);
  }

  /** Inserts the item at the position. */
  insert(item: Item, isBefore: (item: Item) => boolean): void {
    this.#length += 1;
    if (this.#chunks.length === 0) {
      this.#chunks = [[item]];
      return;
    }
    const chunkIndex = Math.min(this.#chunkAt(isBefore), this.#chunks.length - 1);
    const chunk = this.#chunks[chunkIndex]!;
    const index = indexIn(chunk, isBefore);
    if (chunk.length < EXACT_LENGTH_MAX) {
      this.#chunks[chunkIndex] = chunk.toSpliced(index, 0, item);
      return;
    }
    if (index === chunk.length) chunk.push(item);
    else chunk.splice(index, 0, item);
    if (chunk.length > CHUNK_LENGTH_MAX) {
      // A list that is filled in order is split at its end, so that its chunks stay full.
      const half = index === chunk.length - 1 ? CHUNK_LENGTH_MAX : chunk.length >> 1;
      this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(half));
    }
  }

  /** Removes the first item that is not before the position. */
  removeFirstNot(isBefore: (item: Item) => boolean): void {
    const chunkIndex = this.#chunkAt(isBefore);
    const chunk = this.#chunks[chunkIndex];
    if (chunk === undefined) return;
    chunk.splice(indexIn(chunk, isBefore), 1);
    this.#length -= 1;
    if (chunk.length === 0) this.#chunks.splice(chunkIndex, 1);
  }

  /** Index of the first chunk that is not entirely before the position. */
  #chunkAt(isBefore: (item: Item) => boolean): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const chunk = this.#chunks[middle]!;
      if (isBefore(chunk[chunk.length - 1]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function indexIn<Item>(chunk: readonly Item[], isBefore: (item: Item) => boolean): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(chunk[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}
