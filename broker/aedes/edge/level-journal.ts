// Level journal: what a session store keeps, in a LevelDB folder.
//
//   J1. Changes are written in the order in which they came, in one atomic batch at a time: the folder holds the store
//       as it was at some moment. What came during a batch is in the next one, so a crash loses some milliseconds of
//       changes: Aedes acknowledges a message before it stores it in any case.
//   J2. A batch that fails is written again, with what came meanwhile, until it succeeds; each failure is told. A key
//       that changes again meanwhile takes no more room.

import { setTimeout as sleep } from 'node:timers/promises';
import { deserialize, serialize } from 'node:v8';
import { Level } from 'level';
import { AppError } from '../../../schemas/errors.ts';
import type { Journal, SessionStore } from '../session-store.ts';

const RETRY_MS = 1_000;
const REMOVED = Symbol('removed');

export interface LevelJournal extends Journal {
  /** Gives everything that is in the folder to the store. */
  restoreInto(store: SessionStore): Promise<void>;
  /** Resolves when everything that was given is in the folder. */
  written(): Promise<void>;
  /** Writes what is waiting, and closes the folder. */
  close(): Promise<void>;
}

/** Opens or makes the folder. Throws STORE_UNAVAILABLE when it cannot, or when another process has it. */
export async function levelJournal(folder: string, failed: (error: unknown) => void): Promise<LevelJournal> {
  const db = new Level<string, Buffer>(folder, { valueEncoding: 'buffer' });
  try {
    await db.open();
  } catch (error) {
    throw new AppError('STORE_UNAVAILABLE', `the folder ${folder} cannot be opened`, { folder }, error);
  }
  return new Writing(db, failed);
}

class Writing implements LevelJournal {
  readonly #db: Level<string, Buffer>;
  readonly #failed: (error: unknown) => void;
  #waiting = new Map<string, Buffer | typeof REMOVED>();
  #writing: Promise<void> | undefined;
  #isClosing = false;

  constructor(db: Level<string, Buffer>, failed: (error: unknown) => void) {
    this.#db = db;
    this.#failed = failed;
  }

  put(key: string, value: unknown): void {
    this.#change(key, serialize(value));
  }

  remove(key: string): void {
    this.#change(key, REMOVED);
  }

  async restoreInto(store: SessionStore): Promise<void> {
    for await (const [key, value] of this.#db.iterator()) store.restore(key, deserialize(value));
  }

  async written(): Promise<void> {
    await this.#writing;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#writing;
    await this.#db.close();
  }

  #change(key: string, value: Buffer | typeof REMOVED): void {
    this.#waiting.set(key, value);
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    await Promise.resolve(); // What changes in one turn is in one batch.
    while (this.#waiting.size > 0) {
      const changes = this.#waiting;
      this.#waiting = new Map();
      try {
        const batch = this.#db.batch();
        for (const [key, value] of changes) {
          if (value === REMOVED) batch.del(key);
          else batch.put(key, value);
        }
        await batch.write();
      } catch (error) {
        this.#failed(error);
        if (this.#isClosing) break;
        this.#waiting = new Map([...changes, ...this.#waiting]); // J2
        await sleep(RETRY_MS);
      }
    }
    this.#writing = undefined;
  }
}
