// Pointer reader: follows the pointer topic and keeps its table, for a broker or anything else that must know where
// subscriptions are.
//
//   B1. `ready` resolves by position, never by time: when everything that was in the topic at the start is in the
//       table.
//   B2. A snapshot only saves work: records below its position are not decoded again. A snapshot whose position is
//       beyond the topic's end comes from an earlier topic of the same name, and is dropped.
//   B3. A record that cannot be read is counted and skipped; reading goes on.
//   B4. While the schema registry is unavailable the table stays as it is; reading continues by itself afterwards.
//   B5. When the topic's log is not the one that was read before, a new table is built beside the one in use, which
//       is replaced when the new one is complete.

import type { Batch, Clock, Follower, Log } from '../runtime/ports.ts';
import { preparePatiently } from '../runtime/registry-patience.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { Epoch, Offset } from '../schemas/ids.ts';
import type { PointerRecord } from '../schemas/records.ts';
import { type PointerRefusal, type PointerSnapshot, PointerTable } from '../state/pointer-table.ts';
import { pointers as pointerTopic } from '../topology/topics.ts';

export interface PointerReaderPorts {
  readonly log: Pick<Log, 'follow'>;
  readonly codec: Codec;
  readonly clock: Pick<Clock, 'sleep'>;
}

export interface PointerReaderSettings {
  /** Partitions of the subscriptions topic. */
  readonly partitions: number;
  /** A table saved by an earlier run. */
  readonly snapshot?: PointerSnapshot;
  /** Called for each record that no planner can have written (pointer-table.ts W1). */
  readonly onRefusal?: (refusal: PointerRefusal, key: string) => void;
}

export class PointerReader {
  readonly #ports: PointerReaderPorts;
  readonly #settings: PointerReaderSettings;
  readonly #listeners = new Set<(epoch: Epoch) => void>();
  #table: PointerTable;
  /** The new table, until it is complete (B5). */
  #anew: PointerTable | undefined;
  #follower: Follower | undefined;
  #isReady = false;
  #isFirst = true;
  #isClosed = false;
  #next: Offset = 0;
  /** The end of the topic when the last batch was read. */
  #end: Offset = 0;
  /** Called when the end has been read. */
  readonly #waiting: (() => void)[] = [];
  #ignored = 0;
  readonly #refuse = (refusal: PointerRefusal, key: string): void => {
    this.#ignored += 1;
    this.#settings.onRefusal?.(refusal, key);
  };

  /** Resolves once the table is complete (B1); rejects when following fails before that. */
  readonly ready: Promise<void>;

  private constructor(ports: PointerReaderPorts, settings: PointerReaderSettings, following: Promise<Follower>) {
    this.#ports = ports;
    this.#settings = settings;
    const { snapshot, partitions } = settings;
    const isUsable = snapshot?.format === 1 && snapshot.partitions === partitions;
    this.#table = isUsable ? PointerTable.restore(snapshot, this.#refuse) : new PointerTable(partitions, this.#refuse);
    this.ready = this.#begin(following);
    this.ready.catch(() => {}); // Callers that need the table await `ready`; when none does, its rejection must not be unhandled.
  }

  /** Begins to follow. Throws what `Log.follow` throws. */
  static async open(ports: PointerReaderPorts, settings: PointerReaderSettings): Promise<PointerReader> {
    let reader: PointerReader | undefined;
    const waiting: (() => void)[] = [];
    const following = ports.log.follow(pointerTopic.name, 'earliest', async (batch) => {
      if (reader === undefined) await new Promise<void>((resolve) => waiting.push(resolve));
      await reader!.#take(batch);
    });
    reader = new PointerReader(ports, settings, following);
    for (const resolve of waiting) resolve();
    reader.#follower = await following;
    return reader;
  }

  /** The current table. Ask for it again after a wait: when the topic is created anew, another table replaces it. */
  get table(): PointerTable {
    return this.#table;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Records that could not be read (B3), or that no planner can have written. */
  get ignored(): number {
    return this.#ignored;
  }

  /** Calls `listener` with the table's epoch after each change of it, until the returned function is called. */
  onChange(listener: (epoch: Epoch) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Waits, at most `waitMs`, until the table is newer than `epoch`; whether it is. */
  async newerThan(epoch: Epoch, waitMs: number): Promise<boolean> {
    if (this.#table.epoch > epoch) return true;
    let stop = (): void => {};
    const changed = new Promise<void>((resolve) => {
      stop = this.onChange((now) => {
        if (now > epoch) resolve();
      });
    });
    await Promise.race([changed, this.#ports.clock.sleep(waitMs)]);
    stop();
    return this.#table.epoch > epoch;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#listeners.clear();
    for (const resolve of this.#waiting.splice(0)) resolve();
    await this.#follower?.close();
  }

  async #begin(following: Promise<Follower>): Promise<void> {
    const follower = await following;
    await follower.caughtUp;
    if (this.#isFirst) this.#restart(); // No record of the topic has come: a snapshot is of an earlier topic (B2).
    // More than there was at the start may have been read by now, and end within a change (B1).
    if (this.#next < this.#end) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#reached(this.#next, this.#next);
    this.#isReady = true;
  }

  async #take(batch: Batch): Promise<void> {
    if (this.#isFirst && this.#table.position > batch.endOffset) this.#restart(); // B2
    this.#isFirst = false;
    if (batch.restartsAt !== undefined) this.#anew = new PointerTable(this.#settings.partitions, this.#refuse);
    const table = this.#anew ?? this.#table;
    const fresh = batch.records.filter(({ offset }) => offset >= table.position);
    const values = fresh.map(({ value }) => value);
    const waiting = { ...this.#ports, isOver: () => this.#isClosed };
    if (!(await preparePatiently(waiting, 'PointerRecord', values))) return; // B4
    const before = this.#table.epoch;
    for (const { key, value, offset } of fresh) {
      if (key === null) this.#ignored += 1;
      else if (value === null) table.apply(key.toString('utf8'), null, offset);
      else {
        const record = this.#decoded(value);
        if (record !== undefined) table.apply(key.toString('utf8'), record, offset);
      }
    }
    this.#next = batch.nextOffset;
    this.#end = batch.endOffset;
    if (this.#next >= this.#end) for (const resolve of this.#waiting.splice(0)) resolve();
    if (this.#anew !== undefined) {
      if (batch.nextOffset < batch.endOffset) return void this.#anew.reached(batch.nextOffset, batch.endOffset);
      this.#table = this.#anew;
      this.#anew = undefined;
    }
    this.#reached(batch.nextOffset, batch.endOffset, before);
  }

  #decoded(value: Buffer): PointerRecord | undefined {
    try {
      return this.#ports.codec.decode('PointerRecord', value) as PointerRecord;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.#ignored += 1;
      return undefined;
    }
  }

  #reached(position: Offset, end: Offset, before: Epoch = this.#table.epoch): void {
    this.#table.reached(position, end);
    const { epoch } = this.#table;
    if (epoch !== before) for (const listener of [...this.#listeners]) listener(epoch);
  }

  #restart(): void {
    if (this.#table.position > 0) this.#table = new PointerTable(this.#settings.partitions, this.#refuse);
  }
}
