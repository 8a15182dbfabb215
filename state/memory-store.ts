// Memory store: the reference implementation of the Store contract, written to be read. The engines under edge/ are
// tested with the same suite. Rows live as long as their folder object, so a store can be closed and opened again.

import { AppError } from '../schemas/errors.ts';
import type { Change, Mark, Store, StoreFolder } from './store.ts';
import { compareUtf8 } from './utf8.ts';

interface Kept {
  readonly rows: Map<string, Buffer>;
  mark: Mark | undefined;
}

export function memoryFolder(): StoreFolder {
  const kept = new Map<string, Kept>();
  return {
    open: async (task) => {
      const found = kept.get(task) ?? { rows: new Map<string, Buffer>(), mark: undefined };
      kept.set(task, found);
      return new MemoryStore(found);
    },
    destroy: async (task) => {
      kept.delete(task);
    },
  };
}

class MemoryStore implements Store {
  readonly #kept: Kept;
  #closed = false;

  constructor(kept: Kept) {
    this.#kept = kept;
  }

  async get(key: string): Promise<Buffer | undefined> {
    this.#mustBeOpen();
    const value = this.#kept.rows.get(key);
    return value === undefined ? undefined : Buffer.from(value);
  }

  async getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]> {
    return Promise.all(keys.map((key) => this.get(key)));
  }

  entries(prefix: string, after?: string): AsyncIterable<readonly [key: string, value: Buffer]> {
    this.#mustBeOpen();
    const found = [...this.#kept.rows]
      .filter(([key]) => key.startsWith(prefix) && (after === undefined || compareUtf8(key, after) > 0))
      .sort(([left], [right]) => compareUtf8(left, right));
    return this.#each(found);
  }

  async write(changes: readonly Change[], mark: Mark): Promise<void> {
    this.#mustBeOpen();
    for (const { key, value } of changes) {
      if (value === undefined) this.#kept.rows.delete(key);
      else this.#kept.rows.set(key, Buffer.from(value));
    }
    this.#kept.mark = { ...mark, inputs: { ...mark.inputs } };
  }

  async mark(): Promise<Mark | undefined> {
    this.#mustBeOpen();
    return this.#kept.mark;
  }

  async clear(): Promise<void> {
    this.#mustBeOpen();
    this.#kept.rows.clear();
    this.#kept.mark = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async *#each(found: readonly [string, Buffer][]): AsyncIterable<readonly [key: string, value: Buffer]> {
    for (const [key, value] of found) {
      this.#mustBeOpen();
      yield [key, Buffer.from(value)];
    }
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new AppError('STORE_CLOSED', 'the store in memory is closed');
  }
}
