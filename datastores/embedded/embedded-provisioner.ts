// Embedded provisioner: shards as folders of this process, one below `folder` for each.
//
//   <folder>/<shard>/shard.json   what the shard is; written whole, by rename
//   <folder>/<shard>/data/        its store
//
//   E1. A shard is there when its shard.json is. Release removes that first, so a crash leaves no half shard.
//   E2. A type may take a stated time to provision, by the clock that is handed in: until then the shard is `pending` and
//       has no store. A resize takes that time too, and the shard goes on serving meanwhile.
//   E3. No path is made of a name that shard-name.ts has not checked.
//   E4. A ready shard whose data folder is gone is refused with STORE_CORRUPT; it never comes back empty.

import { randomUUID } from 'node:crypto';
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import type { EventTime, ShardId } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import { Serial } from '../serial.ts';
import { checkedShardName } from '../shard-name.ts';
import type { LocalShardStore, Provisioned, Provisioner, ShardStore } from '../shard-store.ts';

/** What the provisioner needs to know of a datastore type. */
export interface EmbeddedType {
  readonly kind: StoreKind;
  /** How long an instance of the type takes to exist: 0 in production, a lead time to watch in demos and tests. */
  readonly provisioningMs: number;
}

export interface EmbeddedSettings {
  readonly folder: string;
  /** By datastore type, as the catalogue names it. */
  readonly types: ReadonlyMap<string, EmbeddedType>;
  /** Opens the store of a folder, making it when it is not there. */
  readonly open: Readonly<Record<StoreKind, (folder: string) => Promise<LocalShardStore>>>;
  readonly now: () => number;
}

/** shard.json */
interface ShardFile {
  readonly format: 1;
  readonly shard: string;
  readonly datastoreType: string;
  readonly kind: StoreKind;
  /** New each time that the shard is made: tells a shard from one of the same name that lost its data. */
  readonly instanceId: string;
  readonly state: 'pending' | 'ready';
  /** When the provisioning, or the resize to `resizeTo`, is over. */
  readonly readyAt: number;
  readonly resizeTo?: string;
}

export function embeddedProvisioner(settings: EmbeddedSettings): Provisioner {
  return new EmbeddedProvisioner(settings);
}

class EmbeddedProvisioner implements Provisioner {
  readonly #settings: EmbeddedSettings;
  readonly #stores = new Map<ShardId, LocalShardStore>();
  /** One thing at a time for each shard. */
  readonly #work = new Map<ShardId, Serial>();
  #closed = false;

  constructor(settings: EmbeddedSettings) {
    this.#settings = settings;
  }

  ensure(shard: ShardId, datastoreType: string, resize: boolean): Promise<Provisioned> {
    return this.#of(shard, async () => {
      const type = this.#settings.types.get(datastoreType);
      const found = await this.#read(shard);
      const kind = found?.kind ?? type?.kind ?? 'KEY_VALUE';
      const refused = (reason: string): Provisioned => ({
        state: 'failed',
        storeKind: kind,
        instanceId: found?.instanceId ?? '',
        address: '',
        reason,
      });
      if (type === undefined) return refused(`the catalogue has no datastore type ${datastoreType}`);
      if (type.kind !== kind)
        return refused(`${shard} is a ${kind} store; ${datastoreType} is for ${type.kind} stores`);
      let file = found ?? this.#newFile(shard, datastoreType, type);
      if (file.datastoreType !== datastoreType && file.resizeTo !== datastoreType) {
        if (!resize) return refused(`${shard} exists on datastore type ${file.datastoreType}`);
        file = { ...file, resizeTo: datastoreType, readyAt: this.#settings.now() + type.provisioningMs };
      }
      const waitMs = file.readyAt - this.#settings.now();
      if (waitMs <= 0) file = await this.#finished(shard, file);
      if (file !== found) await this.#write(shard, file);
      return {
        state: waitMs <= 0 ? 'ready' : 'pending',
        storeKind: kind,
        instanceId: file.instanceId,
        address: '',
        reason: waitMs <= 0 ? '' : `ready in ${waitMs} ms`,
      };
    });
  }

  store(shard: ShardId): Promise<ShardStore> {
    const opened = this.#stores.get(shard);
    if (opened !== undefined) return Promise.resolve(opened);
    return this.#of(shard, async () => {
      const file = await this.#read(shard);
      if (file === undefined) throw new AppError('SHARD_UNKNOWN', `there is no shard ${shard}`, { shard });
      if (file.state === 'pending') throw new AppError('STORE_UNAVAILABLE', `${shard} is being provisioned`, { shard });
      return this.#opened(shard, file);
    });
  }

  release(shard: ShardId): Promise<string | undefined> {
    return this.#of(shard, async () => {
      const resident = await this.#residentOf(shard);
      if (resident !== undefined) return resident;
      this.#stores.delete(shard);
      await rm(this.#filePath(shard), { force: true }); // E1
      await rm(this.#folder(shard), { recursive: true, force: true });
      return undefined;
    });
  }

  async sweep(before: EventTime): Promise<number> {
    let dropped = 0;
    for (const [shard, store] of [...this.#stores])
      if (this.#stores.get(shard) === store) dropped += await store.dropTombstones(before);
    return dropped;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const work of this.#work.values()) await work.idle();
    for (const store of this.#stores.values()) await store.close();
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
    return serial.run(work);
  }

  /** The store of a ready shard, opened when needed. */
  async #opened(shard: ShardId, file: ShardFile): Promise<LocalShardStore> {
    const openedMeanwhile = this.#stores.get(shard);
    if (openedMeanwhile !== undefined) return openedMeanwhile;
    const folder = this.#dataFolder(shard);
    if (!(await exists(folder))) throw new AppError('STORE_CORRUPT', `the data of ${shard} is gone`, { shard, folder });
    const store = await this.#settings.open[file.kind](folder);
    this.#stores.set(shard, store);
    return store;
  }

  /** Why the shard must not go (D6). A store that cannot be read cannot say that nothing lives in it. */
  async #residentOf(shard: ShardId): Promise<string | undefined> {
    try {
      const file = await this.#read(shard);
      if (file?.state !== 'ready') return undefined; // Nothing was ever in it, or it is going already (E1).
      return await (await this.#opened(shard, file)).closeIfVacant();
    } catch (error) {
      if (!(error instanceof AppError) || !UNREADABLE.has(error.code)) throw error;
      return `its store cannot be read: ${error.message}`;
    }
  }

  #newFile(shard: ShardId, datastoreType: string, type: EmbeddedType): ShardFile {
    return {
      format: 1,
      shard,
      datastoreType,
      kind: type.kind,
      instanceId: `${shard}-${randomUUID().slice(0, 8)}`,
      state: 'pending',
      readyAt: this.#settings.now() + type.provisioningMs,
    };
  }

  /** The file of a shard whose time has come; a new shard's data folder is made before its file says `ready` (E4). */
  async #finished(shard: ShardId, file: ShardFile): Promise<ShardFile> {
    if (file.state === 'pending') {
      // What an earlier shard of this name left when its release was cut short does not belong to this one.
      await rm(this.#dataFolder(shard), { recursive: true, force: true });
      await mkdir(this.#dataFolder(shard), { recursive: true, mode: 0o700 });
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

/** What waiting does not mend. */
const UNREADABLE: ReadonlySet<ErrorCode> = new Set(['STORE_CORRUPT', 'STORE_FORMAT']);

function parsed(text: string): ShardFile | undefined {
  try {
    const file = JSON.parse(text) as ShardFile;
    return file.format === 1 && (file.kind === 'KEY_VALUE' || file.kind === 'TRIE') ? file : undefined;
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
