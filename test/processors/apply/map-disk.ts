// Map disk: the rows on disk of one stage, in a map. Slow and plain, and as strict as the runner's (runtime/disk-table.ts): a
// step reads what its stage has asked for and nothing else.

import { strict as assert } from 'node:assert';
import type { DiskRows, Needs, Page, PageOfRows } from '../../../processors/step.ts';
import { compareUtf8 } from '../../../state/utf8.ts';

export class MapDisk<Row> implements DiskRows<Row> {
  #rows = new Map<string, Row>();
  #durable: ReadonlyMap<string, Row> = new Map();
  #asked: ReadonlySet<string> = new Set();

  /** What the next step may read. */
  foresee({ keys = [], pages = [] }: Needs): void {
    this.#asked = new Set([...keys, ...pages.map(nameOf)]);
  }

  commit(): void {
    this.#durable = new Map(this.#rows);
  }

  crash(): void {
    this.#rows = new Map(this.#durable);
  }

  get(key: string): Row | undefined {
    assert(this.#asked.has(key), `${key} was not asked for`);
    return this.#rows.get(key);
  }

  page(page: Page): PageOfRows<Row> {
    assert(this.hasPage(page), `${nameOf(page)} was not asked for`);
    const { prefix, after, below, limit } = page;
    const within = [...this.#rows]
      .filter(([key]) => key.startsWith(prefix))
      .filter(([key]) => after === undefined || compareUtf8(key, after) > 0)
      .filter(([key]) => below === undefined || compareUtf8(key, below) < 0)
      .sort(([a], [b]) => compareUtf8(a, b));
    const rows = within.slice(0, limit);
    return { rows, done: within.length <= limit, last: rows.at(-1)?.[0] };
  }

  hasPage(page: Page): boolean {
    return this.#asked.has(nameOf(page));
  }

  set(key: string, row: Row): void {
    this.#rows.set(key, row);
  }

  delete(key: string): void {
    this.#rows.delete(key);
  }
}

const nameOf = ({ prefix, after, below, limit }: Page): string => JSON.stringify([prefix, after, below, limit]);
