// Remote provisioner: the shards of one or more shard servers, used as if they were in this process.
//
//   C1. A shard is on the server that reports it; a new one is created on the server whose address has the highest hash
//       together with the shard's name (rendezvous hashing), so every client picks the same server without
//       coordination.
//   C2. While a server cannot be reached, a shard that no other server has may be there: it is not created a second
//       time. A new shard, other than the first two, is created on a server that can be reached: nobody has used it yet,
//       and once it is ready its instance is asked for (C5), so what an earlier attempt left elsewhere is never met.
//   C3. Only configured servers are called, never an address from a record.
//   C4. A call that fails or takes too long throws STORE_UNAVAILABLE: it may have been carried out. The caller repeats
//       it.
//   C5. Each call states this fleet's key space and, from the first contact on, the instance that it means: a shard
//       that has become another instance answers SHARD_LOST, also when the server was restarted in between.
//   C6. An answer that is not of the expected form, as from something else at that address, counts as no answer.

import { Compile } from 'typebox/compile';
import type { Tracker } from '../../datastores/answer-cache.ts';
import { writeResult } from '../../datastores/merge.ts';
import {
  ANSWERS,
  type Call,
  FLEET_HEADER,
  INSTANCE_HEADER,
  ITEMS_MAX,
  KEY_SPACE_HEADER,
  keySpaceText,
  ownerOf,
  rowOf,
  STATUS,
  type WireRow,
  wireRow,
} from '../../datastores/protocol/wire.ts';
import { rowBytes } from '../../datastores/rows.ts';
import { checkedShardName } from '../../datastores/shard-name.ts';
import type {
  Answer,
  AnsweringStore,
  Asked,
  Count,
  Meant,
  Page,
  Provisioned,
  Provisioner,
  PublishQuestion,
  RangeDigest,
  ShardStore,
  WriteResult,
} from '../../datastores/shard-store.ts';
import { problemOf } from '../../schemas/checked.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import type { Epoch, EventTime, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { filterHash, type KeySpace, keySpaceOf } from '../../state/keys.ts';
import { LookUpConnection, TIMEOUT_MS } from './look-up-connection.ts';

export interface RemoteSettings {
  /** `http://host:port` of each shard server. */
  readonly addresses: readonly string[];
  readonly token: string | undefined;
  /** Number of partitions of this fleet: its shards are created for it and checked against it. */
  readonly partitions: number;
  /** Prefix of its topics' names; '' or absent: the shards of any fleet are accepted. */
  readonly fleet?: string;
  /** Time limit of one call. */
  readonly timeoutMs?: number;
  /** How often a server that has been asked is checked for being there (look-up-connection.ts L5). */
  readonly pingMs?: number;
}

/**
 * Rows in one request take about this many bytes: a small part of the server's limit, since JSON may write a byte as
 * six.
 */
const REQUEST_BYTES = 2 * 1024 * 1024;

export function remoteProvisioner(settings: RemoteSettings): Provisioner {
  if (settings.addresses.length === 0)
    throw new AppError('CONFIG_INVALID', 'a remote provisioner needs the address of a shard server');
  return new RemoteProvisioner(settings);
}

class RemoteProvisioner implements Provisioner {
  readonly #servers: readonly Server[];
  readonly #stores = new Map<ShardId, RemoteStore>();
  /** The instances of shards, as of the first contact (C5). */
  readonly #instances = new Map<ShardId, string>();
  #closed = false;

  constructor(settings: RemoteSettings) {
    this.#servers = settings.addresses.map((address) => new Server(address, settings));
  }

  async ensure(shard: ShardId, datastoreType: string, resize: boolean, known?: string): Promise<Provisioned> {
    this.#check();
    const found = known === undefined ? await this.#placeOf(shard) : await this.#find(shard, known);
    const server = found ?? this.#homeOf(shard, this.#servers);
    const body = { datastoreType, resize, ...(known === undefined ? {} : { known }) };
    const provisioned = await server.call<Provisioned>('ensure', 'PUT', pathOf(shard), '', body);
    if (known) this.#instances.set(shard, known);
    return { ...provisioned, address: server.address };
  }

  async store(shard: ShardId, meant: Meant = {}): Promise<ShardStore> {
    this.#check();
    const instanceId = meant.instanceId || this.#instances.get(shard) || '';
    const known = this.#stores.get(shard);
    if (known !== undefined && (instanceId === '' || known.instanceId === instanceId)) return known;
    const server = await this.#find(shard, instanceId);
    if (server === undefined) throw new AppError('SHARD_UNKNOWN', `no shard server has ${shard}`, { shard });
    const found = await server.call<{ kind: StoreKind; instanceId?: string }>('find', 'GET', pathOf(shard), instanceId);
    const store = new RemoteStore(found.kind, found.instanceId ?? '', shard, server);
    this.#stores.set(shard, store);
    if (store.instanceId !== '') this.#instances.set(shard, store.instanceId);
    return store;
  }

  async release(shard: ShardId): Promise<string | undefined> {
    this.#check();
    const instanceId = this.#instances.get(shard) ?? '';
    const server = await this.#find(shard, instanceId);
    const answer = await server?.call<{ readonly resident?: string }>('release', 'DELETE', pathOf(shard), instanceId);
    if (answer?.resident === undefined) {
      this.#stores.delete(shard);
      this.#instances.delete(shard);
    }
    return answer?.resident;
  }

  async sweep(before: EventTime): Promise<number> {
    this.#check();
    let dropped = 0;
    for (const store of [...this.#stores.values()]) dropped += await store.dropTombstones(before);
    return dropped;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const store of this.#stores.values()) await store.close();
    this.#stores.clear();
    for (const server of this.#servers) server.lookUps.close();
  }

  /** The server that has the shard, ready or not; `undefined` when every server says that it has not (C1, C2). */
  async #find(shard: ShardId, instanceId: string): Promise<Server | undefined> {
    const answers = await Promise.all(this.#servers.map((server) => server.has(pathOf(shard), instanceId)));
    const at = answers.indexOf('has');
    if (at >= 0) return this.#servers[at];
    const unreachable = answers.find((answer) => answer instanceof AppError);
    if (unreachable instanceof AppError) throw unreachable;
    return this.#servers[answers.indexOf('has another')];
  }

  /** Where a shard is that was never ready, or else where to create it; `undefined` when any server may do that (C2). */
  async #placeOf(shard: ShardId): Promise<Server | undefined> {
    const answers = await Promise.all(this.#servers.map((server) => server.has(pathOf(shard), '')));
    const at = answers.findIndex((answer) => answer === 'has' || answer === 'has another');
    if (at >= 0) return this.#servers[at];
    const unreachable = answers.find((answer) => answer instanceof AppError);
    if (!(unreachable instanceof AppError)) return undefined;
    const others = this.#servers.filter((_, index) => answers[index] === 'has not');
    if (others.length === 0 || shard === FIRST_CONCRETE_SHARD || shard === FIRST_TRIE_SHARD) throw unreachable;
    return this.#homeOf(shard, others);
  }

  #homeOf(shard: ShardId, servers: readonly Server[]): Server {
    const weight = (server: Server): number => filterHash(`${server.address} ${shard}`);
    return servers.reduce((best, server) => (weight(server) > weight(best) ? server : best));
  }

  #check(): void {
    if (this.#closed) throw new AppError('STORE_CLOSED', 'the provisioner has been closed');
  }
}

/** A shard on a server. Closing it closes nothing there: others use it too. */
class RemoteStore implements AnsweringStore {
  readonly kind: StoreKind;
  readonly instanceId: string;
  readonly #shard: ShardId;
  readonly #server: Server;
  #closed = false;

  constructor(kind: StoreKind, instanceId: string, shard: ShardId, server: Server) {
    this.kind = kind;
    this.instanceId = instanceId;
    this.#shard = shard;
    this.#server = server;
  }

  async write(rows: readonly SubscriptionRow[]): Promise<WriteResult> {
    let stale = 0;
    let foreign = 0;
    for (const some of requestsOf(rows)) {
      const result = await this.#call<WriteResult>('write', { rows: some.map(wireRow) });
      stale += result.stale;
      foreign += result.foreign ?? 0;
    }
    return writeResult(rows.length, stale, foreign);
  }

  async forget(rows: readonly SubscriptionRow[]): Promise<number> {
    let forgotten = 0;
    for (const some of requestsOf(rows)) forgotten += await this.#call<number>('forget', { rows: some.map(wireRow) });
    return forgotten;
  }

  own(owner: OwnerRecord): Promise<boolean> {
    return this.#call('own', { owner });
  }

  disown(slice: SliceKey, right: DisownRight): Promise<boolean> {
    return this.#call('disown', { slice, right });
  }

  async owners(): Promise<readonly OwnerRecord[]> {
    return (await this.#call<Parameters<typeof ownerOf>[0][]>('owners', {})).map(ownerOf);
  }

  async lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let from = 0; from < filters.length; from += ITEMS_MAX)
      answers.push(
        ...(await this.#call<readonly Answer[]>('lookup', { filters: filters.slice(from, from + ITEMS_MAX), asker })),
      );
    return answers;
  }

  async match(queries: Parameters<ShardStore['match']>[0]): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    for (let from = 0; from < queries.length; from += ITEMS_MAX)
      answers.push(
        ...(await this.#call<readonly Answer[]>('match', { queries: queries.slice(from, from + ITEMS_MAX) })),
      );
    return answers;
  }

  audience(question: PublishQuestion, tracker?: Tracker): Promise<Asked> {
    if (this.#closed) throw new AppError('STORE_CLOSED', 'the shard has been closed', { shard: this.#shard });
    return this.#server.lookUps.audience(this.#shard, this.instanceId, question, tracker);
  }

  async scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page> {
    const page = await this.#call<{ rows: WireRow[]; cursor?: Cursor; done: boolean }>('scan', {
      range,
      cursor,
      limit: Math.min(limit, ITEMS_MAX),
    });
    return { rows: page.rows.map(rowOf), cursor: page.cursor, done: page.done };
  }

  digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest> {
    return this.#call('digest', { range, after, upTo });
  }

  /** Fewer than `limit` means that nothing is left, so a large limit is divided into several calls. */
  async erase(range: SliceRange, limit: number, right: EraseRight): Promise<number | undefined> {
    let erased = 0;
    for (;;) {
      const asked = Math.min(limit - erased, ITEMS_MAX);
      const some = await this.#call<number | null>('erase', { range, limit: asked, right });
      if (some === null) return undefined;
      erased += some;
      if (some < asked || erased >= limit) return erased;
    }
  }

  count(range: SliceRange, from?: Cursor, limit?: number): Promise<Count> {
    return this.#call('count', { range, cursor: from, limit });
  }

  dropTombstones(before: EventTime): Promise<number> {
    return this.#call('dropTombstones', { before });
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #call<Result>(call: Call, body: unknown): Promise<Result> {
    if (this.#closed) throw new AppError('STORE_CLOSED', 'the shard has been closed', { shard: this.#shard });
    return this.#server.call(call, 'POST', `${pathOf(this.#shard)}/${call}`, this.instanceId, body);
  }
}

/** One shard server; Node's fetch keeps its connections open between calls. */
class Server {
  readonly address: string;
  readonly lookUps: LookUpConnection;
  readonly #token: string | undefined;
  readonly #timeoutMs: number;
  readonly #keySpace: KeySpace;

  constructor(address: string, settings: RemoteSettings) {
    this.address = address.replace(/\/+$/, '');
    this.#token = settings.token;
    this.#timeoutMs = settings.timeoutMs ?? TIMEOUT_MS;
    this.#keySpace = keySpaceOf(settings.partitions, settings.fleet);
    const { hostname, port } = new URL(this.address);
    this.lookUps = new LookUpConnection({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port) || 80,
      token: settings.token,
      keySpace: this.#keySpace,
      timeoutMs: this.#timeoutMs,
      ...(settings.pingMs === undefined ? {} : { pingMs: settings.pingMs }),
    });
  }

  /**
   * Whether the server has the shard as this instance ('': any), or the error why it cannot tell. Any answer but
   * "unknown" means that it has one.
   */
  async has(path: string, instanceId: string): Promise<'has' | 'has another' | 'has not' | AppError> {
    try {
      await this.call('find', 'GET', path, instanceId);
      return 'has';
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.code === 'SHARD_UNKNOWN') return 'has not';
      if (error.code === 'SHARD_LOST') return 'has another';
      return error.facts.answered === true && error.code !== 'UNAUTHORIZED' ? 'has' : error;
    }
  }

  /**
   * Throws the error code that the server answers with, or STORE_UNAVAILABLE (C4), also for an answer of the wrong form
   * (C6).
   */
  async call<Result>(call: Call, method: string, path: string, instanceId: string, body?: unknown): Promise<Result> {
    let status: number;
    let text: string;
    try {
      const response = await fetch(`${this.address}${path}`, {
        method,
        redirect: 'error',
        headers: {
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
          [KEY_SPACE_HEADER]: keySpaceText(this.#keySpace),
          ...(this.#keySpace.fleet === undefined ? {} : { [FLEET_HEADER]: this.#keySpace.fleet }),
          ...(instanceId === '' ? {} : { [INSTANCE_HEADER]: instanceId }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      status = response.status;
      text = await response.text();
    } catch (cause) {
      const why =
        cause instanceof Error && cause.name === 'TimeoutError' ? 'did not answer in time' : 'cannot be reached';
      throw new AppError('STORE_UNAVAILABLE', `the shard server at ${this.address} ${why}`, { path }, cause);
    }
    const answer = parsed(text);
    if (status === 200 && answer !== undefined) {
      if (CHECKS[call].Check(answer)) return answer as Result;
      const problem = problemOf(ANSWERS[call], answer);
      const what = problem === undefined ? '' : `: ${problem.path} ${problem.text}`;
      throw new AppError('STORE_UNAVAILABLE', `${this.address} does not answer as a shard server${what}`, { path });
    }
    const { code, message } = (answer ?? {}) as { code?: unknown; message?: unknown };
    const known = typeof code === 'string' && Object.hasOwn(STATUS, code) ? (code as ErrorCode) : undefined;
    throw new AppError(
      known ?? 'STORE_UNAVAILABLE',
      `the shard server at ${this.address} answered ${status}: ${typeof message === 'string' ? message : 'no reason'}`,
      { path, status, answered: known !== undefined },
    );
  }
}

const CHECKS = Object.fromEntries(
  Object.entries(ANSWERS).map(([call, schema]) => [call, Compile(schema)]),
) as unknown as Readonly<Record<Call, { Check(answer: unknown): boolean }>>;

const pathOf = (shard: ShardId): string => `/shards/${checkedShardName(shard)}`;

/** The rows, divided so that each request stays well below the server's limits. */
function* requestsOf(rows: readonly SubscriptionRow[]): Generator<readonly SubscriptionRow[]> {
  let from = 0;
  let bytes = 0;
  for (let i = 0; i < rows.length; i++) {
    bytes += rowBytes(rows[i]!);
    if (i > from && (bytes > REQUEST_BYTES || i - from === ITEMS_MAX)) {
      yield rows.slice(from, i);
      from = i;
      bytes = rowBytes(rows[i]!);
    }
  }
  if (from < rows.length) yield rows.slice(from);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
