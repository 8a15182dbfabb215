// Disk table: the rows of one stage in one task, where they may not all fit in memory. They are read from the local
// store before the step that needs them, and changed rows wait for the next commit.
//
//   D1. In memory are the changed rows, the rows that the current batch needs, and at most CACHED_ROWS_MAX others read
//       before.
//   D2. A step sees its own earlier writes: changed rows take precedence over stored ones.

import type { DiskRows, Needs, Page, PageOfRows, Table } from '../processors/step.ts';
import { assert } from '../schemas/errors.ts';
import type { Change, Store } from '../state/store.ts';
import { compareUtf8 } from '../state/utf8.ts';
import { SortedKeys } from './sorted-keys.ts';

type StoredRows = Pick<Store, 'getMany' | 'entries'>;

interface StoredPage {
  readonly rows: readonly (readonly [key: string, row: unknown])[];
  /** The last key that was read; `undefined` at the end of the prefix. */
  readonly upTo: string | undefined;
}

/** Takes a few megabytes for each task. */
const CACHED_ROWS_MAX = 8_192;

export class DiskTable implements DiskRows<unknown> {
  readonly table: Table<unknown>;
  #store: StoredRows | undefined;
  /** Rows as stored, `undefined` for none; the most recently read come last. */
  readonly #stored = new Map<string, unknown>();
  readonly #dirty = new Map<string, unknown>();
  /** Of the changed rows, in order. */
  readonly #changed = new SortedKeys();
  readonly #pages = new Map<string, StoredPage>();

  constructor(table: Table<unknown>) {
    this.table = table;
  }

  get prefix(): string {
    return `${this.table.name}/`;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** `store` must contain everything that was committed. */
  open(store: StoredRows): void {
    this.#store = store;
  }

  /** Reads what the next steps need. Pages that were read before are dropped. */
  async read(needed: readonly Needs[]): Promise<void> {
    this.#pages.clear();
    this.#trim(); // Before the missing rows are determined: no row that these steps need is dropped.
    const missing = new Set<string>();
    for (const { keys = [] } of needed)
      for (const key of keys) if (!this.#dirty.has(key) && !this.#stored.has(key)) missing.add(key);
    if (missing.size > 0) {
      const keys = [...missing];
      const values = await this.#store!.getMany(keys.map((key) => this.prefix + key));
      for (const [i, key] of keys.entries()) this.#stored.set(key, this.#decoded(values[i]));
    }
    for (const { pages = [] } of needed)
      for (const page of pages) this.#pages.set(nameOf(page), await this.#scanned(page));
  }

  get(key: string): unknown {
    if (this.#dirty.has(key)) return this.#dirty.get(key);
    assert(this.#stored.has(key), `a step looks at a row of ${this.table.name} that its stage has not asked for`);
    return this.#stored.get(key);
  }

  page(page: Page): PageOfRows<unknown> {
    const stored = this.#pages.get(nameOf(page));
    assert(stored !== undefined, `a step looks at a page of ${this.table.name} that its stage has not asked for`);
    const { upTo } = stored;
    const rows = stored.rows.filter(([key]) => !this.#dirty.has(key));
    let isMixed = false;
    let changed = 0;
    for (const key of this.#changed.from(page.prefix, page.after)) {
      if (changed > page.limit || !isWithin(page, upTo, key)) break;
      const row = this.#dirty.get(key);
      if (row === undefined) continue;
      rows.push([key, row]);
      changed += 1;
      isMixed = true;
    }
    if (isMixed) rows.sort(([a], [b]) => compareUtf8(a, b));
    if (rows.length > page.limit) {
      const some = rows.slice(0, page.limit);
      return { rows: some, done: false, last: some.at(-1)![0] };
    }
    return { rows, done: upTo === undefined, last: upTo ?? rows.at(-1)?.[0] };
  }

  hasPage(page: Page): boolean {
    return this.#pages.has(nameOf(page));
  }

  set(key: string, row: unknown): void {
    this.#change(key, row);
  }

  delete(key: string): void {
    this.#change(key, undefined);
  }

  /** Appends the changes since the last call to `into`, as bytes. */
  drain(into: Change[]): void {
    for (const [key, row] of this.#dirty) {
      into.push({ key: this.prefix + key, value: row === undefined ? undefined : this.table.encode(row) });
      this.#stored.delete(key);
      this.#stored.set(key, row);
    }
    this.#dirty.clear();
    this.#changed.clear();
    this.#pages.clear(); // After this, changed rows no longer take precedence over the pages read before (D2).
  }

  #change(key: string, row: unknown): void {
    if (!this.#dirty.has(key)) this.#changed.add(key);
    this.#dirty.set(key, row);
  }

  async #scanned(page: Page): Promise<StoredPage> {
    const rows: [string, unknown][] = [];
    const after = page.after === undefined ? undefined : this.prefix + page.after;
    for await (const [whole, value] of this.#store!.entries(this.prefix + page.prefix, after)) {
      const key = whole.slice(this.prefix.length);
      if (page.below !== undefined && compareUtf8(key, page.below) >= 0) break;
      if (this.#dirty.has(key)) continue; // The changed row takes precedence over the page's.
      rows.push([key, this.#decoded(value)]);
      if (rows.length === page.limit) return { rows, upTo: key };
    }
    return { rows, upTo: undefined };
  }

  #decoded(value: Buffer | undefined): unknown {
    return value === undefined ? undefined : this.table.decode(value);
  }

  /** Drops the rows read longest ago (D1). */
  #trim(): void {
    let over = this.#stored.size - CACHED_ROWS_MAX;
    for (const key of this.#stored.keys()) {
      if (over-- <= 0) return;
      this.#stored.delete(key);
    }
  }
}

const nameOf = ({ prefix, after, below, limit }: Page): string => JSON.stringify([prefix, after, below, limit]);

const isWithin = ({ below }: Page, upTo: string | undefined, key: string): boolean =>
  (below === undefined || compareUtf8(key, below) < 0) && (upTo === undefined || compareUtf8(key, upTo) <= 0);
