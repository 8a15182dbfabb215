// Router: where a SUBSCRIBE is kept, and who receives a PUBLISH.
//
//   R1. The answer to a PUBLISH is the union of the answers of all shards of its route: each subscriber once per
//       filter, or each broker once. For a topic that is spread by client, only those parts count that the shard was
//       asked for (audience.ts A1).
//   R2. When a store answers `moved`, the router waits for a newer table and asks the whole route again, at most
//       `hopsMax` times; then it throws POINTER_STALE. It never returns a partial answer.
//   R3. Replicas are asked in turn. When one is unavailable or has lost its data, the other is asked instead.
//   R4. A delivery is kept while the pointer table stays as it is, none of its shards tells of a change, and each says that it
//       may be; at most `cacheBytes` of them. One whose reading was under way at a change is not kept.
//   R5. A shard that the table calls lost, or silent, is not asked: it may still answer, without events that it has
//       missed. The error names the shard, and the time at which its slices are expected to be served again.

import { AnswerCache, type CacheEntry, CachePool, type Tracker } from '../datastores/answer-cache.ts';
import { audienceIn, type Heard, hearersIn, memberAt, union } from '../datastores/audience.ts';
import type { AnsweringStore, ShardStore, Subscriber } from '../datastores/shard-store.ts';
import { AppError } from '../schemas/errors.ts';
import { type Epoch, epoch, eventTime, type ShardId } from '../schemas/ids.ts';
import type { ShardEntry } from '../schemas/records.ts';
import type { Pointer, PointerTable, RouteTarget } from '../state/pointer-table.ts';
import type { PointerReader } from './pointer-reader.ts';

/** What a router needs of a shard: the reading half of a store, and its audiences where the store returns them. */
export type ShardReader = Pick<ShardStore, 'lookup' | 'match'> & Partial<Pick<AnsweringStore, 'audience'>>;

export interface RouterPorts {
  readonly pointers: Pick<PointerReader, 'table' | 'newerThan'>;
  /**
   * The store of the very instance that the shard's entry names. Throws SHARD_UNKNOWN when that instance does not exist
   * or is gone, SHARD_LOST when its data is lost.
   */
  readonly storeOf: (shard: ShardEntry) => Promise<ShardReader>;
  /** The time, in ms. Without it, deliveries that may be kept only for some time are not kept. */
  readonly now?: () => number;
}

export interface RouterSettings {
  /** How often a route is asked again after `moved`. */
  readonly hopsMax: number;
  /** How long one hop waits for a newer table. */
  readonly waitMs: number;
  /** Size of the cache of deliveries (R4), in bytes; 0: no cache. */
  readonly cacheBytes: number;
}

export const ROUTER_DEFAULTS: RouterSettings = {
  hopsMax: 2, // A slice moves at most once during a look-up; twice when the broker lags behind as well.
  waitMs: 2_000, // A pointer change reaches every broker within a second.
  cacheBytes: 64 * 1024 * 1024, // Some 80,000 topics with a few brokers each.
};

export interface FilterPlacement {
  readonly pointer: Pointer;
  /** `undefined` when the table names the shard but has no entry for it. */
  readonly shards: readonly (ShardEntry | undefined)[];
}

/** Where a PUBLISH has to be delivered. Each broker finds its own clients itself. */
export interface Delivery {
  /** Ids of brokers with a subscriber that is in no share group, each once; '' for subscribers connected to no broker. */
  readonly brokers: readonly string[];
  /** One member of each share group that receives it, in turn; a connected one if there is one. */
  readonly members: readonly Subscriber[];
}

interface Kept {
  readonly delivery: Delivery;
  readonly table: PointerTable;
  readonly epoch: Epoch;
  /** Until when it may be used, in ms, by the clock of `now`. */
  readonly until: number;
}

type Moved = Extract<Heard, { kind: 'moved' }> | { readonly kind: 'moved'; readonly epoch: Epoch };

export class Router {
  readonly #ports: RouterPorts;
  readonly #settings: RouterSettings;
  readonly #cache: AnswerCache<Kept>;
  /** Is told of changes by the shards (R4); `undefined` without a cache. */
  readonly #tracker: Tracker | undefined;
  #turn = 0;

  constructor(ports: RouterPorts, settings: Partial<RouterSettings> = {}) {
    this.#ports = ports;
    this.#settings = { ...ROUTER_DEFAULTS, ...settings };
    this.#cache = new AnswerCache(new CachePool(this.#settings.cacheBytes));
    if (this.#settings.cacheBytes > 0)
      this.#tracker = {
        isOver: false,
        dropped: (topic) => (topic === undefined ? this.#cache.clear() : this.#cache.dropTopic(topic)),
      };
  }

  /** Number of topics whose delivery is cached or being read. */
  get cachedTopics(): number {
    return this.#cache.size;
  }

  /**
   * Where this client's subscription of this valid filter is kept. Throws POINTER_STALE when no slice of the table
   * covers it.
   */
  homeOf(filter: string, clientId: string): FilterPlacement {
    const { table } = this.#ports.pointers;
    const pointer = table.resolve(filter, clientId);
    if (pointer === undefined) throw stale(table, { filter }, 'no slice of the pointer table covers the filter');
    return { pointer, shards: pointer.shards.map((shard) => table.shard(shard)) };
  }

  /**
   * All subscribers whose filter matches a PUBLISH to this valid topic (R1). Throws POINTER_STALE, SHARD_LOST or
   * STORE_UNAVAILABLE.
   */
  async subscribersOf(topic: string): Promise<readonly Subscriber[]> {
    const { answers } = await this.#alongRoute(topic, (store, question) => hearersIn(store, question));
    return union(answers);
  }

  /** Where to deliver a PUBLISH to this valid topic; returned at once when cached (R1, R4). Throws like `subscribersOf`. */
  deliveryOf(topic: string): Delivery | Promise<Delivery> {
    const { pointers, now } = this.#ports;
    const entry = this.#cache.entryOf(topic);
    const [kept] = entry.answers;
    if (kept !== undefined && kept.table === pointers.table && kept.epoch === kept.table.epoch)
      if (kept.until === Number.POSITIVE_INFINITY || kept.until > now!()) return kept.delivery;
    return this.#read(entry);
  }

  async #read(entry: CacheEntry<Kept>): Promise<Delivery> {
    const { answers, table, asker } = await this.#alongRoute(entry.topic, (store, question) =>
      audienceIn(store, question, this.#tracker),
    );
    const brokers =
      answers.length === 1
        ? answers[0]!.audience.brokers
        : [...new Set(answers.flatMap(({ audience }) => audience.brokers))];
    const members = answers.flatMap(({ audience }) => audience.groups.map((group) => memberAt(group, this.#turn++)));
    const delivery = { brokers, members };
    const until = this.#until(Math.min(...answers.map(({ keepMs }) => keepMs)));
    const isSame = table === this.#ports.pointers.table && table.epoch === asker;
    if (members.length === 0 && isSame && until > 0) {
      const bytes = brokers.reduce((sum, broker) => sum + BROKER_BYTES + 2 * broker.length, 0);
      this.#cache.give(entry, [{ delivery, table, epoch: asker, until }], bytes);
    }
    return delivery;
  }

  /** Until when an answer that may be kept for this long is kept; 0: not at all. */
  #until(keepMs: number): number {
    if (keepMs === Number.POSITIVE_INFINITY) return keepMs;
    const { now } = this.#ports;
    return keepMs > 0 && now !== undefined ? now() + keepMs : 0;
  }

  /** The answer of each shard of the topic's route (R1), with the table and epoch that were used. */
  async #alongRoute<Told extends { readonly kind: string }>(
    topic: string,
    ask: (store: ShardReader, question: Question) => Promise<Told | Moved> | Told | Moved,
  ): Promise<{ readonly answers: Told[]; readonly table: PointerTable; readonly asker: Epoch }> {
    const { pointers } = this.#ports;
    const turn = this.#turn++;
    for (let hop = 0; ; hop++) {
      const { table } = pointers;
      const asker = table.epoch;
      const stops = table.route(topic, turn);
      if (stops.length === 0) throw stale(table, { topic }, 'no slice of the pointer table covers the topic');
      const told = await Promise.all(
        stops.map((stop) =>
          this.#askedOrReplica(table, stop, (store, slices) => ask(store, { topic, slices, epoch: asker })),
        ),
      );
      const moved = told.filter((answer): answer is Moved => answer.kind === 'moved');
      if (moved.length === 0) return { answers: told as Told[], table, asker };
      if (hop === this.#settings.hopsMax)
        throw stale(table, { topic, hops: hop }, 'a shard still says that a slice has moved');
      // The table must reach the epoch of the move, where that is newer than ours.
      const at = Math.max(asker, ...moved.map((answer) => answer.epoch - 1));
      await pointers.newerThan(epoch(at), this.#settings.waitMs);
    }
  }

  /** R3 */
  async #askedOrReplica<Told>(table: PointerTable, stop: RouteTarget, ask: Ask<Told>): Promise<Told | Moved> {
    try {
      return await this.#asked(table, stop, ask);
    } catch (error) {
      const shard = replicaOf(stop);
      if (shard === undefined || !(error instanceof AppError && AWAY.has(error.code))) throw error;
      return this.#asked(table, { shard, entry: table.shard(shard), pointers: stop.pointers }, ask);
    }
  }

  async #asked<Told>(table: PointerTable, { entry, pointers }: RouteTarget, ask: Ask<Told>): Promise<Told | Moved> {
    const moved: Moved = { kind: 'moved', epoch: table.epoch };
    if (entry === undefined) return moved;
    if (isLost(entry)) throw lostError(entry);
    try {
      const slices = pointers.map(({ slice }) => slice);
      return await ask(await this.#ports.storeOf(entry), slices);
    } catch (error) {
      if (error instanceof AppError && error.code === 'SHARD_UNKNOWN') return moved;
      throw error;
    }
  }
}

type Question = Parameters<typeof hearersIn>[1];
type Ask<Told> = (store: ShardReader, slices: Question['slices']) => Promise<Told | Moved> | Told | Moved;

/** Approximate size of a broker in a list, without its id. */
const BROKER_BYTES = 32;
const AWAY: ReadonlySet<string> = new Set(['STORE_UNAVAILABLE', 'SHARD_LOST']);

const isLost = ({ loss = 'NONE' }: ShardEntry): boolean => loss !== 'NONE';

/** R5. */
function lostError({ shardId, loss, rebuiltAt = eventTime(0) }: ShardEntry): AppError {
  const what = loss === 'SILENT' ? 'has not answered for too long' : 'has lost its data';
  const when =
    rebuiltAt > 0
      ? `what it held is expected on another shard at ${new Date(rebuiltAt).toISOString()}`
      : 'it is not known yet when what it held will be on another shard';
  return new AppError('SHARD_LOST', `${shardId} ${what}: ${when}`, { shard: shardId, rebuiltAt });
}

/** Another shard that holds everything that this one is asked for; `undefined` for none. */
const replicaOf = ({ shard, pointers }: RouteTarget): ShardId | undefined =>
  pointers[0]?.shards.find(
    (other) => other !== shard && pointers.every(({ mode, shards }) => mode === 'REPLICAS' && shards.includes(other)),
  );

const stale = (table: PointerTable, facts: Readonly<Record<string, unknown>>, what: string): AppError =>
  new AppError('POINTER_STALE', `${what}: this broker's table is at epoch ${table.epoch}, offset ${table.position}`, {
    ...facts,
    epoch: table.epoch,
    position: table.position,
  });
