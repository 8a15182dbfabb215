// Table sums: checksums of a store's table files, in a file beside them. Neither LevelDB nor RocksDB verifies its
// tables in the way we read them: one flipped bit can turn a row into a removal, which no checksum of a value shows,
// and RocksDB aborts the process over a table that it cannot parse. Tables never change once written, so they are
// compared before the engine opens them.
//
//   T1. A table whose recorded sum differs makes the store corrupt. A table that is missing was merged into others, or
//       the engine itself notices that it is missing.
//   T2. Sums are recorded after opening, now and then while writing, and after closing. Damage is not found in a table
//       that was written after the last recording before the process died.

import { AppError } from '../schemas/errors.ts';
import { type Checksum, seal, unseal } from './seal.ts';

export type EngineName = 'level' | 'rocksdb';

/** The folder of one store: the calls of Node's file system that are needed. */
export interface StoreFiles {
  readonly engine: EngineName;
  readonly tableSuffix: string;
  list(): Promise<readonly string[]>;
  /** `undefined` when there is no such file. */
  read(name: string): Promise<Buffer | undefined>;
  /** Replaces the file completely or not at all. */
  replace(name: string, bytes: Buffer): Promise<void>;
}

const FILE = 'table-sums';
const KEY = Buffer.from(FILE);

export class TableSums {
  readonly #files: StoreFiles;
  readonly #checksum: Checksum;
  readonly #sums = new Map<string, number>();

  constructor(files: StoreFiles, checksum: Checksum) {
    this.#files = files;
    this.#checksum = checksum;
  }

  /** Compares every table with its recorded sum (T1). Throws STORE_CORRUPT. Call before the engine opens the folder. */
  async compare(): Promise<void> {
    const sealed = await this.#files.read(FILE);
    if (sealed === undefined) return; // A new folder, or one whose sums were not recorded yet.
    const bytes = unseal(this.#checksum, KEY, sealed);
    if (bytes === undefined) throw changed(FILE);
    const recorded = JSON.parse(bytes.toString('utf8')) as Record<string, number>;
    for (const table of await this.#tables()) {
      const sum = recorded[table];
      if (sum === undefined) continue;
      const found = await this.#files.read(table);
      if (found !== undefined && this.#checksum(found) !== sum) throw changed(table);
      this.#sums.set(table, sum);
    }
  }

  /** Records the sums of the tables as they are now. */
  async record(): Promise<void> {
    const tables = new Set(await this.#tables());
    let isNew = false;
    for (const table of this.#sums.keys()) if (!tables.has(table)) isNew = this.#sums.delete(table);
    for (const table of tables) {
      if (this.#sums.has(table)) continue;
      const bytes = await this.#files.read(table);
      if (bytes === undefined) continue; // Merged into another table meanwhile.
      this.#sums.set(table, this.#checksum(bytes));
      isNew = true;
    }
    if (!isNew) return;
    const bytes = Buffer.from(JSON.stringify(Object.fromEntries(this.#sums)));
    await this.#files.replace(FILE, seal(this.#checksum, KEY, bytes));
  }

  async #tables(): Promise<string[]> {
    return (await this.#files.list()).filter((name) => name.endsWith(this.#files.tableSuffix));
  }
}

function changed(file: string): AppError {
  return new AppError(
    'STORE_CORRUPT',
    `file ${file} of a local store has changed since it was written. The store is rebuilt from the changelog`,
    { file },
  );
}
