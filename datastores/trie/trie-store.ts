// Trie store: the TRIE shard for wildcard and shared filters. Rows are in memory (subscription-table.ts), and every
// change is written to a journal on the disk first (journal.ts).
//
//   S1. A change is applied to memory after the journal has it: what was answered before a crash is still there after
//       it.
//   S2. One change at a time. Look-ups see complete changes, since a change is applied without a pause.
//   S3. Work over a whole range pauses between pages; rows that are inserted behind its position meanwhile are not
//       seen.

import { randomInt } from 'node:crypto';
import { setImmediate as pause } from 'node:timers/promises';
import { AppError } from '../../schemas/errors.ts';
import type { Epoch, EventTime, SliceKey } from '../../schemas/ids.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { groupSlice } from '../../state/keys.ts';
import { lacksIdentity, type Opening, type StoreIdentity } from '../identity.ts';
import { isSameRow, lastAt, mergeRows, writeResult } from '../merge.ts';
import { OwnerIndex } from '../owner-index.ts';
import { cursorAt, RowDigest, type RowPlace, rowBytes } from '../rows.ts';
import { Serial } from '../serial.ts';
import type { Answer, Count, LocalShardStore, Page, RangeDigest, WriteResult } from '../shard-store.ts';
import { residentOf } from '../vacancy.ts';
import { Journal } from './journal.ts';
import type { JournalRecord } from './journal-records.ts';
import { SubscriptionTable } from './subscription-table.ts';

export interface TrieStoreSettings {
  /** Partitions of the wildcard topic. */
  readonly partitions: number;
  /**
   * True (the default): a write waits for the disk. False: it survives the end of the process, but not a power failure.
   */
  readonly sync?: boolean;
  /** A snapshot is taken when the log is longer than this; it limits the duration of a restart. */
  readonly snapshotBytes?: number;
  /** Called for each snapshot that could not be taken; it is tried again. */
  readonly snapshotFailed?: (failure: AppError) => void;
  /** The identity that the folder must have (identity.ts); absent: any, or a new one. */
  readonly opening?: Opening;
  /** The host's clock. */
  readonly now?: () => number;
  /** Stores the changes instead of a journal in the folder. */
  readonly keptBy?: OpenJournal;
}

/** Opens a journal, as `Journal.open` does. */
export type OpenJournal = (replay: (record: JournalRecord) => void, admit: () => void) => Promise<ChangeLog>;
/** The part of a journal that is used. */
export type ChangeLog = Pick<Journal, 'append' | 'isSnapshotDue' | 'beginSnapshot' | 'close'>;

/** 64 MiB: about half a million changes, which are read in about a second. */
const SNAPSHOT_BYTES = 64 * 1024 * 1024;
/** Rows handled without a pause, and rows in one record of the journal: about a millisecond, about 100 KiB. */
const PAGE_ROWS = 1_000;

/**
 * Opens the folder, or creates it. Throws STORE_CORRUPT, STORE_FORMAT, STORE_UNAVAILABLE when it is open already, or
 * SHARD_LOST and FLEET_MISMATCH when its identity is not the one in `opening` (shard-store.ts D7).
 */
export async function openTrieStore(folder: string, settings: TrieStoreSettings): Promise<LocalShardStore> {
  const { opening } = settings;
  const held: Held = {
    identity: undefined,
    table: new SubscriptionTable(settings.partitions, randomInt(2 ** 31)),
    owners: new OwnerIndex(settings.partitions, settings.now ?? Date.now),
  };
  let isNew = false;
  const keeping = {
    sync: settings.sync ?? true,
    snapshotBytes: settings.snapshotBytes ?? SNAPSHOT_BYTES,
    snapshotFailed: settings.snapshotFailed ?? (() => {}),
  };
  const open: OpenJournal = settings.keptBy ?? ((replay, admit) => Journal.open(folder, keeping, replay, admit));
  const journal = await open(
    (record) => apply(record, held),
    () => {
      isNew = opening !== undefined && lacksIdentity(held.identity, opening, held.owners.all().length > 0);
    },
  );
  try {
    if (isNew) {
      const record: JournalRecord = { kind: 'identity', identity: opening!.identity };
      await journal.append(record);
      apply(record, held);
    }
  } catch (error) {
    await journal.close();
    throw error;
  }
  return new TrieStore(held, journal);
}

/** The state that the records of a journal add up to. */
interface Held {
  identity: StoreIdentity | undefined;
  readonly table: SubscriptionTable;
  readonly owners: OwnerIndex;
}

class TrieStore implements LocalShardStore {
  readonly kind = 'TRIE';
  readonly instanceId: string;
  readonly #held: Held;
  readonly #table: SubscriptionTable;
  readonly #owners: OwnerIndex;
  readonly #journal: ChangeLog;
  readonly #changes = new Serial();
  #closed: Promise<void> | undefined;

  constructor(held: Held, journal: ChangeLog) {
    this.instanceId = held.identity?.instanceId ?? '';
    this.#held = held;
    this.#table = held.table;
    this.#owners = held.owners;
    this.#journal = journal;
  }

  write(rows: readonly SubscriptionRow[]): Promise<WriteResult> {
    return this.#changing(async () => {
      let stale = 0;
      let foreign = 0;
      for (let from = 0; from < rows.length; from += PAGE_ROWS) {
        const merged = this.#merged(rows.slice(from, from + PAGE_ROWS));
        stale += merged.stale;
        foreign += merged.foreign;
        if (merged.rows.length > 0) await this.#change({ kind: 'rows', rows: merged.rows });
      }
      return writeResult(rows.length, stale, foreign);
    });
  }

  forget(rows: readonly SubscriptionRow[]): Promise<number> {
    return this.#changing(async () => {
      const same = rows.filter((row) => {
        const known = this.#table.rowAt(row);
        return known !== undefined && isSameRow(known, row);
      });
      await this.#erase(same);
      return same.length;
    });
  }

  own(owner: OwnerRecord): Promise<boolean> {
    return this.#changing(async () => {
      if (!this.#owners.accepts(owner)) return false;
      await this.#change({ kind: 'own', owner });
      return true;
    });
  }

  disown(slice: SliceKey, right: DisownRight): Promise<boolean> {
    return this.#changing(async () => {
      if (!this.#owners.allowsDisown(slice, right)) return false;
      await this.#change({ kind: 'disown', slice });
      return true;
    });
  }

  async owners(): Promise<readonly OwnerRecord[]> {
    this.#check();
    return this.#owners.all();
  }

  async lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]> {
    this.#check();
    return filters.map((filter) => {
      const moved = this.#owners.movedFor(filter, asker);
      if (moved !== undefined) return { kind: 'moved', epoch: moved };
      return { kind: 'found', subscribers: this.#table.subscribersOf(filter) };
    });
  }

  async match(
    queries: readonly { readonly topic: string; readonly slice: SliceKey; readonly epoch: Epoch }[],
  ): Promise<readonly Answer[]> {
    this.#check();
    return queries.map(({ topic, slice, epoch }) => {
      const ruling = this.#owners.rulingFor(topic, slice, epoch);
      if (ruling.kind === 'moved') return ruling;
      return { kind: 'found', subscribers: this.#table.matching(topic, ruling.includes) };
    });
  }

  async scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page> {
    this.#check();
    const { rows, done } = this.#table.page(range, cursor, undefined, limit);
    const last = rows.at(-1);
    return { rows, cursor: last === undefined ? undefined : cursorAt(last), done };
  }

  async digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest> {
    const digest = new RowDigest((filter) => this.#owners.finds(filter));
    for await (const rows of this.#pages(range, after, upTo)) for (const row of rows) digest.add(row);
    return digest.result();
  }

  erase(asked: SliceRange, limit: number, right: EraseRight): Promise<number | undefined> {
    return this.#changing(async () => {
      if (!this.#owners.allowsErase(asked.slice, right)) return undefined;
      const range = this.#owners.erasable(asked, right);
      for (const slice of this.#owners.within(range)) await this.#change({ kind: 'disown', slice });
      const { rows } = this.#table.page(range, undefined, undefined, limit);
      await this.#erase(rows);
      return rows.length;
    });
  }

  async count(range: SliceRange, from?: Cursor, limit = Number.POSITIVE_INFINITY): Promise<Count> {
    let entries = 0;
    let bytes = 0;
    let seen = 0;
    for await (const rows of this.#pages(range, from, undefined)) {
      for (const row of rows) {
        if (!row.gone) {
          entries += 1;
          bytes += rowBytes(row);
        }
        if (++seen === limit) return { entries, bytes, rest: cursorAt(row) };
      }
    }
    return { entries, bytes };
  }

  async dropTombstones(before: EventTime): Promise<number> {
    let dropped = 0;
    for (const partition of this.#table.partitions()) {
      const range = { slice: groupSlice(partition), except: [] };
      for await (const rows of this.#pages(range, undefined, undefined)) {
        // Checked again within the change: a row may have been written since the page was read.
        const old = rows.filter((row) => row.gone && lastAt(row) < before);
        if (old.length === 0) continue;
        await this.#changing(async () => {
          const places = old.filter((row) => this.#table.holds(row));
          await this.#erase(places);
          dropped += places.length;
        });
      }
    }
    return dropped;
  }

  closeIfVacant(): Promise<string | undefined> {
    return this.#changing(async () => {
      const resident = await residentOf(this, this.#owners.partitions);
      if (resident === undefined) {
        this.#closed = this.#journal.close();
        await this.#closed;
      }
      return resident;
    });
  }

  /**
   * Finishes the writes that have begun. A snapshot under way is given up; the logs that it would have replaced stay.
   */
  close(): Promise<void> {
    this.#closed ??= this.#changes.run(() => this.#journal.close());
    return this.#closed;
  }

  /** The rows that change when these rows are merged with the stored ones, and counts of those that change nothing. */
  #merged(rows: readonly SubscriptionRow[]): { readonly rows: SubscriptionRow[]; stale: number; foreign: number } {
    const changed = new Map<string, SubscriptionRow>();
    let stale = 0;
    let foreign = 0;
    for (const row of rows) {
      if (this.#owners.hasLeft(row.filter, row.clientId)) {
        stale += 1; // shard-store.ts D8
        continue;
      }
      const place = cursorAt(row);
      const merged = mergeRows(changed.get(place) ?? this.#table.rowAt(row), row);
      if (merged.is === 'stale') stale += 1;
      else changed.set(place, merged.row);
      if (merged.is === 'foreign') foreign += 1;
    }
    return { rows: [...changed.values()], stale, foreign };
  }

  async #erase(places: readonly RowPlace[]): Promise<void> {
    for (let from = 0; from < places.length; from += PAGE_ROWS) {
      const some = places.slice(from, from + PAGE_ROWS).map(({ filter, clientId }) => ({ filter, clientId }));
      await this.#change({ kind: 'erased', places: some });
    }
  }

  /** S2. */
  async #changing<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#check();
    return this.#changes.run(async () => {
      const result = await work();
      if (this.#journal.isSnapshotDue && this.#closed === undefined)
        await this.#journal.beginSnapshot(() => this.#state());
      return result;
    });
  }

  /** S1. */
  async #change(record: JournalRecord): Promise<void> {
    await this.#journal.append(record);
    apply(record, this.#held);
  }

  /** S3. */
  async *#pages(
    range: SliceRange,
    after: Cursor | undefined,
    upTo: Cursor | undefined,
  ): AsyncGenerator<readonly SubscriptionRow[]> {
    for (let cursor = after; ; ) {
      this.#check();
      const { rows, done } = this.#table.page(range, cursor, upTo, PAGE_ROWS);
      if (rows.length > 0) yield rows;
      if (done) return;
      cursor = cursorAt(rows.at(-1)!);
      await pause();
    }
  }

  /** The records that make up the state. */
  async *#state(): AsyncGenerator<JournalRecord> {
    const { identity } = this.#held;
    if (identity !== undefined) yield { kind: 'identity', identity };
    for (const owner of this.#owners.all()) yield { kind: 'own', owner };
    for (const partition of this.#table.partitions())
      for await (const rows of this.#pages({ slice: groupSlice(partition), except: [] }, undefined, undefined))
        yield { kind: 'rows', rows };
  }

  #check(): void {
    if (this.#closed !== undefined) throw new AppError('STORE_CLOSED', 'the shard has been closed');
  }
}

function apply(record: JournalRecord, held: Held): void {
  const { table, owners } = held;
  switch (record.kind) {
    case 'identity':
      held.identity = record.identity;
      return;
    case 'rows':
      for (const row of record.rows) table.put(row);
      return;
    case 'erased':
      for (const place of record.places) table.delete(place);
      return;
    case 'own':
      if (owners.accepts(record.owner)) owners.put(record.owner);
      return;
    case 'disown':
      owners.delete(record.slice);
  }
}
