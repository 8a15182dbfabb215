// Embedded provisioner: shards as folders on this process's disk, one below `folder` for each.
//
//   <folder>/<shard>/shard.json   describes the shard; replaced atomically, by rename <folder>/<shard>/data/        its
//   store
//
//   E1. A shard exists when its shard.json does. Release removes that first, so a crash leaves no half shard.
//   E2. A type may take a stated time to provision, by the clock that is passed in: until then the shard is `pending`
//       and has no store. A resize takes that time too, and the shard continues to serve meanwhile.
//   E3. No path is made from a name that shard-name.ts has not checked.
//   E4. A store is created, with its identity (datastores/identity.ts), before shard.json calls the shard ready. A
//       ready shard whose store is missing, empty or another's is refused with SHARD_LOST; it never comes back empty.
//       In this process's own fleet one task knows the instance and passes it to `ensure`; from then on no task gets
//       another instance.
//   E5. A shard keeps the key space that it was created for; a request with another key space, even to release it, is
//       refused with FLEET_MISMATCH.
//   E6. An error of the disk is STORE_UNAVAILABLE: the request is repeated, and no process ends.

import { randomUUID } from 'node:crypto';
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CachePool } from '../../datastores/answer-cache.ts';
import { answeringStore } from '../../datastores/answering-store.ts';
import { isOfDisk } from '../../datastores/disk-error.ts';
import {
  checkKeySpace,
  gone,
  isGone,
  LOSSES,
  lost,
  type Opening,
  type StoreIdentity,
} from '../../datastores/identity.ts';
import { Serial } from '../../datastores/serial.ts';
import { checkedShardName } from '../../datastores/shard-name.ts';
import type { LocalShardStore, Meant, Provisioned, Provisioner, ShardStore } from '../../datastores/shard-store.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import type { EventTime, ShardId } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { KeySpace } from '../../state/keys.ts';

/** What the provisioner needs to know of a datastore type. */
export interface EmbeddedType {
  readonly kind: StoreKind;
  /** How long provisioning takes: 0 in production; in demos and tests, a lead time to watch. */
  readonly provisioningMs: number;
}

export interface EmbeddedSettings {
  readonly folder: string;
  /** By the catalogue's names of datastore types. */
  readonly types: ReadonlyMap<string, EmbeddedType>;
  readonly open: Readonly<Record<StoreKind, (folder: string, opening: Opening) => Promise<LocalShardStore>>>;
  /** Key space of this process's fleet; absent in a shard server, which takes it from the requests. */
  readonly keySpace?: KeySpace;
  readonly now: () => number;
}

/** Of all answers that the stores remember (answering-store.ts): some 350,000 topics with a few brokers each. */
const ANSWERS_BYTES_MAX = 256 * 1024 * 1024;

/** Contents of shard.json. */
interface ShardFile {
  /** Format 1 is of an earlier release, which wrote neither a key space here nor an identity into the store. */
  readonly format: 1 | 2;
  readonly shard: string;
  readonly datastoreType: string;
  readonly kind: StoreKind;
  /** New each time the shard is created: distinguishes a shard from one of the same name that lost its data. */
  readonly instanceId: string;
  /** Absent in format 1. */
  readonly keySpace?: KeySpace;
  readonly state: 'pending' | 'ready';
  /** When the provisioning, or the resize to `resizeTo`, is complete. */
  readonly readyAt: number;
  readonly resizeTo?: string;
}

interface Opened {
  readonly identity: StoreIdentity;
  readonly store: LocalShardStore;
}

export function embeddedProvisioner(settings: EmbeddedSettings): Provisioner {
  return new EmbeddedProvisioner(settings);
}

class EmbeddedProvisioner implements Provisioner {
  readonly #settings: EmbeddedSettings;
  readonly #stores = new Map<ShardId, Opened>();
  /** Runs the operations of each shard one after another. */
  readonly #work = new Map<ShardId, Serial>();
  /** The known instances of this process's fleet's shards (E4). */
  readonly #instances = new Map<ShardId, string>();
  readonly #answers = new CachePool(ANSWERS_BYTES_MAX);
  #closed = false;

  constructor(settings: EmbeddedSettings) {
    this.#settings = settings;
  }

  ensure(
    shard: ShardId,
    datastoreType: string,
    resize: boolean,
    known?: string,
    keySpace?: KeySpace,
  ): Promise<Provisioned> {
    return this.#of(shard, async () => {
      const type = this.#settings.types.get(datastoreType);
      if (known && this.#settings.keySpace !== undefined) this.#instances.set(shard, known);
      const found = await this.#read(shard);
      const kind = found?.kind ?? type?.kind ?? 'KEY_VALUE';
      const answer = (
        state: Provisioned['state'],
        reason: string,
        instanceId = found?.instanceId ?? '',
      ): Provisioned => ({
        state,
        storeKind: kind,
        instanceId,
        address: '',
        reason,
      });
      if (known !== undefined) {
        const loss = await this.#lossOf(shard, found, known, keySpace);
        const isForeign = loss?.code === 'FLEET_MISMATCH';
        if (loss !== undefined) return { ...answer('lost', loss.message), ...(isForeign && { isForeign }) };
      }
      if (type === undefined) return answer('failed', `the catalogue has no datastore type ${datastoreType}`);
      if (type.kind !== kind)
        return answer('failed', `${shard} is a ${kind} store; ${datastoreType} is for ${type.kind} stores`);
      let file = found ?? this.#newFile(shard, datastoreType, type, this.#keySpace(keySpace, 'a shard is made for'));
      if (found !== undefined) this.#checkKeySpace(found, keySpace);
      if (file.datastoreType !== datastoreType && file.resizeTo !== datastoreType) {
        if (!resize) return answer('failed', `${shard} exists on datastore type ${file.datastoreType}`);
        file = { ...file, resizeTo: datastoreType, readyAt: this.#settings.now() + type.provisioningMs };
      }
      const waitMs = file.readyAt - this.#settings.now();
      if (waitMs <= 0) file = await this.#finished(shard, file);
      if (file !== found) await this.#write(shard, file);
      return waitMs <= 0
        ? answer('ready', '', file.instanceId)
        : answer('pending', `ready in ${waitMs} ms`, file.instanceId);
    });
  }

  async store(shard: ShardId, meant: Meant = {}): Promise<ShardStore> {
    const opened = this.#stores.get(shard) ?? (await this.#of(shard, () => this.#opened(shard, meant.keySpace)));
    const instanceId = meant.instanceId || this.#instances.get(shard);
    if (instanceId && instanceId !== opened.identity.instanceId)
      throw lost(instanceId, `${opened.identity.instanceId} is there, which is another instance`);
    this.#checkKeySpace(opened.identity, meant.keySpace);
    return opened.store;
  }

  release(shard: ShardId, meant: Meant = {}): Promise<string | undefined> {
    return this.#of(shard, async () => {
      const resident = await this.#residentOf(shard, meant);
      if (resident !== undefined) return resident;
      this.#stores.delete(shard);
      this.#instances.delete(shard);
      await rm(this.#filePath(shard), { force: true }); // E1
      await rm(this.#folder(shard), { recursive: true, force: true });
      return undefined;
    });
  }

  async sweep(before: EventTime): Promise<number> {
    let dropped = 0;
    for (const [shard, opened] of [...this.#stores])
      if (this.#stores.get(shard) === opened) dropped += await opened.store.dropTombstones(before);
    return dropped;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const work of this.#work.values()) await work.idle();
    for (const { store } of this.#stores.values()) await store.close();
    this.#stores.clear();
  }

  async #of<Result>(shard: ShardId, work: () => Promise<Result>): Promise<Result> {
    checkedShardName(shard);
    if (this.#closed) throw new AppError('STORE_CLOSED', 'the provisioner has been closed');
    let serial = this.#work.get(shard);
    if (serial === undefined) {
      serial = new Serial();
      this.#work.set(shard, serial);
    }
    try {
      return await serial.run(work);
    } catch (error) {
      if (!isOfDisk(error)) throw error;
      throw new AppError('STORE_UNAVAILABLE', `${shard}: ${error.message}`, { shard, code: error.code }, error); // E6
    }
  }

  /**
   * Why the shard must not be released (shard-store.ts D6). A store that cannot be read cannot prove that it is empty.
   */
  async #residentOf(shard: ShardId, { instanceId, keySpace }: Meant): Promise<string | undefined> {
    try {
      const file = await this.#read(shard);
      if (file !== undefined) this.#checkKeySpace(file, keySpace);
      if (file !== undefined && instanceId && instanceId !== file.instanceId)
        throw lost(instanceId, `${file.instanceId} is there, which is another instance`);
      if (file?.state !== 'ready') return undefined; // Nothing was ever in it, or it is being removed already (E1).
      return await (await this.#opened(shard, keySpace)).store.closeIfVacant();
    } catch (error) {
      if (!(error instanceof AppError) || !UNREADABLE.has(error.code)) throw error;
      if (isGone(error)) return undefined;
      return `its store cannot be read: ${error.message}`;
    }
  }

  /** Why a shard that was ready once cannot be used; `undefined` when it can. */
  async #lossOf(
    shard: ShardId,
    found: ShardFile | undefined,
    known: string,
    keySpace: KeySpace | undefined,
  ): Promise<AppError | undefined> {
    if (found === undefined) return lost(known, `there is no shard ${shard}`);
    if (known !== '' && known !== found.instanceId)
      return lost(known, `${found.instanceId} is there, which is another instance`);
    try {
      const { identity } = this.#stores.get(shard) ?? (await this.#opened(shard, keySpace));
      this.#checkKeySpace(identity, keySpace);
      return undefined;
    } catch (error) {
      if (error instanceof AppError && LOSSES.has(error.code)) return error;
      throw error;
    }
  }

  async #opened(shard: ShardId, asked: KeySpace | undefined): Promise<Opened> {
    const openedMeanwhile = this.#stores.get(shard);
    if (openedMeanwhile !== undefined) return openedMeanwhile;
    const file = await this.#read(shard);
    if (file === undefined) throw new AppError('SHARD_UNKNOWN', `there is no shard ${shard}`, { shard });
    if (file.state === 'pending') throw new AppError('STORE_UNAVAILABLE', `${shard} is being provisioned`, { shard });
    const folder = this.#dataFolder(shard);
    if (!(await exists(folder))) throw gone(file.instanceId, 'its data folder is gone'); // E4
    const keySpace = file.keySpace ?? this.#keySpace(asked, `${shard} was made by an earlier release for`);
    const identity = { instanceId: file.instanceId, ...keySpace };
    const as = file.format === 1 ? 'earlier' : 'known';
    const { open, now } = this.#settings;
    const store = await answeringStore(await open[file.kind](folder, { identity, as }), this.#answers, now);
    const opened = { identity, store };
    if (file.format === 1) await this.#write(shard, { ...file, format: 2, keySpace });
    this.#stores.set(shard, opened);
    return opened;
  }

  /** E5. Throws FLEET_MISMATCH. */
  #checkKeySpace(made: { readonly keySpace?: KeySpace } | KeySpace, asked = this.#settings.keySpace): void {
    const space = 'partitions' in made ? made : made.keySpace;
    if (space !== undefined && asked !== undefined) checkKeySpace(space, asked);
  }

  /** Throws REQUEST_INVALID when it is not given: a shard server does not know it otherwise. */
  #keySpace(asked: KeySpace | undefined, what: string): KeySpace {
    const keySpace = asked ?? this.#settings.keySpace;
    if (keySpace !== undefined) return keySpace;
    throw new AppError('REQUEST_INVALID', `${what} a fleet's number of partitions, and the request does not give it`);
  }

  #newFile(shard: ShardId, datastoreType: string, type: EmbeddedType, keySpace: KeySpace): ShardFile {
    return {
      format: 2,
      shard,
      keySpace,
      datastoreType,
      kind: type.kind,
      instanceId: `${shard}-${randomUUID().slice(0, 8)}`,
      state: 'pending',
      readyAt: this.#settings.now() + type.provisioningMs,
    };
  }

  /** The file of a shard whose time has come; a new shard's store is created before its file says `ready` (E4). */
  async #finished(shard: ShardId, file: ShardFile): Promise<ShardFile> {
    if (file.state === 'pending') {
      // Files that an earlier shard of this name left, when its release was interrupted, do not belong to this one.
      await rm(this.#dataFolder(shard), { recursive: true, force: true });
      await mkdir(this.#dataFolder(shard), { recursive: true, mode: 0o700 });
      const keySpace = file.keySpace ?? this.#keySpace(undefined, `${shard} was begun by an earlier release for`);
      const identity = { instanceId: file.instanceId, ...keySpace };
      const store = await this.#settings.open[file.kind](this.#dataFolder(shard), { identity, as: 'new' });
      await store.close();
      file = { ...file, format: 2, keySpace };
    }
    if (file.state === 'ready' && file.resizeTo === undefined) return file;
    const { resizeTo, ...rest } = file;
    return { ...rest, state: 'ready', datastoreType: resizeTo ?? file.datastoreType };
  }

  async #read(shard: ShardId): Promise<ShardFile | undefined> {
    const path = this.#filePath(shard);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new AppError('STORE_UNAVAILABLE', `${path} cannot be read`, { shard }, error);
    }
    const file = parsed(text);
    if (file === undefined) throw new AppError('STORE_CORRUPT', `${path} is not the file of a shard`, { shard });
    return file;
  }

  async #write(shard: ShardId, file: ShardFile): Promise<void> {
    const path = this.#filePath(shard);
    await mkdir(this.#folder(shard), { recursive: true, mode: 0o700 });
    const handle = await open(`${path}.new`, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(file));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${path}.new`, path);
  }

  #folder(shard: ShardId): string {
    return join(this.#settings.folder, checkedShardName(shard)); // E3
  }

  #filePath(shard: ShardId): string {
    return join(this.#folder(shard), 'shard.json');
  }

  #dataFolder(shard: ShardId): string {
    return join(this.#folder(shard), 'data');
  }
}

/** Errors that waiting does not mend. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set(['STORE_CORRUPT', 'STORE_FORMAT', 'SHARD_LOST', 'REQUEST_INVALID']);

function parsed(text: string): ShardFile | undefined {
  try {
    const file = JSON.parse(text) as ShardFile;
    return (file.format === 1 || (file.format === 2 && file.keySpace !== undefined)) &&
      (file.kind === 'KEY_VALUE' || file.kind === 'TRIE')
      ? file
      : undefined;
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
