// A datastore of one's own: subscriptions in a Map. It keeps what every shard's store promises (the rules D1 to D8 of
// datastores/shard-store.ts), except that it forgets everything when the process ends. Replace `Memory` by a database,
// and it is a real one. The suite that it passes is test/datastores/shard-store-suite.ts:
//
//   shardStoreSuite('memory', { kind: 'KEY_VALUE', home: async () => { ... openMemoryStore(memory) ... } })
//
// A store takes rows and owner records, and answers questions. The difficult parts are shared by all stores and
// imported here: which of two rows of one subscription wins (`mergeRows`), and which questions a shard may answer
// (`OwnerIndex`).

import {
  type Answer,
  AppError,
  type Count,
  type Cursor,
  compareUtf8,
  cursorAt,
  type DisownRight,
  type Epoch,
  type EraseRight,
  type EventTime,
  filterHash,
  isSameRow,
  type LocalShardStore,
  lastAt,
  leadingBits,
  mergeRows,
  OwnerIndex,
  type OwnerRecord,
  type Page,
  parseSlice,
  partitionOf,
  placeAt,
  type RangeDigest,
  RowDigest,
  residentOf,
  rowBytes,
  type SliceKey,
  type SliceRange,
  type SubscriptionRow,
  subscriberOf,
  type WriteResult,
  writeResult,
} from 'foreshard/datastore';

/** The contents of the database: it outlives the stores that are opened on it. */
export interface Memory {
  readonly partitions: number;
  /** By filter and client. */
  readonly rows: Map<string, SubscriptionRow>;
  readonly owners: OwnerIndex;
}

export const newMemory = (partitions: number): Memory => ({
  partitions,
  rows: new Map(),
  owners: new OwnerIndex(partitions, Date.now),
});

export const openMemoryStore = (memory: Memory): LocalShardStore => new MemoryStore(memory);

class MemoryStore implements LocalShardStore {
  readonly kind = 'KEY_VALUE'; // It holds concrete filters; those with wildcards are a TRIE store's.
  readonly instanceId = '';
  readonly #memory: Memory;
  #isClosed = false;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  // ---- Writing. Nothing here waits, so no two changes can interleave; a database needs a transaction, or Serial.

  async write(rows: readonly SubscriptionRow[]): Promise<WriteResult> {
    const memory = this.#opened();
    let [stale, foreign] = [0, 0];
    for (const row of rows) {
      if (memory.owners.hasLeft(row.filter, row.clientId)) {
        stale += 1; // D8: the write comes too late, the slice is at another shard.
        continue;
      }
      const merged = mergeRows(memory.rows.get(cursorAt(row)), row); // D1: the result does not depend on the order of rows.
      if (merged.is === 'stale') stale += 1;
      else memory.rows.set(cursorAt(row), merged.row);
      if (merged.is === 'foreign') foreign += 1;
    }
    return writeResult(rows.length, stale, foreign);
  }

  async forget(rows: readonly SubscriptionRow[]): Promise<number> {
    const memory = this.#opened();
    let forgotten = 0;
    for (const row of rows) {
      const known = memory.rows.get(cursorAt(row));
      if (known === undefined || !isSameRow(known, row)) continue; // D8: somebody has written it since.
      memory.rows.delete(cursorAt(row));
      forgotten += 1;
    }
    return forgotten;
  }

  async own(owner: OwnerRecord): Promise<boolean> {
    const { owners } = this.#opened();
    if (!owners.accepts(owner)) return false; // D4: an older record is refused.
    owners.put(owner);
    return true;
  }

  async disown(slice: SliceKey, right: DisownRight): Promise<boolean> {
    const { owners } = this.#opened();
    if (!owners.allowsDisown(slice, right)) return false; // D5
    for (const key of [slice, ...owners.forgottenWith(slice)]) owners.delete(key);
    return true;
  }

  async erase(asked: SliceRange, limit: number, right: EraseRight): Promise<number | undefined> {
    const { owners, rows } = this.#opened();
    if (!owners.allowsErase(asked.slice, right)) return undefined; // D5
    const range = owners.erasable(asked, right);
    const gone = this.#rowsOf(range).slice(0, limit);
    for (const row of gone) rows.delete(cursorAt(row));
    for (const slice of owners.within(range)) owners.delete(slice);
    return gone.length;
  }

  async dropTombstones(before: EventTime): Promise<number> {
    const { rows } = this.#opened();
    const old = [...rows].filter(([, row]) => row.gone && lastAt(row) < before);
    for (const [place] of old) rows.delete(place);
    return old.length;
  }

  // ---- Answering.

  async owners(): Promise<readonly OwnerRecord[]> {
    return this.#opened().owners.all();
  }

  async lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]> {
    const { owners, rows } = this.#opened();
    return filters.map((filter): Answer => {
      const moved = owners.movedFor(filter, asker); // D3: never an empty answer for a slice that is at another shard.
      if (moved !== undefined) return { kind: 'moved', epoch: moved };
      const subscribers = [...rows.values()].filter((row) => row.filter === filter && !row.gone);
      return {
        kind: 'found',
        subscribers: subscribers.map(subscriberOf),
      };
    });
  }

  async match(): Promise<readonly Answer[]> {
    throw new AppError('REQUEST_INVALID', 'a key-value shard cannot match topics: ask a trie shard');
  }

  // ---- Scanning a range: used by moves to copy and compare.

  async scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page> {
    const left = this.#rowsOf(range, cursor);
    const rows = left.slice(0, limit);
    return { rows, cursor: rows.length === 0 ? undefined : cursorAt(rows.at(-1)!), done: left.length <= limit };
  }

  async digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest> {
    const { owners } = this.#opened();
    const digest = new RowDigest((filter) => owners.finds(filter));
    for (const row of this.#rowsOf(range, after, upTo)) digest.add(row);
    return digest.result();
  }

  async count(range: SliceRange, from?: Cursor, limit = Number.POSITIVE_INFINITY): Promise<Count> {
    const left = this.#rowsOf(range, from);
    const seen = left.slice(0, limit);
    const live = seen.filter((row) => !row.gone);
    const sums = { entries: live.length, bytes: live.reduce((sum, row) => sum + rowBytes(row), 0) };
    return seen.length === limit ? { ...sums, rest: cursorAt(seen.at(-1)!) } : sums;
  }

  async closeIfVacant(): Promise<string | undefined> {
    const resident = await residentOf(this, this.#memory.partitions); // D6
    if (resident === undefined) this.#isClosed = true;
    return resident;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #opened(): Memory {
    if (this.#isClosed) throw new AppError('STORE_CLOSED', 'the shard has been closed');
    return this.#memory;
  }

  /** The rows of a range with after < key <= upTo, in the key order that all key-value stores have. */
  #rowsOf({ slice, except }: SliceRange, after?: Cursor, upTo?: Cursor): SubscriptionRow[] {
    const { partitions, rows } = this.#opened();
    const isIn = holds(slice, partitions);
    const isElsewhere = except.map((each) => holds(each, partitions));
    const compare = orderOf(partitions);
    return [...rows.values()]
      .filter((row) => isIn(row) && !isElsewhere.some((test) => test(row)))
      .filter((row) => after === undefined || compare(row, placeAt(after)) > 0)
      .filter((row) => upTo === undefined || compare(row, placeAt(upTo)) <= 0)
      .sort(compare);
  }
}

type Place = Pick<SubscriptionRow, 'filter' | 'clientId'>;

/** Whether a row belongs to a slice: a hash range of a partition, one filter, or one part of a filter by client. */
function holds(key: SliceKey, partitions: number): (place: Place) => boolean {
  const slice = parseSlice(key);
  if (slice === undefined || slice.kind === 'group')
    throw new AppError('REQUEST_INVALID', 'a key-value shard holds only concrete slices', { slice: key });
  if (slice.kind === 'pin') return ({ filter }) => filter === slice.filter;
  if (slice.kind === 'spread')
    return ({ filter, clientId }) => filter === slice.filter && filterHash(clientId) % slice.of === slice.index;
  const { partition, bits } = slice;
  return ({ filter }) =>
    partitionOf(filter, partitions) === partition && leadingBits(filterHash(filter), bits.length) === bits;
}

/** Orders by partition, filter hash, filter, client. */
const orderOf =
  (partitions: number) =>
  (a: Place, b: Place): number =>
    partitionOf(a.filter, partitions) - partitionOf(b.filter, partitions) ||
    filterHash(a.filter) - filterHash(b.filter) ||
    compareUtf8(a.filter, b.filter) ||
    compareUtf8(a.clientId, b.clientId);
