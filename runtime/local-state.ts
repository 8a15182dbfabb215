// Local state: a task's rows in its local store, and the positions that they belong to. It is brought up to the
// changelog's end before anything is read, and rebuilt when it cannot be trusted (task.ts K3, K8, K9 and K10).

import { AppError } from '../schemas/errors.ts';
import type { Offset } from '../schemas/ids.ts';
import type { Change, Mark, Store, StoreFolder } from '../state/store.ts';
import type { AnyTopic } from '../topology/topics.ts';
import type { DiskTable } from './disk-table.ts';
import { type Clock, MARK_KEY, type TaskLog } from './ports.ts';
import { NO_TABLE, type RowTable } from './row-table.ts';
import type { Logger, Meter } from './telemetry.ts';

export interface LocalStateParts {
  /** Name of the task, and of its store. */
  readonly name: string;
  readonly group: string;
  readonly log: Pick<TaskLog, 'restore' | 'removalsKeptMs'>;
  readonly ports: {
    readonly stores: StoreFolder;
    readonly clock: Pick<Clock, 'now'>;
    readonly logger: Logger;
    readonly meter: Meter;
  };
  readonly tables: readonly RowTable[];
  readonly diskTables: readonly DiskTable[];
  /** The configured incarnation of the topics that have incarnations. */
  readonly incarnation: number;
  /** The topics that the task consumes. */
  readonly topics: readonly AnyTopic[];
  /** Called when the log is asked, and when it has answered. */
  readonly heard: () => void;
}

export class LocalState {
  readonly #parts: LocalStateParts;
  #store: Store | undefined;
  #restored = { done: 0, total: 0 };
  #starts = 1;

  constructor(parts: LocalStateParts) {
    this.#parts = parts;
  }

  get isOpen(): boolean {
    return this.#store !== undefined;
  }

  /** Number of changelog records restored, and in all. */
  get restored(): { readonly done: number; readonly total: number } {
    return this.#restored;
  }

  /**
   * Opens the store, catches up with the changelog and loads the rows that are kept in memory. Resolves with the input
   * positions to continue from.
   */
  async restore(): Promise<Record<string, Offset>> {
    const { name, ports } = this.#parts;
    try {
      return await this.#restoreOnto(await this.#open());
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'STORE_CORRUPT') throw error;
      await this.close();
      this.#warnRebuild(error);
      await ports.stores.destroy(name);
      return this.#restoreOnto(await ports.stores.open(name));
    }
  }

  /** The changelog record that stores these positions. */
  markOf(inputs: Mark['inputs']): Change {
    const position: Position = { inputs, incarnation: this.#parts.incarnation, starts: this.#starts };
    return { key: MARK_KEY, value: Buffer.from(JSON.stringify(position), 'utf8') };
  }

  /** Writes the changes of a commit; `changelog` is the next offset of the changelog (K3). */
  write(changes: readonly Change[], changelog: Offset, inputs: Mark['inputs']): Promise<void> {
    return this.#write(changes, changelog, { inputs, incarnation: this.#parts.incarnation, starts: this.#starts });
  }

  async close(): Promise<void> {
    await this.#store?.close();
    this.#store = undefined;
  }

  async #open(): Promise<Store> {
    const { name, ports } = this.#parts;
    try {
      return await ports.stores.open(name);
    } catch (error) {
      if (!(error instanceof AppError) || (error.code !== 'STORE_CORRUPT' && error.code !== 'STORE_FORMAT'))
        throw error;
      this.#warnRebuild(error);
      await ports.stores.destroy(name);
      return ports.stores.open(name);
    }
  }

  #warnRebuild(error: AppError): void {
    const { name, ports } = this.#parts;
    ports.logger.warn(
      { task: name, code: error.code, reason: error.message, ...error.facts },
      `the local state ${error.code === 'STORE_FORMAT' ? 'is of another engine or format' : 'cannot be trusted'}; it is rebuilt from the changelog, and nothing is lost`,
    );
  }

  async #restoreOnto(store: Store): Promise<Record<string, Offset>> {
    const { name, group, log, ports, tables, diskTables, heard } = this.#parts;
    this.#store = store;
    const mark = await store.mark();
    const from = mark?.changelog ?? 0;
    const isOld = this.#mayMissRemovals(mark);
    let position: Position = mark ?? { inputs: {} };
    heard();
    const end = await log.restore(from, async (changes, next, total) => {
      heard();
      if (isOld) throw this.#tooOld(mark);
      const rows: Change[] = [];
      for (const change of changes) {
        if (change.key !== MARK_KEY) rows.push(change);
        else if (change.value !== undefined) position = positionIn(change.value);
      }
      await this.#write(rows, next, position);
      this.#restored = { done: next - from, total: total - from };
      ports.meter.add('foreshard_restored_records_total', changes.length, { group });
    });
    if (end < from) {
      throw new AppError(
        'INPUT_TRUNCATED',
        `the changelog of task ${name} ends at ${end}, before the local state’s position ${from}: it was deleted or truncated. Restore the topic, or remove the state folder of every instance to start from the inputs again`,
        { task: name, end, from },
      );
    }
    if (isOld && end > from) throw this.#tooOld(mark);
    await this.#write([], end, position);
    this.#starts = (position.starts ?? 0) + 1; // K10
    for (const rows of tables) {
      rows.starts = this.#starts;
      if (rows.table === NO_TABLE) continue;
      for await (const [key, value] of store.entries(rows.prefix)) rows.load(key.slice(rows.prefix.length), value);
    }
    for (const disk of diskTables) disk.open(store);
    return this.#inputsOfThisLife(position);
  }

  /** The positions that are still valid (K9). Those of an earlier incarnation of a topic are not. */
  #inputsOfThisLife({ inputs, incarnation = this.#parts.incarnation }: Position): Record<string, Offset> {
    const { name, ports, topics, incarnation: expected } = this.#parts;
    const anew = topics.filter(({ hasIncarnations }) => hasIncarnations).map((topic) => topic.name);
    if (incarnation > expected) {
      throw new AppError(
        'CONFIG_INVALID',
        `task ${name} has read ${anew.length > 0 ? `topic ${anew.join(', ')}` : 'its topics'} in incarnation ${incarnation}, but FORESHARD_INCARNATION is ${expected}: new events would count as older than the stored ones. Never lower that setting`,
        { task: name, found: incarnation, expected },
      );
    }
    if (incarnation === expected) return { ...inputs };
    for (const topic of anew)
      ports.logger.warn(
        { task: name, topic, before: incarnation, incarnation: expected },
        `topic ${topic} was recreated: it is read from its start`,
      );
    const isAnew = (place: string): boolean => anew.some((topic) => place.startsWith(`${topic}/`));
    return Object.fromEntries(Object.entries(inputs).filter(([place]) => !isAnew(place)));
  }

  #write(changes: readonly Change[], changelog: Offset, { inputs, incarnation, starts }: Position): Promise<void> {
    const mark: Mark = {
      changelog,
      inputs,
      ...(incarnation === undefined ? {} : { incarnation }),
      ...(starts === undefined ? {} : { starts }),
    };
    return this.#store!.write(changes, { ...mark, writtenAt: this.#parts.ports.clock.now() });
  }

  /**
   * Whether the changelog may have dropped removals that the store does not have (K8). A quarter of the time is a
   * margin for clock differences and the restore itself.
   */
  #mayMissRemovals(mark: Mark | undefined): boolean {
    if (mark === undefined) return false;
    const ageMs = Math.abs(this.#parts.ports.clock.now() - (mark.writtenAt ?? Number.NEGATIVE_INFINITY));
    return ageMs > 0.75 * this.#parts.log.removalsKeptMs;
  }

  #tooOld(mark: Mark | undefined): AppError {
    const { name, log } = this.#parts;
    const { removalsKeptMs } = log;
    return new AppError(
      'STORE_CORRUPT',
      `the local store ${name} is too old to be caught up: its changelog keeps removals for ${removalsKeptMs} ms. It is rebuilt`,
      { store: name, writtenAt: mark?.writtenAt, removalsKeptMs },
    );
  }
}

/** The input positions of a task as the changelog stores them. */
type Position = Pick<Mark, 'inputs' | 'incarnation' | 'starts'>;

/** Parses it. An earlier release wrote only the inputs. */
function positionIn(value: Buffer): Position {
  const parsed = JSON.parse(value.toString('utf8')) as Position | Mark['inputs'];
  return typeof parsed.inputs === 'object' ? (parsed as Position) : { inputs: parsed as Mark['inputs'] };
}
