// Look-up connection: the questions of one broker to one shard server, over RESP (resp-session.ts), on one connection that
// also tells what has changed.
//
//   L1. Whatever was told on a connection counts until that connection ends: then everybody who keeps an answer is told that
//       none counts any more.
//   L2. A connection is used when it tracks and knows the fleet, not before. One that fails is not tried again at once.
//   L3. What is not answered in time, or not by a shard server, is STORE_UNAVAILABLE.

import { Redis } from 'ioredis';
import type { Tracker } from '../../datastores/answer-cache.ts';
import { STATUS } from '../../datastores/protocol/wire.ts';
import type { Asked, PublishQuestion, Subscriber } from '../../datastores/shard-store.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { epoch, sliceKey } from '../../schemas/ids.ts';
import type { KeySpace } from '../../state/keys.ts';
import { optionsOf } from '../../state/subscription-options.ts';

export interface LookUpSettings {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly keySpace: KeySpace;
  /** For one question, and for the connection to be made. */
  readonly timeoutMs: number;
}

const CHANGES = '__redis__:invalidate';
/** L2. */
const AGAIN_AFTER_MS = 100;

export class LookUpConnection {
  readonly #settings: LookUpSettings;
  readonly #trackers = new Map<string, Set<Tracker>>(); // By shard.
  #connecting: Promise<Redis> | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #isClosed = false;

  constructor(settings: LookUpSettings) {
    this.#settings = settings;
  }

  /** Throws STORE_UNAVAILABLE, and what the shard answers with. */
  async audience(
    shard: string,
    instanceId: string,
    { topic, slices, epoch: at }: PublishQuestion,
    tracker?: Tracker,
  ): Promise<Asked> {
    const redis = await this.#connected();
    if (tracker !== undefined) this.#track(shard, tracker);
    try {
      const answer = await redis.call('FS.BROKERS', shard, instanceId, String(at), topic, ...slices);
      return this.#askedOf(answer, tracker !== undefined);
    } catch (error) {
      if (error instanceof AppError) throw error;
      const message = error instanceof Error ? error.message : String(error);
      const [code, rest] = divided(message);
      if (code === 'MOVED') {
        const end = rest.lastIndexOf(' ');
        return { kind: 'moved', slice: sliceKey(rest.slice(0, end)), epoch: epoch(Number(rest.slice(end + 1))) };
      }
      if (code === 'NOAUTH' || code === 'NOPERM') throw this.#problem('UNAUTHORIZED', rest, error);
      if (Object.hasOwn(STATUS, code)) throw this.#problem(code as ErrorCode, rest, error);
      throw this.#problem('STORE_UNAVAILABLE', message, error); // L3
    }
  }

  close(): void {
    this.#isClosed = true;
    void this.#connecting?.then(
      (redis) => redis.disconnect(),
      () => {},
    );
  }

  async #connected(): Promise<Redis> {
    if (this.#isClosed) throw new AppError('STORE_CLOSED', 'the shard has been closed');
    if (this.#connecting === undefined) {
      if (performance.now() - this.#failedAt < AGAIN_AFTER_MS) throw this.#failure;
      this.#connecting = this.#connect();
      this.#connecting.catch((error) => {
        this.#failedAt = performance.now();
        this.#failure = error;
        this.#connecting = undefined;
      });
    }
    return this.#connecting;
  }

  /** L2. */
  async #connect(): Promise<Redis> {
    const { host, port, token, keySpace, timeoutMs } = this.#settings;
    const redis = new Redis({
      ...{ host, port, lazyConnect: true, connectTimeout: timeoutMs, commandTimeout: timeoutMs },
      ...{ retryStrategy: () => null, enableReadyCheck: false, disableClientInfo: true, enableAutoPipelining: true },
      ...(token === undefined ? {} : { password: token }),
    });
    let cause: unknown;
    redis.on('error', (error) => {
      cause = error;
    });
    try {
      await redis.connect();
      redis.on('messageBuffer', (_channel, keys: unknown) => this.#changed(keys));
      redis.on('close', () => {
        this.#connecting = undefined;
        this.#allChanged(); // L1
      });
      const id = await redis.client('ID');
      await redis.subscribe(CHANGES);
      await redis.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id));
      const fleet = keySpace.fleet === undefined ? [] : [keySpace.fleet];
      await redis.call('FS.FLEET', String(keySpace.partitions), String(keySpace.keyFormat), ...fleet);
      if (this.#isClosed) redis.disconnect();
      return redis;
    } catch (error) {
      redis.disconnect();
      const { message } = (cause ?? error) as Error;
      const isRefused = /^(WRONGPASS|NOAUTH)\b/.test(message);
      throw this.#problem(isRefused ? 'UNAUTHORIZED' : 'STORE_UNAVAILABLE', message, error);
    }
  }

  #track(shard: string, tracker: Tracker): void {
    const trackers = this.#trackers.get(shard);
    if (trackers === undefined) this.#trackers.set(shard, new Set([tracker]));
    else trackers.add(tracker);
  }

  /** `shard topic`, or `shard` for all of its topics; nothing for all shards. */
  #changed(keys: unknown): void {
    if (!Array.isArray(keys)) {
      this.#allChanged();
      return;
    }
    for (const key of keys.map(String)) {
      const end = key.indexOf(' ');
      const shard = end < 0 ? key : key.slice(0, end);
      for (const tracker of this.#trackers.get(shard) ?? []) tracker.dropped(end < 0 ? undefined : key.slice(end + 1));
    }
  }

  #allChanged(): void {
    for (const trackers of this.#trackers.values()) for (const tracker of trackers) tracker.dropped(undefined);
    this.#trackers.clear();
  }

  /** L3. */
  #askedOf(answer: unknown, mayKeep: boolean): Asked {
    const [brokers, members, keepMs] = answer as [unknown, unknown, unknown];
    if (!Array.isArray(answer) || !Array.isArray(brokers) || !Array.isArray(members) || typeof keepMs !== 'number')
      throw this.#problem('STORE_UNAVAILABLE', 'it does not answer as a shard server');
    return {
      kind: 'audience',
      audience: { brokers, groups: members.map((member) => [subscriberIn(member)]) },
      keepMs: mayKeep ? (keepMs < 0 ? Number.POSITIVE_INFINITY : keepMs) : 0,
    };
  }

  #problem(code: ErrorCode, message: string, cause?: unknown): AppError {
    const { host, port } = this.#settings;
    return new AppError(code, `the shard server at ${host}:${port}: ${message}`, {}, cause);
  }
}

function divided(message: string): [code: string, rest: string] {
  const end = message.indexOf(' ');
  return end < 0 ? [message, ''] : [message.slice(0, end), message.slice(end + 1)];
}

function subscriberIn(words: unknown): Subscriber {
  const [filter, clientId, brokerId, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier] =
    words as [string, string, string, number, number, number, number, number];
  const options = optionsOf({
    noLocal: noLocal === 1,
    retainAsPublished: retainAsPublished === 1,
    retainHandling,
    subscriptionIdentifier,
  });
  return { filter, clientId, brokerId, qos, ...(options === undefined ? {} : { options }) };
}
