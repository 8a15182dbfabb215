// Shards: the simulated shard servers, with the real stores on simulated disks, and the network to them. Calls are lost,
// repeated, late and unanswered; servers are away, killed in the middle of a write, or come back without their data.
//
//   N1. A call that was not answered may have been carried out, or may be later.
//   N2. What a store has acknowledged is on its disk.

import type { Opening } from '../../datastores/identity.ts';
import { lost } from '../../datastores/identity.ts';
import { openLevelKv } from '../../datastores/level-kv/level-kv.ts';
import type { LocalShardStore, Meant, Provisioned, Provisioner, ShardStore } from '../../datastores/shard-store.ts';
import { openTrieStore } from '../../datastores/trie/trie-store.ts';
import type { DatastoreType } from '../../processors/plan/cluster/catalog.ts';
import { AppError } from '../../schemas/errors.ts';
import { eventTime, type ShardId, type SliceKey } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { type KeySpace, keySpaceOf } from '../../state/keys.ts';
import { Disk, Mount } from './disk.ts';
import type { Faults } from './faults.ts';
import type { Process, Way } from './process.ts';
import type { Chance, Scheduler } from './scheduler.ts';

/** What a process is cut off from when it reaches no shard. */
export const ALL_SHARDS = 'all shards';

export interface ShardsParts {
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly partitions: number;
  readonly catalog: ReadonlyMap<string, DatastoreType>;
  readonly networkMs: number;
  readonly diskMs: number;
  /** A planted bug: what is put before each store. */
  readonly around?: (store: LocalShardStore, shard: Shard) => LocalShardStore;
  readonly told: {
    /** A store has taken an owner record. */
    own(shard: ShardId, owner: OwnerRecord): void;
    /** A store has forgotten what it knew of a slice, or of all. */
    forgotten(shard: ShardId, slice: SliceKey | undefined): void;
  };
}

/** One shard on a server of its own. */
export class Shard {
  readonly id: ShardId;
  readonly kind: StoreKind;
  readonly instanceId: string;
  datastoreType: string;
  readyAt: number;
  isMade = false;
  resizeTo: string | undefined;
  disk = new Disk();
  /** The data that is lost, until somebody puts it back. */
  lostDisk: Disk | undefined;
  awayUntil = 0;
  opened: { readonly store: Promise<LocalShardStore>; readonly mount: Mount } | undefined;

  constructor(id: ShardId, kind: StoreKind, datastoreType: string, instanceId: string, readyAt: number) {
    this.id = id;
    this.kind = kind;
    this.datastoreType = datastoreType;
    this.instanceId = instanceId;
    this.readyAt = readyAt;
  }

  close(): void {
    this.opened?.mount.kill();
    this.opened = undefined;
  }
}

const MUTATING = new Set(['write', 'own', 'disown', 'erase', 'dropTombstones']);

export class Shards {
  readonly all = new Map<ShardId, Shard>();
  /** How far the servers' clocks are from the world's. */
  clockAheadMs = 0;
  readonly #parts: ShardsParts;
  readonly #keySpace: KeySpace;
  readonly #chance: Chance;
  #made = 0;

  constructor(parts: ShardsParts) {
    this.#parts = parts;
    this.#keySpace = keySpaceOf(parts.partitions);
    this.#chance = parts.scheduler.stream('shards');
  }

  /** The servers as a process sees them. */
  provisionerFor(process: Process): Provisioner {
    return {
      ensure: (shard, type, resize, known) =>
        this.#network(process, shard, 'ensure', () => this.#ensure(shard, type, resize, known)),
      store: (shard, meant) => this.#storeFor(process, shard, meant ?? {}),
      release: (shard, meant) => this.#network(process, shard, 'release', () => this.#release(shard, meant ?? {})),
      sweep: async () => 0,
      close: async () => {},
    };
  }

  /** The servers forget the tombstones that are older. */
  async sweep(before: number): Promise<void> {
    for (const shard of this.all.values())
      if (shard.isMade && shard.lostDisk === undefined)
        await this.#on(shard, (store) => store.dropTombstones(eventTime(Math.floor(before))));
  }

  kill(shard: Shard): void {
    shard.close();
  }

  empty(shard: Shard): void {
    shard.close();
    shard.lostDisk = shard.disk;
    shard.disk = new Disk();
  }

  /** Somebody puts the data back. */
  putBack(shard: Shard): void {
    if (shard.lostDisk === undefined) return;
    shard.close();
    shard.disk = shard.lostDisk;
    shard.lostDisk = undefined;
  }

  /** What lies in a shard, as no network shows it. */
  async contents(
    id: ShardId,
    slice: SliceRange,
  ): Promise<{ readonly rows: readonly SubscriptionRow[]; readonly owners: readonly OwnerRecord[] } | undefined> {
    const shard = this.all.get(id);
    if (shard === undefined || !shard.isMade || shard.lostDisk !== undefined) return undefined;
    const store = await this.#open(shard);
    const { rows } = await store.scan(slice, undefined, 1_000_000);
    return { rows, owners: await store.owners() };
  }

  async #ensure(id: ShardId, type: string, resize: boolean, known: string | undefined): Promise<Provisioned> {
    const { scheduler, catalog } = this.#parts;
    const wanted = catalog.get(type);
    let shard = this.all.get(id);
    const kind = shard?.kind ?? wanted?.kind ?? 'KEY_VALUE';
    const answer = (state: Provisioned['state'], reason = ''): Provisioned => {
      return { state, storeKind: kind, instanceId: shard?.instanceId ?? '', address: '', reason };
    };
    if (known !== undefined) {
      if (shard === undefined || !shard.isMade) return answer('lost', `there is no shard ${id}`);
      if (known !== '' && known !== shard.instanceId) return answer('lost', `${shard.instanceId} is another instance`);
      try {
        await this.#open(shard);
      } catch (error) {
        if (error instanceof AppError && error.code === 'SHARD_LOST') return answer('lost', error.message);
        throw error;
      }
    }
    if (wanted === undefined) return answer('failed', `the catalogue has no datastore type ${type}`);
    if (wanted.kind !== kind) return answer('failed', `${id} is a ${kind} store`);
    if (shard === undefined) {
      shard = new Shard(id, kind, type, `${id}-${++this.#made}`, scheduler.now + wanted.provisioningMs);
      this.all.set(id, shard);
    }
    if (shard.datastoreType !== type && shard.resizeTo !== type) {
      if (!resize) return answer('failed', `${id} exists on datastore type ${shard.datastoreType}`);
      shard.resizeTo = type;
      shard.readyAt = scheduler.now + wanted.provisioningMs;
    }
    if (shard.readyAt > scheduler.now) return answer('pending', 'not yet');
    if (shard.resizeTo !== undefined) shard.datastoreType = shard.resizeTo;
    shard.resizeTo = undefined;
    await this.#open(shard);
    shard.isMade = true;
    return answer('ready');
  }

  async #storeFor(process: Process, id: ShardId, { instanceId }: Meant): Promise<ShardStore> {
    const called = (method: keyof ShardStore & string, args: readonly unknown[]): Promise<unknown> =>
      this.#network(process, id, method, async () => {
        const shard = this.all.get(id);
        if (shard === undefined) throw new AppError('SHARD_UNKNOWN', `there is no shard ${id}`, { shard: id });
        if (!shard.isMade) throw new AppError('STORE_UNAVAILABLE', `${id} is being provisioned`, { shard: id });
        return this.#on(shard, async (store) => {
          if (instanceId && instanceId !== shard.instanceId)
            throw lost(instanceId, `${shard.instanceId} is there, which is another instance`);
          return (store[method] as (...args: readonly unknown[]) => unknown).apply(store, args as never);
        });
      });
    const shard = this.all.get(id);
    const proxy: Record<string, unknown> = { kind: shard?.kind ?? 'KEY_VALUE', instanceId: shard?.instanceId ?? '' };
    for (const method of METHODS) proxy[method] = (...args: readonly unknown[]) => called(method, args);
    return proxy as unknown as ShardStore;
  }

  async #network<Result>(process: Process, id: ShardId, method: string, work: () => Promise<Result>): Promise<Result> {
    const { scheduler, faults, networkMs } = this.#parts;
    const away = (what: string): AppError => new AppError('STORE_UNAVAILABLE', `${id}: ${what}`, { shard: id });
    const isOut = (): boolean => (this.all.get(id)?.awayUntil ?? 0) > scheduler.now;
    process.at('before a store call');
    const cut = (): Way | undefined => process.isCut(id, ALL_SHARDS);
    const carriedOut = async (): Promise<Result> => {
      if (cut() === 'there') throw away('cannot be reached');
      if (isOut()) {
        faults.meet('shard away');
        throw away('does not answer');
      }
      if (faults.strikes('call lost')) throw away('the call was lost');
      const isChange = MUTATING.has(method);
      if (faults.strikes('call slow')) await scheduler.sleep(this.#chance.between(500, 5_000), 'slow call');
      if (isChange && faults.strikes('call late')) {
        scheduler.after(this.#chance.between(100, 20_000), `late ${method}`, () => void work().catch(ignore));
        throw away('no answer in time'); // N1
      }
      const result = await work();
      if (isChange && faults.strikes('call twice'))
        scheduler.after(this.#chance.between(0, 3_000), `${method} again`, () => void work().catch(ignore));
      if (faults.strikes('call not acknowledged')) throw away('the answer was lost'); // N1
      if (isOut() || cut() === 'back') throw away('the answer was lost');
      return result;
    };
    const result = await process.call(`${method} ${id}`, networkMs, carriedOut);
    process.at('after a store call');
    await process.live();
    return result;
  }

  async #release(id: ShardId, { instanceId }: Meant): Promise<string | undefined> {
    const shard = this.all.get(id);
    if (shard === undefined) return undefined;
    if (instanceId && instanceId !== shard.instanceId) throw lost(instanceId, 'another instance is there');
    if (shard.isMade) {
      try {
        const resident = await this.#on(shard, (store) => store.closeIfVacant());
        if (resident !== undefined) return resident;
      } catch (error) {
        if (error instanceof AppError && error.code === 'SHARD_LOST') return error.message;
        throw error;
      }
    }
    shard.close();
    this.all.delete(id);
    this.#parts.told.forgotten(id, undefined);
    return undefined;
  }

  /** Whoever asks a server that is killed meanwhile sees the connection go. */
  async #on<Result>(shard: Shard, work: (store: LocalShardStore) => Promise<Result>): Promise<Result> {
    const store = await this.#open(shard);
    return Promise.race([work(store), closedWith(shard.id, shard.opened!.mount)]);
  }

  #open(shard: Shard): Promise<LocalShardStore> {
    shard.opened ??= this.#opened(shard);
    const { store } = shard.opened;
    store.catch(() => shard.close());
    return store;
  }

  #opened(shard: Shard): NonNullable<Shard['opened']> {
    const { scheduler, partitions, diskMs, around, told } = this.#parts;
    const mount = new Mount(shard.disk, scheduler, this.#chance, diskMs);
    const opening: Opening = {
      identity: { instanceId: shard.instanceId, ...this.#keySpace },
      as: shard.isMade ? 'known' : 'new',
    };
    const now = (): number => Math.floor(scheduler.now + this.clockAheadMs);
    const settings = { partitions, opening, now };
    const { disk } = shard;
    const opened =
      shard.kind === 'KEY_VALUE'
        ? openLevelKv('', { ...settings, keptBy: { isThere: !disk.isEmpty, database: mount.database() } })
        : openTrieStore('', {
            ...settings,
            keptBy: async (replay, admit) => {
              for (const record of disk.records) replay(record);
              admit();
              return mount.journal();
            },
          });
    const store = Promise.race([opened, closedWith(shard.id, mount)]).then((made) => {
      const own = made.own.bind(made);
      const erase = made.erase.bind(made);
      const disown = made.disown.bind(made);
      made.own = async (owner) => {
        const isTaken = await own(owner);
        if (isTaken) told.own(shard.id, owner);
        return isTaken;
      };
      made.erase = async (range, limit, right) => {
        const rows = await erase(range, limit, right);
        if (rows !== undefined) told.forgotten(shard.id, range.slice);
        return rows;
      };
      made.disown = async (slice, right) => {
        const isGone = await disown(slice, right);
        if (isGone) told.forgotten(shard.id, slice);
        return isGone;
      };
      return around?.(made, shard) ?? made;
    });
    return { store, mount };
  }
}

const METHODS = [
  'write',
  'own',
  'disown',
  'owners',
  'lookup',
  'match',
  'scan',
  'digest',
  'erase',
  'count',
  'dropTombstones',
] as const satisfies readonly (keyof ShardStore)[];

async function closedWith(shard: ShardId, mount: Mount): Promise<never> {
  await mount.killed;
  throw new AppError('STORE_UNAVAILABLE', `${shard}: the connection was closed`, { shard });
}

function ignore(): void {}
