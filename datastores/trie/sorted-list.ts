// SortedList: items in order, in chunks of bounded size, so that inserting into a million items moves a few hundred. The
// caller says what stands before a place by a test that is true for a first part of the list and false for the rest.

/** Up to this length a chunk is made anew for each change, at its exact length: V8 grows arrays by sixteen slots and half. */
const EXACT_LENGTH_MAX = 32;
/** Chunks split at this length: moving 512 references costs about as much as the comparisons that find the place. */
const CHUNK_LENGTH_MAX = 512;

export class SortedList<Item> {
  #chunks: Item[][] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The first item that is not before the place, or `undefined`. */
  firstNot(isBefore: (item: Item) => boolean): Item | undefined {
    const chunk = this.#chunks[this.#chunkAt(isBefore)];
    return chunk?.[indexIn(chunk, isBefore)];
  }

  /** Every item from the first that is not before the place. The list must not change meanwhile. */
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

  /** Puts the item in at the place. */
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
      // A list filled in order splits at its end, so that its chunks stay full.
      const half = index === chunk.length - 1 ? CHUNK_LENGTH_MAX : chunk.length >> 1;
      this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(half));
    }
  }

  /** Takes out the first item that is not before the place. */
  removeFirstNot(isBefore: (item: Item) => boolean): void {
    const chunkIndex = this.#chunkAt(isBefore);
    const chunk = this.#chunks[chunkIndex];
    if (chunk === undefined) return;
    chunk.splice(indexIn(chunk, isBefore), 1);
    this.#length -= 1;
    if (chunk.length === 0) this.#chunks.splice(chunkIndex, 1);
  }

  /** The first chunk that does not lie before the place as a whole. */
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
