// Local states: the folder of local stores on a simulated host. It outlives the processes on it, but for the last writes
// of one that is killed, or all of it.

import { memoryFolder } from '../../state/memory-store.ts';
import type { Change, Mark, Store, StoreFolder } from '../../state/store.ts';
import type { Faults } from './faults.ts';
import type { Process } from './process.ts';
import type { Chance } from './scheduler.ts';

/** Writes that a power cut may take back. */
const UNSYNCED_MAX = 8;

interface Undo {
  readonly task: string;
  readonly changes: readonly Change[];
  readonly mark: Mark | undefined;
}

export class LocalStates {
  #folder = memoryFolder();
  readonly #faults: Faults;
  readonly #chance: Chance;
  #undo: Undo[] = [];

  constructor(faults: Faults, chance: Chance) {
    this.#faults = faults;
    this.#chance = chance;
  }

  /** As a process has it. */
  folderOf(process: Process): StoreFolder {
    return {
      open: async (task) => {
        await process.live();
        return this.#watched(task, await this.#folder.open(task), process);
      },
      destroy: (task) => this.#folder.destroy(task),
    };
  }

  /** A process on the host was killed: the last writes may be gone, each task's in order. */
  async torn(): Promise<void> {
    if (this.#faults.strikes('state gone')) {
      this.#folder = memoryFolder();
      this.#undo = [];
    }
    if (this.#faults.strikes('torn state')) {
      const last = this.#undo.splice(-this.#chance.below(UNSYNCED_MAX + 1));
      for (const { task, changes, mark } of last.reverse()) {
        const store = await this.#folder.open(task);
        if (mark === undefined) await store.clear();
        else await store.write(changes, mark);
      }
    }
    this.#undo = [];
  }

  #watched(task: string, store: Store, process: Process): Store {
    const own = Object.create(store) as Store;
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(store)) as (keyof Store)[])
      if (typeof store[name] === 'function')
        (own as unknown as Record<string, unknown>)[name] = (store[name] as () => unknown).bind(store);
    own.write = async (changes, mark) => {
      await process.live();
      if (this.#faults.doses['torn state'] > 0) {
        const before = await store.getMany(changes.map(({ key }) => key));
        const undone = changes.map(({ key }, i): Change => ({ key, value: before[i] }));
        this.#undo.push({ task, changes: undone, mark: await store.mark() });
        if (this.#undo.length > UNSYNCED_MAX) this.#undo.shift();
        await process.live();
      }
      await store.write(changes, mark);
    };
    return own;
  }
}
