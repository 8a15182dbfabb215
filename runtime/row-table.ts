// RowTable: the rows of one stage in one task. All of them are in memory; changed rows wait for the next commit.

import type { Rows, Table } from '../processors/step.ts';
import type { Change } from '../state/store.ts';

/** For a stage that keeps no rows. */
export const NO_TABLE: Table<unknown> = {
  name: '',
  encode: () => Buffer.alloc(0),
  decode: () => undefined,
};

export class RowTable implements Rows<unknown> {
  readonly table: Table<unknown>;
  starts = 0;
  readonly #rows = new Map<string, unknown>();
  readonly #dirty = new Set<string>();

  constructor(table: Table<unknown>) {
    this.table = table;
  }

  get(key: string): unknown {
    return this.#rows.get(key);
  }

  set(key: string, row: unknown): void {
    this.#rows.set(key, row);
    this.#dirty.add(key);
  }

  delete(key: string): void {
    if (this.#rows.delete(key)) this.#dirty.add(key);
  }

  entries(): IterableIterator<[string, unknown]> {
    return this.#rows.entries();
  }

  get size(): number {
    return this.#rows.size;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** The key prefix of this table's rows in the store and the changelog. */
  get prefix(): string {
    return `${this.table.name}/`;
  }

  /** Adds a row as it was stored; it is not dirty. */
  load(key: string, bytes: Buffer): void {
    this.#rows.set(key, this.table.decode(bytes));
  }

  /** Appends the changes since the last call to `into`, as bytes. */
  drain(into: Change[]): void {
    for (const key of this.#dirty) {
      const row = this.#rows.get(key);
      into.push({ key: this.prefix + key, value: row === undefined ? undefined : this.table.encode(row) });
    }
    this.#dirty.clear();
  }
}
