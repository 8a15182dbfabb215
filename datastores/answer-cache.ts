// AnswerCache: answers about topics that were looked up lately. It stays correct because it is told of each change.
//
//   N1. An entry exists from before its answer is read until a change affects its topic. The reader adds the answer to
//       the entry afterwards: an entry that was dropped meanwhile takes none, since the answer may be older than the
//       change.
//   N2. Everyone who keeps a copy of an answer is told when its entry is dropped, for whatever reason: always, and
//       once.
//   N3. All caches of a pool together use at most the pool's bytes. Entries that were not used since the last round go
//       first (the CLOCK algorithm, Corbato 1968).

import { TopicIndex } from './topic-index.ts';

/** Is told when an answer is no longer valid (N2). */
export interface Tracker {
  /** True when the receiver is gone: it need not be told. */
  readonly isOver: boolean;
  /** `undefined`: the answers about all topics. */
  dropped(topic: string | undefined): void;
}

/** From this number of trackers of one entry on, those that are over are removed. */
const TRACKERS_MIN = 64;

export class CacheEntry<Answer> {
  readonly topic: string;
  /** Empty until the first answer is read, and after the entry was dropped. */
  answers: readonly Answer[] = NONE;
  wasUsed = true;
  bytes = 0;
  isHeld = true;
  readonly #cache: { drop(entry: CacheEntry<Answer>): void };
  /** Most entries have one at most. */
  #trackers: Tracker | Set<Tracker> | undefined;
  #cleanAt = TRACKERS_MIN;

  constructor(topic: string, cache: { drop(entry: CacheEntry<Answer>): void }) {
    this.topic = topic;
    this.#cache = cache;
  }

  /** Removes it from its cache. */
  drop(): void {
    this.#cache.drop(this);
  }

  track(tracker: Tracker): void {
    const known = this.#trackers;
    if (known === undefined || known === tracker) this.#trackers = tracker;
    else if (!(known instanceof Set)) this.#trackers = new Set([known, tracker]);
    else {
      known.add(tracker);
      if (known.size < this.#cleanAt) return;
      for (const each of known) if (each.isOver) known.delete(each);
      this.#cleanAt = Math.max(TRACKERS_MIN, 2 * known.size);
    }
  }

  get trackers(): Iterable<Tracker> {
    const known = this.#trackers;
    return known === undefined ? NONE : known instanceof Set ? known : [known];
  }
}

const NONE: readonly never[] = [];

type Held = Pick<CacheEntry<unknown>, 'wasUsed' | 'bytes' | 'drop'>;

/** Limits the memory of several caches (N3). */
export class CachePool {
  readonly #bytesMax: number;
  readonly #entries = new Set<Held>(); // In the order in which the clock's hand visits them.
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(entry: Held, bytes: number): void {
    this.#entries.add(entry);
    this.resize(entry, bytes);
  }

  resize(entry: Held, bytes: number): void {
    this.#bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    for (const oldest of this.#entries) {
      // The set grows during the loop; an entry is visited at most twice.
      if (this.#bytes <= this.#bytesMax) return;
      if (oldest.wasUsed) {
        oldest.wasUsed = false;
        this.#entries.delete(oldest);
        this.#entries.add(oldest);
      } else oldest.drop();
    }
  }

  remove(entry: Held): void {
    if (this.#entries.delete(entry)) this.#bytes -= entry.bytes;
  }
}

/** Approximate size of an entry with its answer and its places in the index and the pool, without texts. */
const ENTRY_BYTES = 600;
const bytesOf = ({ topic }: { readonly topic: string }): number => ENTRY_BYTES + topic.length;

export class AnswerCache<Answer> {
  readonly #pool: CachePool;
  readonly #entries = new TopicIndex<CacheEntry<Answer>>();

  constructor(pool: CachePool) {
    this.#pool = pool;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The entry of the topic, which is created when there is none. */
  entryOf(topic: string): CacheEntry<Answer> {
    const known = this.#entries.get(topic);
    if (known !== undefined) {
      known.wasUsed = true;
      return known;
    }
    const entry = new CacheEntry<Answer>(topic, this);
    this.#entries.set(topic, entry);
    this.#pool.add(entry, bytesOf(entry));
    return entry;
  }

  /** Adds answers to an entry (N1). `bytes`: their approximate size. */
  give(entry: CacheEntry<Answer>, answers: readonly Answer[], bytes: number): void {
    if (!entry.isHeld) return;
    entry.answers = answers;
    this.#pool.resize(entry, bytesOf(entry) + bytes);
  }

  /** Subscriptions of this filter have changed. */
  changed(filter: string): void {
    for (const entry of this.#entries.matching(filter)) this.drop(entry);
  }

  dropTopic(topic: string): void {
    this.#entries.get(topic)?.drop();
  }

  clear(): void {
    const told = new Set<Tracker>();
    for (const entry of this.#entries.values()) {
      for (const tracker of entry.trackers) told.add(tracker);
      this.#forget(entry);
    }
    this.#entries.clear();
    for (const tracker of told) tracker.dropped(undefined);
  }

  drop(entry: CacheEntry<Answer>): void {
    if (!entry.isHeld) return;
    this.#forget(entry);
    this.#entries.delete(entry.topic);
    for (const tracker of entry.trackers) tracker.dropped(entry.topic); // N2
  }

  #forget(entry: CacheEntry<Answer>): void {
    entry.isHeld = false;
    entry.answers = NONE;
    this.#pool.remove(entry);
  }
}
