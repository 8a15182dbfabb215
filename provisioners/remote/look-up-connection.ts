// Look-up connection: one broker's questions to one shard server, over RESP (resp-session.ts), on one connection, which
// also reports changes.
//
//   L1. Answers may be kept only until their connection ends: then everyone who keeps one is told that none is valid
//       any more.
//   L2. A connection is used only when it tracks and knows the fleet. After a failure it is not tried again at once.
//   L3. A question that is not answered in time, or not by a shard server, is STORE_UNAVAILABLE.
//   L4. Questions asked in one turn of the event loop are sent as one command.
//   L5. A connection whose server does not answer MISSED_MAX pings in a row is ended: it may be cut off without
//       knowing it, and would not hear of changes. So no answer is kept for longer than that after it stopped being
//       right.

import { Redis } from 'ioredis';
import type { Tracker } from '../../datastores/answer-cache.ts';
import type { Heard } from '../../datastores/audience.ts';
import { STATUS } from '../../datastores/protocol/wire.ts';
import type { Asked, PublishQuestion, Subscriber } from '../../datastores/shard-store.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { type Epoch, epoch, sliceKey } from '../../schemas/ids.ts';
import type { KeySpace } from '../../state/keys.ts';
import { optionsOf } from '../../state/subscription-options.ts';

export interface LookUpSettings {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly keySpace: KeySpace;
  /** Time limit of one question, and of connecting. */
  readonly timeoutMs: number;
  /** How often the server is asked whether it is there (L5). */
  readonly pingMs?: number;
}

/** Questions that wait for the end of the turn of the event loop (L4). */
interface Batch {
  readonly at: Epoch;
  readonly words: string[];
  readonly waiting: { readonly resolve: (answer: unknown) => void; readonly reject: (error: AppError) => void }[];
}

/** Time limit of one call, when none is given. */
export const TIMEOUT_MS = 10_000;
const CHANGES = '__redis__:invalidate';
const PING_MS = 1_000;
const MISSED_MAX = 3;
const NOT_A_SERVER = 'it does not answer as a shard server';
/** Most questions in one command: with a few slices each, well below the limit of a command. */
const QUESTIONS_MAX = 256;
/** L2. */
const AGAIN_AFTER_MS = 100;

export class LookUpConnection {
  readonly #settings: LookUpSettings;
  readonly #trackers = new Map<string, Set<Tracker>>(); // By shard.
  #batch: Batch | undefined;
  #connecting: Promise<Redis> | undefined;
  #current: Redis | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  #failure: unknown;
  #isClosed = false;

  constructor(settings: LookUpSettings) {
    this.#settings = settings;
  }

  /** Throws STORE_UNAVAILABLE, and what the shard answers with. */
  async audience(shard: string, instanceId: string, question: PublishQuestion, tracker?: Tracker): Promise<Asked> {
    const redis = await this.#connected();
    if (tracker !== undefined) this.#track(shard, tracker);
    const answer = await this.#answer(redis, shard, instanceId, question);
    return this.#askedOf(answer, tracker !== undefined);
  }

  /** All subscribers, not only their brokers. Throws as `audience`. */
  async hearers(shard: string, instanceId: string, { topic, slices, epoch: at }: PublishQuestion): Promise<Heard> {
    const redis = await this.#connected();
    let answer: unknown;
    try {
      answer = await redis.call('FS.CLIENTS', shard, instanceId, String(at), topic, ...slices);
    } catch (error) {
      const { message } = error as Error;
      if (message.startsWith('MOVED ')) return movedIn(message);
      throw this.#problemOf(error);
    }
    if (!Array.isArray(answer)) throw this.#problem('STORE_UNAVAILABLE', NOT_A_SERVER);
    return { kind: 'found', subscribers: answer.map(subscriberIn) };
  }

  /** L4. */
  #answer(redis: Redis, shard: string, instanceId: string, { topic, slices, epoch: at }: PublishQuestion) {
    return new Promise<unknown>((resolve, reject) => {
      if (this.#batch === undefined || this.#batch.at !== at || this.#batch.waiting.length === QUESTIONS_MAX) {
        const batch: Batch = { at, words: [], waiting: [] };
        this.#batch = batch;
        process.nextTick(() => {
          if (this.#batch === batch) this.#batch = undefined;
          void this.#send(redis, batch);
        });
      }
      this.#batch.words.push(shard, instanceId, topic, String(slices.length), ...slices);
      this.#batch.waiting.push({ resolve, reject });
    });
  }

  async #send(redis: Redis, { at, words, waiting }: Batch): Promise<void> {
    let answers: unknown;
    try {
      answers = await redis.call('FS.MBROKERS', String(at), ...words);
      if (!Array.isArray(answers) || answers.length !== waiting.length) throw new Error(NOT_A_SERVER);
    } catch (error) {
      for (const { reject } of waiting) reject(this.#problemOf(error));
      return;
    }
    for (const [i, { resolve, reject }] of waiting.entries()) {
      const answer: unknown = (answers as unknown[])[i];
      if (!(answer instanceof Error)) resolve(answer);
      else if (answer.message.startsWith('MOVED ')) resolve(answer.message);
      else reject(this.#problemOf(answer));
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

  /** Connects, logs in, states the fleet and turns tracking on (L2). */
  async #connect(): Promise<Redis> {
    const { host, port, token, keySpace, timeoutMs } = this.#settings;
    const redis = new Redis({
      ...{ host, port, lazyConnect: true, connectTimeout: timeoutMs, commandTimeout: timeoutMs },
      ...{ retryStrategy: () => null, enableReadyCheck: false, disableClientInfo: true },
      ...(token === undefined ? {} : { password: token }),
    });
    let cause: unknown;
    redis.on('error', (error) => {
      cause = error;
    });
    try {
      await redis.connect();
      redis.on('messageBuffer', (_channel, keys: unknown) => this.#changed(keys));
      redis.on('close', () => this.#ended(redis));
      const id = await redis.client('ID');
      await redis.subscribe(CHANGES);
      await redis.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id));
      const fleet = keySpace.fleet === undefined ? [] : [keySpace.fleet];
      await redis.call('FS.FLEET', String(keySpace.partitions), String(keySpace.keyFormat), ...fleet);
      if (this.#isClosed) redis.disconnect();
      this.#current = redis;
      this.#watch(redis);
      return redis;
    } catch (error) {
      redis.disconnect();
      const { message } = (cause ?? error) as Error;
      const isRefused = /^(WRONGPASS|NOAUTH)\b/.test(message);
      throw this.#problem(isRefused ? 'UNAUTHORIZED' : 'STORE_UNAVAILABLE', message, error);
    }
  }

  /** L1. */
  #ended(redis: Redis): void {
    if (this.#current !== redis) return;
    this.#current = undefined;
    this.#connecting = undefined;
    this.#allChanged();
  }

  /** L5. */
  #watch(redis: Redis): void {
    let missed = 0;
    const timer = setInterval(() => {
      if (missed === MISSED_MAX) redis.disconnect();
      missed += 1;
      redis.ping().then(
        () => {
          missed = 0;
        },
        () => {}, // The next time counts it.
      );
    }, this.#settings.pingMs ?? PING_MS);
    timer.unref();
    redis.on('close', () => clearInterval(timer));
    if (redis.status !== 'ready') clearInterval(timer); // It has ended meanwhile.
  }

  #track(shard: string, tracker: Tracker): void {
    const trackers = this.#trackers.get(shard);
    if (trackers === undefined) this.#trackers.set(shard, new Set([tracker]));
    else trackers.add(tracker);
  }

  /** Keys that changed: `shard topic`, or `shard` for all of its topics; `undefined`: all shards. */
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
    if (typeof answer === 'string') return movedIn(answer);
    const [brokers, members, keepMs] = Array.isArray(answer) ? (answer as unknown[]) : [];
    if (!Array.isArray(brokers) || !Array.isArray(members) || typeof keepMs !== 'number')
      throw this.#problem('STORE_UNAVAILABLE', NOT_A_SERVER);
    return {
      kind: 'audience',
      audience: { brokers, groups: members.map((member) => [subscriberIn(member)]) },
      keepMs: mayKeep ? (keepMs < 0 ? Number.POSITIVE_INFINITY : keepMs) : 0,
    };
  }

  #problemOf(error: unknown): AppError {
    const message = error instanceof Error ? error.message : String(error);
    const [code, rest] = divided(message);
    if (code === 'NOAUTH' || code === 'NOPERM') return this.#problem('UNAUTHORIZED', rest, error);
    if (Object.hasOwn(STATUS, code)) return this.#problem(code as ErrorCode, rest, error);
    return this.#problem('STORE_UNAVAILABLE', message, error); // L3
  }

  #problem(code: ErrorCode, message: string, cause?: unknown): AppError {
    const { host, port } = this.#settings;
    return new AppError(code, `the shard server at ${host}:${port}: ${message}`, {}, cause);
  }
}

/** `MOVED slice epoch`. */
function movedIn(message: string): Extract<Heard, { kind: 'moved' }> {
  const end = message.lastIndexOf(' ');
  return {
    kind: 'moved',
    slice: sliceKey(message.slice('MOVED '.length, end)),
    epoch: epoch(Number(message.slice(end))),
  };
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
