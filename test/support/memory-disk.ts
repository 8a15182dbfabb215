// Memory disk: the rows of a stage that it keeps on disk, in memory, for tests that step a stage by hand. Rows lie there as
// bytes, and a step that looks at what its stage did not ask for is caught.

import type { DiskRows, Needs, Page, PageOfRows, Table } from '../../processors/step.ts';
import { compareUtf8 } from '../../state/utf8.ts';

export class MemoryDisk<Row> implements DiskRows<Row> {
  readonly #table: Table<Row>;
  readonly #rows: Map<string, Buffer>;
  #needed: Needs = {};

  constructor(table: Table<Row>, rows: ReadonlyMap<string, Buffer> = new Map()) {
    this.#table = table;
    this.#rows = new Map(rows);
  }

  /** Of the next step. */
  need(needed: Needs): void {
    this.#needed = needed;
  }

  get(key: string): Row | undefined {
    if (!this.#needed.keys?.includes(key))
      throw new Error(`a step looks at ${JSON.stringify(key)}, which is not needed`);
    return this.#row(key);
  }

  hasPage(page: Page): boolean {
    return this.#needed.pages?.some((other) => JSON.stringify(other) === JSON.stringify(page)) ?? false;
  }

  page(page: Page): PageOfRows<Row> {
    if (!this.hasPage(page)) throw new Error(`a step looks at the page ${JSON.stringify(page)}, which is not needed`);
    const { prefix, after, below, limit } = page;
    const keys = this.keys.filter(
      (key) =>
        key.startsWith(prefix) &&
        (after === undefined || compareUtf8(key, after) > 0) &&
        (below === undefined || compareUtf8(key, below) < 0),
    );
    const some = keys.slice(0, limit);
    return { rows: some.map((key) => [key, this.#row(key)!]), done: keys.length <= limit, last: some.at(-1) };
  }

  set(key: string, row: Row): void {
    this.#rows.set(key, Buffer.from(this.#table.encode(row)));
  }

  delete(key: string): void {
    this.#rows.delete(key);
  }

  /** In their order. */
  get keys(): string[] {
    return [...this.#rows.keys()].sort(compareUtf8);
  }

  /** As they lie there. */
  get stored(): ReadonlyMap<string, Buffer> {
    return this.#rows;
  }

  #row(key: string): Row | undefined {
    const bytes = this.#rows.get(key);
    return bytes === undefined ? undefined : this.#table.decode(bytes);
  }
}
