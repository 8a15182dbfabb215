// Router: where a SUBSCRIBE is kept, and who receives a PUBLISH.
//
//   R1. The answer to a PUBLISH is the union of the answers of all shards of its route: each subscriber once per
//       filter, or each broker once. For a topic that is spread by client, only those parts count that the shard was
//       asked for (audience.ts A1).
//   R2. When a store answers `moved`, the router waits for a newer table and asks the whole route again, at most
//       `hopsMax` times; then it throws POINTER_STALE.
//   R3. Replicas are asked in turn. When one is unavailable or has lost its data, the other is asked instead.
//   R4. A delivery is kept while the pointer table stays as it is, none of its shards tells of a change, and each says that it
//       may be; at most `cacheBytes` of them. One whose reading was under way at a change is not kept.
//   R5. A shard that the table calls lost, or silent, is not asked: it may still answer, without events that it has
//       missed. The error names the shard, and the time at which its slices are expected to be served again.
//   R6. A look-up takes `lookUpMs` at most: a shard that has not answered by then is unavailable. One that has a replica
//       gets half of the time, so that the other can still be asked.
//   R7. No answer is silently partial. When a shard is unavailable or lost, the look-up throws its error; or, with
//       `whenAway: 'partial'`, a delivery says in `missing` what it lacks, and is not kept.
//   R8. A delivery that is asked for while its topic is being read waits for that reading, and uses it only if it may be
//       kept: then no change has come meanwhile that it lacks. Otherwise it is read anew.

import { AnswerCache, type CacheEntry, CachePool, type Tracker } from '../datastores/answer-cache.ts';
import { audienceIn, type Heard, hearersIn, memberAt, type ShardReader, union } from '../datastores/audience.ts';
import type { Asked, Subscriber } from '../datastores/shard-store.ts';
import type { Clock } from '../runtime/ports.ts';
import { AppError } from '../schemas/errors.ts';
import { type Epoch, epoch, eventTime, type ShardId } from '../schemas/ids.ts';
import type { ShardEntry } from '../schemas/records.ts';
import type { Pointer, PointerTable, RouteTarget } from '../state/pointer-table.ts';
import { Deadlines } from './deadlines.ts';
import { Gathering, isAway, lateError, type MissingPart } from './gathering.ts';
import type { PointerReader } from './pointer-reader.ts';

export type { ShardReader } from '../datastores/audience.ts';

export interface RouterPorts {
  readonly pointers: Pick<PointerReader, 'table' | 'newerThan'>;
  /**
   * The store of the very instance that the shard's entry names. Throws SHARD_UNKNOWN when that instance does not exist
   * or is gone, SHARD_LOST when its data is lost.
   */
  readonly storeOf: (shard: ShardEntry) => Promise<ShardReader>;
  /** The time, in ms. Without it, deliveries that may be kept only for some time are not kept, and R6 does not hold. */
  readonly now?: Clock['now'];
  /** Without it, R6 does not hold. */
  readonly every?: Clock['every'];
}

export interface RouterSettings {
  /** How often a route is asked again after `moved`. */
  readonly hopsMax: number;
  /** How long one hop waits for a newer table. */
  readonly waitMs: number;
  /** Size of the cache of deliveries (R4), in bytes; 0: no cache. */
  readonly cacheBytes: number;
  /** How long a look-up may take (R6). */
  readonly lookUpMs: number;
  /** What becomes of a delivery when a shard is unavailable or lost (R7). */
  readonly whenAway: 'fail' | 'partial';
}

export const ROUTER_DEFAULTS: RouterSettings = {
  hopsMax: 2, // A slice moves at most once during a look-up; twice when the broker lags behind as well.
  waitMs: 2_000, // A pointer change reaches every broker within a second.
  cacheBytes: 64 * 1024 * 1024, // Some 80,000 topics with a few brokers each.
  lookUpMs: 5_000, // Two redirects, with a wait for the table before each.
  whenAway: 'fail',
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
  /** Only in a partial delivery, and then never empty: what it lacks (R7). */
  readonly missing?: readonly MissingPart[];
}

interface Kept {
  readonly delivery: Delivery;
  readonly table: PointerTable;
  readonly epoch: Epoch;
  /** Until when it may be used, in ms, by the clock of `now`. */
  readonly until: number;
}

type AudienceTold = Extract<Asked, { kind: 'audience' }>;
type Moved = Extract<Heard, { kind: 'moved' }> | { readonly kind: 'moved'; readonly epoch: Epoch };

export class Router {
  readonly #ports: RouterPorts;
  readonly #settings: RouterSettings;
  readonly #cache: AnswerCache<Kept>;
  /** Is told of changes by the shards (R4); `undefined` without a cache. */
  readonly #tracker: Tracker | undefined;
  readonly #deadlines: Deadlines | undefined;
  readonly #readings = new Map<CacheEntry<Kept>, Promise<Delivery>>();
  /** Entries whose answer may not be kept: nobody waits for another's reading of them (R8). */
  readonly #unkept = new WeakSet<CacheEntry<Kept>>();
  #turn = 0;

  constructor(ports: RouterPorts, settings: Partial<RouterSettings> = {}) {
    this.#ports = ports;
    this.#settings = { ...ROUTER_DEFAULTS, ...settings };
    this.#cache = new AnswerCache(new CachePool(this.#settings.cacheBytes));
    const { now, every } = ports;
    if (now !== undefined && every !== undefined)
      this.#deadlines = new Deadlines({ now, every }, Math.max(1, this.#settings.lookUpMs * TICK_SHARE));
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
   * All subscribers whose filter matches a PUBLISH to this valid topic (R1), never in part. Throws POINTER_STALE,
   * SHARD_LOST or STORE_UNAVAILABLE.
   */
  async subscribersOf(topic: string): Promise<readonly Subscriber[]> {
    const { answers } = await this.#alongRoute(topic, this.#until(), 'fail', (store, question) =>
      hearersIn(store, question),
    );
    return union(answers);
  }

  /** Where to deliver a PUBLISH to this valid topic; returned at once when cached (R1, R4). Throws like `subscribersOf`. */
  deliveryOf(topic: string): Delivery | Promise<Delivery> {
    const { pointers, now } = this.#ports;
    const entry = this.#cache.entryOf(topic);
    const [kept] = entry.answers;
    if (kept !== undefined && kept.table === pointers.table && kept.epoch === kept.table.epoch)
      if (kept.until === Number.POSITIVE_INFINITY || kept.until > now!()) return kept.delivery;
    const reading = this.#readings.get(entry);
    if (reading !== undefined && !this.#unkept.has(entry)) return this.#joined(reading, entry);
    const own = this.#read(entry, this.#until());
    if (entry.isHeld) this.#readings.set(entry, own);
    return own;
  }

  /** R8. */
  async #joined(reading: Promise<Delivery>, entry: CacheEntry<Kept>): Promise<Delivery> {
    const until = this.#until();
    const delivery = await reading;
    if (entry.answers[0]?.delivery === delivery) return delivery;
    return this.#read(this.#cache.entryOf(entry.topic), until);
  }

  async #read(entry: CacheEntry<Kept>, until: number): Promise<Delivery> {
    try {
      const { whenAway } = this.#settings;
      const along = await this.#alongRoute(entry.topic, until, whenAway, (store, question) =>
        audienceIn(store, question, this.#tracker),
      );
      return this.#deliveryIn(along, entry);
    } finally {
      this.#readings.delete(entry);
    }
  }

  #deliveryIn({ answers, missing, table, asker }: Along<AudienceTold>, entry: CacheEntry<Kept>): Delivery {
    const brokers =
      answers.length === 1
        ? answers[0]!.audience.brokers
        : [...new Set(answers.flatMap(({ audience }) => audience.brokers))];
    const members = answers.flatMap(({ audience }) => audience.groups.map((group) => memberAt(group, this.#turn++)));
    if (missing.length > 0) return { brokers, members, missing };
    const delivery = { brokers, members };
    const keptUntil = this.#timeAfter(Math.min(...answers.map(({ keepMs }) => keepMs)));
    if (!entry.isHeld) return delivery;
    if (members.length > 0 || keptUntil === 0) this.#unkept.add(entry);
    else if (table === this.#ports.pointers.table && table.epoch === asker) {
      const bytes = brokers.reduce((sum, broker) => sum + BROKER_BYTES + 2 * broker.length, 0);
      this.#cache.give(entry, [{ delivery, table, epoch: asker, until: keptUntil }], bytes);
    }
    return delivery;
  }

  /** Until when an answer that may be kept for this long is kept; 0: not at all. */
  #timeAfter(keepMs: number): number {
    if (keepMs === Number.POSITIVE_INFINITY) return keepMs;
    const { now } = this.#ports;
    return keepMs > 0 && now !== undefined ? now() + keepMs : 0;
  }

  /** When a look-up that begins now has to be over (R6). */
  #until(): number {
    return this.#deadlines === undefined ? Number.POSITIVE_INFINITY : this.#ports.now!() + this.#settings.lookUpMs;
  }

  /** The answer of each shard of the topic's route (R1), with the table and epoch that were used. */
  async #alongRoute<Told extends { readonly kind: string }>(
    topic: string,
    until: number,
    whenAway: RouterSettings['whenAway'],
    ask: (store: ShardReader, question: Question) => Promise<Told | Moved> | Told | Moved,
  ): Promise<Along<Told>> {
    const { pointers, now } = this.#ports;
    const turn = this.#turn++;
    for (let hop = 0; ; hop++) {
      const { table } = pointers;
      const asker = table.epoch;
      const stops = table.route(topic, turn);
      if (stops.length === 0) throw stale(table, { topic }, 'no slice of the pointer table covers the topic');
      const gathering = new Gathering<Told | Moved>(stops, until, whenAway === 'partial');
      this.#deadlines?.begin(gathering);
      const gathered = gathering.from((stop) =>
        this.#askedOrReplica(table, stop, until, (store, slices) => ask(store, { topic, slices, epoch: asker })),
      );
      let told: readonly (Told | Moved)[];
      try {
        told = await gathered;
      } finally {
        this.#deadlines?.end(gathering);
      }
      const moved = told.filter((answer): answer is Moved => answer.kind === 'moved');
      if (moved.length === 0) return { answers: told as Told[], missing: gathering.missing, table, asker };
      if (hop === this.#settings.hopsMax)
        throw stale(table, { topic, hops: hop }, 'a shard still says that a slice has moved');
      // The table must reach the epoch of the move, where that is newer than ours.
      const at = Math.max(asker, ...moved.map((answer) => answer.epoch - 1));
      const leftMs = until === Number.POSITIVE_INFINITY ? until : until - now!();
      await pointers.newerThan(epoch(at), Math.max(0, Math.min(this.#settings.waitMs, leftMs)));
    }
  }

  /** R3. */
  #askedOrReplica<Told>(table: PointerTable, stop: RouteTarget, until: number, ask: Ask<Told>): Promise<Told | Moved> {
    const replica = replicaOf(stop);
    if (replica === undefined) return this.#asked(table, stop, ask);
    const first = this.#asked(table, stop, ask);
    const inTime = this.#deadlines?.within(first, this.#halfway(until), () => lateError(stop.shard)) ?? first;
    return inTime.catch((error) => {
      if (!isAway(error)) throw error;
      return this.#asked(table, { shard: replica, entry: table.shard(replica), pointers: stop.pointers }, ask);
    });
  }

  /** R6. */
  #halfway(until: number): number {
    const now = this.#ports.now!();
    return now + (until - now) / 2;
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

interface Along<Told> {
  readonly answers: readonly Told[];
  readonly missing: readonly MissingPart[];
  readonly table: PointerTable;
  readonly asker: Epoch;
}

type Question = Parameters<typeof hearersIn>[1];
type Ask<Told> = (store: ShardReader, slices: Question['slices']) => Promise<Told | Moved> | Told | Moved;

/** Approximate size of a broker in a list, without its id. */
const BROKER_BYTES = 32;
/** How exactly the time of a look-up is kept. */
const TICK_SHARE = 1 / 50;
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
