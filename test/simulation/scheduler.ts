// Scheduler: the time of a simulated world, and the only source of chance in it. Whatever waits, waits here: one thing
// happens after the other, at times drawn from the seed, and everything that follows from it happens before the next.
//
//   T1. The same seed gives the same run: what has happened is kept as a hash, which two runs can be compared by.
//   T2. Chance comes in streams, one for each purpose: what one draws more or less of changes nothing for the others.

import { randomFrom } from '../../evaluation/random.ts';

interface Due {
  readonly at: number;
  /** Orders what is due at the same time, by chance. */
  readonly tie: number;
  readonly label: string;
  fire: (() => void) | undefined;
}

export class Chance {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomFrom(seed);
  }

  /** Uniform in [0, 1). */
  next(): number {
    return this.#next();
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  between(low: number, high: number): number {
    return low + this.#next() * (high - low);
  }

  hits(probability: number): boolean {
    return probability > 0 && this.#next() < probability;
  }

  oneOf<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }
}

export class Scheduler {
  fired = 0;
  readonly #seed: number;
  readonly #order: Chance;
  readonly #heap: Due[] = [];
  #now: number;
  #hash = 0x811c9dc5;
  #hash2 = 0x9747b28c;

  constructor(seed: number, startAt: number) {
    this.#seed = seed;
    this.#now = startAt;
    this.#order = this.stream('order');
  }

  get now(): number {
    return this.#now;
  }

  /** T1. */
  get hash(): string {
    return [this.#hash, this.#hash2].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** T2. */
  stream(purpose: string): Chance {
    let hash = Math.imul(this.#seed ^ 0x9e3779b9, 0x85ebca6b);
    for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193);
    return new Chance(hash ^ (hash >>> 15));
  }

  /** What has happened, for the hash. */
  note(text: string): void {
    let [low, high] = [this.#hash, this.#hash2];
    for (let i = 0; i < text.length; i++) {
      low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
      high = Math.imul(high ^ text.charCodeAt(i), 0x85ebca6b) ^ (high >>> 13);
    }
    this.#hash = low;
    this.#hash2 = high;
  }

  /** Calls `fire` after so much time, unless the returned function is called before. */
  after(ms: number, label: string, fire: () => void): () => void {
    const due: Due = { at: this.#now + Math.max(0, ms), tie: this.#order.next(), label, fire };
    this.#push(due);
    return () => {
      due.fire = undefined;
    };
  }

  /** A pause of at most so much; of 0 there is none. */
  pause(msMax: number, label: string): Promise<void> | undefined {
    if (msMax <= 0) return undefined;
    return new Promise((resolve) => this.after(msMax * this.#order.next(), label, resolve));
  }

  sleep(ms: number, label: string): Promise<void> {
    return new Promise((resolve) => this.after(ms, label, resolve));
  }

  /** Lets time pass until then, or until it is over. */
  async run(until: number, isOver: () => boolean = () => false): Promise<void> {
    await settled();
    while (!isOver()) {
      const due = this.#heap[0];
      if (due === undefined || due.at > until) {
        this.#now = Math.max(this.#now, until);
        return;
      }
      this.#pop();
      if (due.fire === undefined) continue;
      this.#now = Math.max(this.#now, due.at);
      this.fired++;
      this.note(due.label);
      due.fire();
      await settled();
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, due)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.tie < b.tie);

/** Everything that waits for nothing has happened: promises are worked off before an immediate. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What never comes: the answer to somebody who is dead. A promise of its own each time, as one for all would keep all who wait for it. */
export const never = (): Promise<never> => new Promise(() => {});
