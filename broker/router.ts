// Router: where a SUBSCRIBE is kept, and who receives a PUBLISH.
//
//   R1. The answer to a PUBLISH is the union of the answers of all shards of its route, each subscriber once per
//       filter. When a topic is spread by client, a shard answers with everything it holds of the topic; only the parts
//       that the shard was asked for count. Another part may be on its way to this shard, or may have been left behind
//       there.
//   R2. When a store answers `moved`, the router waits for a newer table and asks the whole route again, at most
//       `hopsMax` times; then it throws POINTER_STALE. It never returns a partial answer.
//   R3. Replicas are asked in turn. When one is unavailable or has lost its data, the other is asked instead.

import type { Answer, ShardStore, Subscriber } from '../datastores/shard-store.ts';
import { AppError } from '../schemas/errors.ts';
import { type Epoch, epoch, type ShardId } from '../schemas/ids.ts';
import type { ShardEntry } from '../schemas/records.ts';
import { filterHash, isTrieSlice, parseSlice } from '../state/keys.ts';
import type { Pointer, PointerTable, RouteTarget } from '../state/pointer-table.ts';
import type { PointerReader } from './pointer-reader.ts';

/** What a router needs of a shard: the reading half of a store. */
export type ShardReader = Pick<ShardStore, 'lookup' | 'match'>;

export interface RouterPorts {
  readonly pointers: Pick<PointerReader, 'table' | 'newerThan'>;
  /**
   * The store of the very instance that the shard's entry names. Throws SHARD_UNKNOWN when that instance does not exist
   * or is gone, SHARD_LOST when its data is lost.
   */
  readonly storeOf: (shard: ShardEntry) => Promise<ShardReader>;
}

export interface RouterSettings {
  /** How often a route is asked again after `moved`. */
  readonly hopsMax: number;
  /** How long one hop waits for a newer table. */
  readonly waitMs: number;
}

export const ROUTER_DEFAULTS: RouterSettings = {
  hopsMax: 2, // A slice moves at most once during a look-up; twice when the broker lags behind as well.
  waitMs: 2_000, // A pointer change reaches every broker within a second.
};

export interface FilterPlacement {
  readonly pointer: Pointer;
  /** `undefined` when the table names the shard but has no entry for it. */
  readonly shards: readonly (ShardEntry | undefined)[];
}

export class Router {
  readonly #ports: RouterPorts;
  readonly #settings: RouterSettings;
  #turn = 0;

  constructor(ports: RouterPorts, settings: RouterSettings = ROUTER_DEFAULTS) {
    this.#ports = ports;
    this.#settings = settings;
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
   * All subscribers whose filter matches a PUBLISH to this valid topic (R1). Throws POINTER_STALE or STORE_UNAVAILABLE.
   */
  async subscribersOf(topic: string): Promise<readonly Subscriber[]> {
    const { pointers } = this.#ports;
    const turn = this.#turn++;
    for (let hop = 0; ; hop++) {
      const { table } = pointers;
      const asker = table.epoch;
      const stops = table.route(topic, turn);
      if (stops.length === 0) throw stale(table, { topic }, 'no slice of the pointer table covers the topic');
      const answers = (await Promise.all(stops.map((stop) => this.#askedOrReplica(table, stop, topic, asker)))).flat();
      const moved = answers.filter((answer) => answer.kind === 'moved');
      if (moved.length === 0) return union(answers);
      if (hop === this.#settings.hopsMax)
        throw stale(table, { topic, hops: hop }, 'a shard still says that a slice has moved');
      // The table must reach the epoch of the move, where that is newer than ours.
      const at = Math.max(asker, ...moved.map((answer) => answer.epoch - 1));
      await pointers.newerThan(epoch(at), this.#settings.waitMs);
    }
  }

  /** R3 */
  async #askedOrReplica(
    table: PointerTable,
    stop: RouteTarget,
    topic: string,
    asker: Epoch,
  ): Promise<readonly Answer[]> {
    try {
      return await this.#asked(stop, topic, asker);
    } catch (error) {
      const shard = replicaOf(stop);
      if (shard === undefined || !(error instanceof AppError && AWAY.has(error.code))) throw error;
      return this.#asked({ shard, entry: table.shard(shard), pointers: stop.pointers }, topic, asker);
    }
  }

  async #asked({ entry, pointers }: RouteTarget, topic: string, asker: Epoch): Promise<readonly Answer[]> {
    if (entry === undefined) return [{ kind: 'moved', epoch: asker }];
    const groups = pointers.filter(({ slice }) => isTrieSlice(slice));
    try {
      const store = await this.#ports.storeOf(entry);
      const [exact, matched] = await Promise.all([
        groups.length < pointers.length ? store.lookup([topic], asker) : [],
        groups.length > 0 ? store.match(groups.map(({ slice }) => ({ topic, slice, epoch: asker }))) : [],
      ]);
      return [...exact.map((answer) => ofParts(answer, pointers)), ...matched];
    } catch (error) {
      if (error instanceof AppError && error.code === 'SHARD_UNKNOWN') return [{ kind: 'moved', epoch: asker }];
      throw error;
    }
  }
}

const AWAY: ReadonlySet<string> = new Set(['STORE_UNAVAILABLE', 'SHARD_LOST']);

/** Another shard that holds everything that this one is asked for; `undefined` for none. */
const replicaOf = ({ shard, pointers }: RouteTarget): ShardId | undefined =>
  pointers[0]?.shards.find(
    (other) => other !== shard && pointers.every(({ mode, shards }) => mode === 'REPLICAS' && shards.includes(other)),
  );

/** The part of a shard's answer that belongs to the slices it was asked for (R1). */
function ofParts(answer: Answer, pointers: readonly Pointer[]): Answer {
  if (answer.kind === 'moved') return answer;
  const parts = pointers.flatMap(({ slice }) => {
    const parsed = parseSlice(slice);
    return parsed?.kind === 'spread' ? [parsed] : [];
  });
  if (parts.length === 0) return answer;
  const isAsked = ({ clientId }: Subscriber): boolean => {
    const hash = filterHash(clientId);
    return parts.some(({ of, index }) => hash % of === index);
  };
  return { kind: 'found', subscribers: answer.subscribers.filter(isAsked) };
}

function union(answers: readonly Answer[]): Subscriber[] {
  const lists = answers.flatMap((answer) => (answer.kind === 'found' ? [answer.subscribers] : []));
  if (lists.length === 1) return [...lists[0]!];
  const each = new Map<string, Subscriber>();
  for (const list of lists)
    for (const subscriber of list) each.set(`${subscriber.filter}\u0000${subscriber.clientId}`, subscriber);
  return [...each.values()];
}

const stale = (table: PointerTable, facts: Readonly<Record<string, unknown>>, what: string): AppError =>
  new AppError('POINTER_STALE', `${what}: this broker's table is at epoch ${table.epoch}, offset ${table.position}`, {
    ...facts,
    epoch: table.epoch,
    position: table.position,
  });
