// Sorted keys: texts in the order of their UTF-8 bytes, to which many are added and of which stretches are asked for again
// and again, both in any order. New ones lie apart until there are about as many as the root of all: so neither an addition
// nor a question walks all that there are.

import { compareUtf8 } from '../state/utf8.ts';

/** So many that lie apart cost a question nothing that matters. */
const APART_MIN = 32;

export class SortedKeys {
  readonly #compare: (a: string, b: string) => number;
  #sorted: string[] = [];
  #apart: string[] = [];

  constructor(compare: (a: string, b: string) => number = compareUtf8) {
    this.#compare = compare;
  }

  /** One that is not there yet. */
  add(key: string): void {
    this.#apart.push(key);
  }

  clear(): void {
    this.#sorted = [];
    this.#apart = [];
  }

  /** Those with the prefix, and after `after` where it is given; ascending. */
  *from(prefix: string, after: string | undefined): Generator<string> {
    if (this.#apart.length > Math.max(APART_MIN, Math.sqrt(this.#sorted.length))) this.#merge();
    const isOn = (key: string): boolean =>
      key.startsWith(prefix) && (after === undefined || this.#compare(key, after) > 0);
    const apart = this.#apart.filter(isOn).sort(this.#compare);
    let next = 0;
    for (let at = this.#firstFrom(prefix, after); at < this.#sorted.length; at++) {
      const key = this.#sorted[at]!;
      if (!key.startsWith(prefix)) break;
      while (next < apart.length && this.#compare(apart[next]!, key) < 0) yield apart[next++]!;
      yield key;
    }
    while (next < apart.length) yield apart[next++]!;
  }

  /** Where the first one lies that is not before the prefix, and after `after`: all with one prefix lie together. */
  #firstFrom(prefix: string, after: string | undefined): number {
    const isBefore = (key: string): boolean =>
      this.#compare(key, prefix) < 0 || (after !== undefined && this.#compare(key, after) <= 0);
    let low = 0;
    for (let high = this.#sorted.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#sorted[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #merge(): void {
    const [left, right] = [this.#sorted, this.#apart.sort(this.#compare)];
    const all: string[] = [];
    let next = 0;
    for (const key of left) {
      while (next < right.length && this.#compare(right[next]!, key) < 0) all.push(right[next++]!);
      all.push(key);
    }
    while (next < right.length) all.push(right[next++]!);
    this.#sorted = all;
    this.#apart = [];
  }
}
