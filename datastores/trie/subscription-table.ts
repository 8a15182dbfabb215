// SubscriptionTable: the rows of a trie shard in memory, in the order of rules R3 of ../rows.ts, with the live filters in
// a TopicTrie.
//
//   T1. A filter is in the trie while it has a live subscriber; filters with the same inner filter share one entry
//       there.
//   T2. The cost of a page is proportional to its size, plus the search for its start and for each carved-out group
//       that it meets.
//
// With three clients to a filter a row takes about 400 bytes, texts included (bench/shard-stores.ts). Client ids are
// stored with each row, filters and broker ids once. A mutable index with a pure face (Hot paths in the style guide);
// its oracle is the model of the shared store suite.

import { AppError } from '../../schemas/errors.ts';
import type { EventTime } from '../../schemas/ids.ts';
import type { Cursor, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { parseSlice, partitionOf, placeOf } from '../../state/keys.ts';
import { TopicTrie } from '../../state/topic-trie.ts';
import { compareUtf8, compareUtf8Parts } from '../../state/utf8.ts';
import { isSameRow, mergeRows } from '../merge.ts';
import { placeAt, type RowPlace } from '../rows.ts';
import type { Subscriber } from '../shard-store.ts';
import { SortedList } from './sorted-list.ts';

export interface TablePage {
  readonly rows: readonly SubscriptionRow[];
  /** True when no row of the range follows the page. */
  readonly done: boolean;
}

/** One client's row: one flat object, without the fields that are stored with its filter. */
interface Held {
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  readonly gone: boolean;
  readonly incarnation: number;
  readonly offset: number;
  readonly at: EventTime;
  /** Fields that few rows have. */
  readonly more: Pick<SubscriptionRow, 'options' | 'since' | 'others'> | undefined;
}

interface HeldFilter {
  readonly filter: string;
  /** The literal prefix is filter[innerStart, prefixEnd). */
  readonly innerStart: number;
  readonly prefixEnd: number;
  readonly rows: SortedList<Held>;
  live: number;
}

/** The filters of one id of the trie: nearly always one; several when share groups have the same inner filter. */
type Inner = HeldFilter | Set<HeldFilter>;

export class SubscriptionTable {
  readonly #partitions: number;
  readonly #filters = new Map<string, HeldFilter>();
  readonly #order = new Map<number, SortedList<HeldFilter>>(); // By partition.
  readonly #trie: TopicTrie;
  readonly #inners: (Inner | undefined)[] = []; // By id in the trie.
  readonly #matched: number[] = [];
  readonly #brokers = new Map<string, string>();

  /** `seed`: a secret of the process, see TopicTrie. */
  constructor(partitions: number, seed: number) {
    this.#partitions = partitions;
    this.#trie = new TopicTrie(seed);
  }

  /** Merges the row with the stored one. */
  put(row: SubscriptionRow): void {
    const filter = this.#filters.get(row.filter) ?? this.#added(row.filter);
    const isBefore = beforeClient(row.clientId);
    const held = filter.rows.firstNot(isBefore);
    const known = held?.clientId === row.clientId ? held : undefined;
    const merged = mergeRows(known && rowOf(filter, known), row);
    if (merged.is === 'stale') return;
    if (known !== undefined) filter.rows.removeFirstNot(isBefore);
    filter.rows.insert(this.#held(merged.row, known?.clientId ?? row.clientId), isBefore);
    this.#setLive(filter, filter.live + (merged.row.gone ? 0 : 1) - (known === undefined || known.gone ? 0 : 1));
  }

  /** The row at this place. */
  rowAt({ filter: name, clientId }: RowPlace): SubscriptionRow | undefined {
    const filter = this.#filters.get(name);
    const held = filter?.rows.firstNot(beforeClient(clientId));
    return filter !== undefined && held?.clientId === clientId ? rowOf(filter, held) : undefined;
  }

  /** Whether exactly this row is stored. */
  holds(row: SubscriptionRow): boolean {
    const known = this.rowAt(row);
    return known !== undefined && isSameRow(known, row);
  }

  delete({ filter: name, clientId }: RowPlace): void {
    const filter = this.#filters.get(name);
    const isBefore = beforeClient(clientId);
    const held = filter?.rows.firstNot(isBefore);
    if (filter === undefined || held?.clientId !== clientId) return;
    filter.rows.removeFirstNot(isBefore);
    if (!held.gone) this.#setLive(filter, filter.live - 1);
    if (filter.rows.length === 0) this.#remove(filter);
  }

  /** The live subscribers of exactly this filter, by client. */
  subscribersOf(name: string): Subscriber[] {
    const found: Subscriber[] = [];
    const filter = this.#filters.get(name);
    if (filter !== undefined) addLive(filter, found);
    return found;
  }

  /** The live subscribers whose filter matches the topic, and for whose literal prefix's length `includes` is true. */
  matching(topic: string, includes: (prefixLength: number) => boolean): Subscriber[] {
    const found: Subscriber[] = [];
    const count = this.#trie.match(topic, this.#matched);
    for (let i = 0; i < count; i++) {
      for (const filter of filtersOf(this.#inners[this.#matched[i]!]!))
        if (includes(filter.prefixEnd - filter.innerStart)) addLive(filter, found);
    }
    return found;
  }

  /** At most `limit` rows of the range with after < place <= upTo, in order. */
  page(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined, limit: number): TablePage {
    const { partition, prefix } = groupOf(range.slice);
    const order = this.#order.get(partition);
    const rows: SubscriptionRow[] = [];
    if (order === undefined) return { rows, done: true };
    const from = after === undefined ? undefined : placeAt(after);
    const last = upTo === undefined ? undefined : placeAt(upTo);
    const fromFilter = from && spanOf(from.filter);
    const lastFilter = last && spanOf(last.filter);
    const carved = new Set(range.except.map((key) => groupOf(key).prefix));

    let isBefore: (each: HeldFilter) => boolean = (each) => comparePrefix(each, prefix) < 0;
    if (fromFilter !== undefined && comparePrefix(fromFilter, prefix) >= 0)
      isBefore = (each) => compareFilters(each, fromFilter) < 0;
    seeking: for (;;) {
      for (const each of order.from(isBefore)) {
        if (!hasPrefix(each, prefix)) break seeking;
        const ends = lastFilter === undefined ? -1 : compareFilters(each, lastFilter);
        if (ends > 0) break seeking;
        const gap = carvedPrefixOf(each, prefix.length, carved);
        if (gap !== undefined) {
          isBefore = (other) => comparePrefix(other, gap) < 0 || hasPrefix(other, gap);
          continue seeking;
        }
        const starts = fromFilter !== undefined && each.filter === fromFilter.filter;
        const clients = starts
          ? each.rows.from((held) => compareUtf8(held.clientId, from!.clientId) <= 0)
          : each.rows[Symbol.iterator]();
        for (const held of clients) {
          if (ends === 0 && compareUtf8(held.clientId, last!.clientId) > 0) break seeking;
          if (rows.length === limit) return { rows, done: false };
          rows.push(rowOf(each, held));
        }
      }
      return { rows, done: true };
    }
    return { rows, done: true };
  }

  /** Partitions that have rows. */
  partitions(): number[] {
    return [...this.#order.keys()].sort((a, b) => a - b);
  }

  #added(name: string): HeldFilter {
    const filter: HeldFilter = { ...spanOf(name), rows: new SortedList(), live: 0 };
    this.#filters.set(name, filter);
    const partition = this.#partitionOf(name);
    let order = this.#order.get(partition);
    if (order === undefined) {
      order = new SortedList();
      this.#order.set(partition, order);
    }
    order.insert(filter, (each) => compareFilters(each, filter) < 0);
    return filter;
  }

  #remove(filter: HeldFilter): void {
    this.#filters.delete(filter.filter);
    const partition = this.#partitionOf(filter.filter);
    const order = this.#order.get(partition)!;
    order.removeFirstNot((each) => compareFilters(each, filter) < 0);
    if (order.length === 0) this.#order.delete(partition);
  }

  /** Adds the filter to the trie or removes it from there (T1). */
  #setLive(filter: HeldFilter, live: number): void {
    const before = filter.live;
    filter.live = live;
    if (before > 0 === live > 0) return;
    const text = filter.filter.slice(filter.innerStart);
    if (live > 0) {
      const id = this.#trie.insert(text);
      const inner = this.#inners[id];
      if (inner instanceof Set) inner.add(filter);
      else this.#inners[id] = inner === undefined ? filter : new Set([inner, filter]);
      return;
    }
    const id = this.#trie.find(text);
    const inner = this.#inners[id]!;
    if (inner instanceof Set && inner.delete(filter) && inner.size > 0) return;
    this.#trie.remove(text);
    this.#inners[id] = undefined;
  }

  #held(row: SubscriptionRow, clientId: string): Held {
    let brokerId = this.#brokers.get(row.brokerId);
    if (brokerId === undefined) {
      brokerId = row.brokerId;
      this.#brokers.set(brokerId, brokerId);
    }
    const { incarnation, offset } = row.version;
    const { options, since, others } = row;
    const more =
      options === undefined && since === undefined && others === undefined
        ? undefined
        : {
            ...(options === undefined ? {} : { options }),
            ...(since === undefined ? {} : { since }),
            ...(others === undefined ? {} : { others }),
          };
    return { clientId, brokerId, qos: row.qos, gone: row.gone, incarnation, offset, at: row.at, more };
  }

  #partitionOf(filter: string): number {
    return partitionOf(placeOf(filter).routingKey, this.#partitions);
  }
}

const filtersOf = (inner: Inner): Iterable<HeldFilter> => (inner instanceof Set ? inner : [inner]);

type Span = Pick<HeldFilter, 'filter' | 'innerStart' | 'prefixEnd'>;

function spanOf(filter: string): Span {
  const { inner, prefix } = placeOf(filter);
  const innerStart = filter.length - inner.length;
  return { filter, innerStart, prefixEnd: innerStart + prefix.length };
}

const beforeClient = (clientId: string) => (held: Held) => compareUtf8(held.clientId, clientId) < 0;

/** R3 within a partition: by literal prefix, then by the whole filter. */
function compareFilters(a: Span, b: Span): number {
  return (
    compareUtf8Parts(a.filter, a.innerStart, a.prefixEnd, b.filter, b.innerStart, b.prefixEnd) ||
    compareUtf8(a.filter, b.filter)
  );
}

/** Compares the filter's literal prefix with `prefix`. */
const comparePrefix = (each: Span, prefix: string): number =>
  compareUtf8Parts(each.filter, each.innerStart, each.prefixEnd, prefix, 0, prefix.length);

const hasPrefix = (each: Span, prefix: string): boolean =>
  each.prefixEnd - each.innerStart >= prefix.length && each.filter.startsWith(prefix, each.innerStart);

/** The shortest of the carved-out prefixes that the filter's literal prefix begins with; `undefined` for none. */
function carvedPrefixOf(each: Span, from: number, carved: ReadonlySet<string>): string | undefined {
  if (carved.size === 0) return undefined;
  const prefix = each.filter.slice(each.innerStart, each.prefixEnd);
  for (let end = prefix.indexOf('/', from) + 1; end > 0; end = prefix.indexOf('/', end) + 1) {
    const group = prefix.slice(0, end);
    if (carved.has(group)) return group;
  }
  return undefined;
}

function groupOf(key: string): { readonly partition: number; readonly prefix: string } {
  const slice = parseSlice(key);
  if (slice?.kind !== 'group')
    throw new AppError('REQUEST_INVALID', 'a trie shard holds only groups of filters', { slice: key });
  return slice;
}

function rowOf(filter: HeldFilter, held: Held): SubscriptionRow {
  return {
    filter: filter.filter,
    clientId: held.clientId,
    brokerId: held.brokerId,
    qos: held.qos,
    version: { incarnation: held.incarnation, offset: held.offset },
    gone: held.gone,
    at: held.at,
    ...held.more,
  };
}

function addLive(filter: HeldFilter, into: Subscriber[]): void {
  for (const held of filter.rows) {
    if (held.gone) continue;
    const { clientId, brokerId, qos, more } = held;
    const subscriber = { filter: filter.filter, clientId, brokerId, qos };
    into.push(more?.options === undefined ? subscriber : { ...subscriber, options: more.options });
  }
}
