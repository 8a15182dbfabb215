// Answering store: a store that remembers the audience of topics, so that a topic with many publishes needs no reads,
// however many subscribers it has; and that tells those who keep its answers when the answers change.
//
//   W1. Every change goes through here. Answers that it may affect are dropped when the change has ended, with or
//       without success, and before its caller is told: a question that is asked after that gets an answer from after
//       the change.
//   W2. A row affects the topics that its filter matches; a new owner record, and an erase of a slice that was
//       being received, affect all topics.
//   W3. An owner record with a time limit (owner-index.ts O6) limits how long an answer may be kept; the answer says
//       how long.

import { AppError } from '../schemas/errors.ts';
import type { Epoch, EventTime, SliceKey } from '../schemas/ids.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../state/effects.ts';
import { AnswerCache, type CacheEntry, type CachePool, type Tracker } from './answer-cache.ts';
import { audienceOf, hearersIn } from './audience.ts';
import type {
  Answer,
  AnsweringStore,
  Asked,
  Audience,
  Count,
  LocalShardStore,
  Page,
  PublishQuestion,
  RangeDigest,
  WriteResult,
} from './shard-store.ts';

/** An answer and its question. */
interface Known {
  readonly epoch: Epoch;
  readonly slices: readonly SliceKey[];
  readonly audience: Audience;
  /** Until when it may be kept, in ms, by the host's clock (W3). */
  readonly until: number;
}

/** Questions about one topic that are remembered at a time: brokers have different epochs while a change spreads. */
const QUESTIONS_MAX = 4;
/** Approximate size of a text in a list, and of a subscriber, without its characters. */
const TEXT_BYTES = 48;
const SUBSCRIBER_BYTES = 200;

/** Throws what reading the store's owner records throws. */
export async function answeringStore(
  store: LocalShardStore,
  pool: CachePool,
  now: () => number,
): Promise<LocalShardStore & AnsweringStore> {
  return new RememberingStore(store, pool, now, await store.owners());
}

class RememberingStore implements LocalShardStore, AnsweringStore {
  readonly kind: LocalShardStore['kind'];
  readonly instanceId: string;
  readonly #store: LocalShardStore;
  readonly #now: () => number;
  readonly #cache: AnswerCache<Known>;
  #owners: Map<SliceKey, OwnerRecord>;
  /** The earliest time limit of an owner record (W3). */
  #until = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor(store: LocalShardStore, pool: CachePool, now: () => number, owners: readonly OwnerRecord[]) {
    this.kind = store.kind;
    this.instanceId = store.instanceId;
    this.#store = store;
    this.#now = now;
    this.#cache = new AnswerCache(pool);
    this.#owners = bySlice(owners);
    this.#bound();
  }

  audience(question: PublishQuestion, tracker?: Tracker): Asked | Promise<Asked> {
    if (this.#isClosed) return Promise.reject(new AppError('STORE_CLOSED', 'the shard has been closed'));
    const entry = this.#cache.entryOf(question.topic);
    if (tracker !== undefined) entry.track(tracker);
    for (const known of entry.answers) {
      if (known.epoch !== question.epoch || !isSame(known.slices, question.slices)) continue;
      if (known.until === Number.POSITIVE_INFINITY) return asked(known.audience, known.until);
      const left = known.until - this.#now();
      if (left > 0) return asked(known.audience, left);
    }
    return this.#read(entry, question);
  }

  async #read(entry: CacheEntry<Known>, question: PublishQuestion): Promise<Asked> {
    const until = this.#until;
    const heard = await hearersIn(this.#store, question);
    if (heard.kind === 'moved') return heard;
    const audience = audienceOf(heard.subscribers);
    const { epoch, slices } = question;
    const others = entry.answers.filter((each) => each.epoch !== epoch || !isSame(each.slices, slices));
    const answers = [{ epoch, slices, audience, until }, ...others].slice(0, QUESTIONS_MAX);
    this.#cache.give(
      entry,
      answers,
      answers.reduce((sum, each) => sum + bytesOf(each.audience), 0),
    );
    if (!entry.isHeld) return asked(audience, 0);
    return asked(audience, until - this.#now());
  }

  write(rows: readonly SubscriptionRow[]): Promise<WriteResult> {
    return this.#then(this.#store.write(rows), () => this.#rowsChanged(rows));
  }

  forget(rows: readonly SubscriptionRow[]): Promise<number> {
    return this.#then(this.#store.forget(rows), () => this.#rowsChanged(rows));
  }

  async own(owner: OwnerRecord): Promise<boolean> {
    const known = this.#owners.get(owner.slice);
    const saysNews = known?.state !== owner.state || known.epoch !== owner.epoch;
    return this.#then(this.#store.own(owner), (accepted) => {
      if (accepted !== false) this.#owners.set(owner.slice, owner);
      if (owner.until !== undefined || known?.until !== undefined) this.#bound();
      if (saysNews) this.#cache.clear();
    });
  }

  async disown(slice: SliceKey, right: DisownRight): Promise<boolean> {
    const result = await this.#then(this.#store.disown(slice, right), () => this.#cache.clear());
    await this.#recordsGone();
    return result;
  }

  async erase(range: SliceRange, limit: number, right: EraseRight): Promise<number | undefined> {
    const erased = await this.#then(this.#store.erase(range, limit, right), () => {
      if (right.state === 'receiving') this.#cache.clear();
    });
    await this.#recordsGone();
    return erased;
  }

  async closeIfVacant(): Promise<string | undefined> {
    const resident = await this.#store.closeIfVacant();
    if (resident === undefined) this.#end();
    return resident;
  }

  close(): Promise<void> {
    this.#end();
    return this.#store.close();
  }

  owners(): Promise<readonly OwnerRecord[]> {
    return this.#store.owners();
  }

  lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]> {
    return this.#store.lookup(filters, asker);
  }

  match(queries: Parameters<LocalShardStore['match']>[0]): Promise<readonly Answer[]> {
    return this.#store.match(queries);
  }

  scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page> {
    return this.#store.scan(range, cursor, limit);
  }

  digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest> {
    return this.#store.digest(range, after, upTo);
  }

  count(range: SliceRange, from?: Cursor, limit?: number): Promise<Count> {
    return this.#store.count(range, from, limit);
  }

  dropTombstones(before: EventTime): Promise<number> {
    return this.#store.dropTombstones(before);
  }

  #end(): void {
    this.#isClosed = true;
    this.#cache.clear();
  }

  /** Runs a change (W1). `done` gets `undefined` when the change failed. */
  async #then<Result>(change: Promise<Result>, done: (result: Result | undefined) => void): Promise<Result> {
    let result: Result | undefined;
    try {
      result = await change;
      return result;
    } finally {
      done(result);
    }
  }

  #rowsChanged(rows: readonly SubscriptionRow[]): void {
    if (this.#cache.size > 0) for (const { filter } of rows) this.#cache.changed(filter);
  }

  /** Recomputes the limit after records were forgotten: they no longer limit anything (W3). */
  async #recordsGone(): Promise<void> {
    if (this.#until === Number.POSITIVE_INFINITY) return;
    this.#owners = bySlice(await this.#store.owners());
    this.#bound();
  }

  #bound(): void {
    this.#until = Number.POSITIVE_INFINITY;
    for (const { until } of this.#owners.values()) if (until !== undefined) this.#until = Math.min(this.#until, until);
  }
}

const asked = (audience: Audience, keepMs: number): Asked => ({
  kind: 'audience',
  audience,
  keepMs: Math.max(0, keepMs),
});

const bySlice = (owners: readonly OwnerRecord[]): Map<SliceKey, OwnerRecord> =>
  new Map(owners.map((owner) => [owner.slice, owner]));

function isSame(a: readonly SliceKey[], b: readonly SliceKey[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function bytesOf({ brokers, groups }: Audience): number {
  const texts = brokers.reduce((sum, broker) => sum + TEXT_BYTES + broker.length, 0);
  return groups.reduce((sum, group) => sum + group.length * SUBSCRIBER_BYTES, texts);
}
