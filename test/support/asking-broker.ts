// Asking broker: a broker that learns of pointer changes late, says so in its heartbeats, and asks all the time who a
// message goes to. It is the broker library itself, over a log that holds the pointer table back.
//
//   A1. Each batch of the pointer table comes to it up to `lagMs` after it was written, at random; to one whose heartbeats
//       are lost, always that late.
//   A2. Told that a slice has moved it takes in what is held back, as any broker refreshes, and asks again.

import { setTimeout as sleep } from 'node:timers/promises';
import { EVENT_PRODUCER_DEFAULTS, EventProducer } from '../../broker/event-producer.ts';
import { PointerReader } from '../../broker/pointer-reader.ts';
import { Router } from '../../broker/router.ts';
import type { Subscriber } from '../../datastores/shard-store.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Deployment } from './deployment.ts';
import type { EventLedger } from './event-ledger.ts';

export interface AskingSettings {
  readonly brokerId: string;
  readonly seed: number;
  readonly lagMs: number;
  /** False for one whose heartbeats are lost: no move waits for it, so that shards have to tell it what has moved. */
  readonly heartbeats: boolean;
  /** Between two questions. */
  readonly pauseMs: number;
  readonly topic: () => string;
}

export interface Asked {
  questions: number;
  /** Subscriptions that had to be in an answer. */
  judged: number;
  misses: string[];
  ghosts: string[];
  /** Times that a shard said the slice has moved. */
  redirects: number;
  /** Questions that ended in an error, with its code. */
  unanswered: string[];
  heldMsMax: number;
}

export class AskingBroker {
  readonly asked: Asked = {
    questions: 0,
    judged: 0,
    misses: [],
    ghosts: [],
    redirects: 0,
    unanswered: [],
    heldMsMax: 0,
  };
  readonly #settings: AskingSettings;
  readonly #ledger: EventLedger;
  readonly #random: () => number;
  #pointers: PointerReader | undefined;
  #events: EventProducer | undefined;
  #asking: Promise<void> = Promise.resolve();
  #release = (): void => {};
  #refreshing = 0;
  #lagMs: number;
  #isStopping = false;

  private constructor(ledger: EventLedger, settings: AskingSettings) {
    this.#ledger = ledger;
    this.#settings = settings;
    this.#random = randomFrom(settings.seed);
    this.#lagMs = settings.lagMs;
  }

  static async open(deployment: Deployment, ledger: EventLedger, settings: AskingSettings): Promise<AskingBroker> {
    const broker = new AskingBroker(ledger, settings);
    const { codec, clock, config, log, provisioner } = deployment;
    const { partitions } = config;
    const late: Pick<typeof log, 'follow'> = {
      follow: (topic, from, take) =>
        log.follow(topic, from, async (batch) => {
          await broker.#hold(batch.records[0]?.timestamp ?? 0);
          await take(batch);
        }),
    };
    const pointers = await PointerReader.open({ log: late, codec, clock }, { partitions });
    await pointers.ready;
    broker.#pointers = pointers;
    if (settings.heartbeats)
      broker.#events = new EventProducer(
        { log, codec, clock, pointerPosition: () => pointers.table.position },
        { ...EVENT_PRODUCER_DEFAULTS, brokerId: settings.brokerId, partitions },
      );
    const refreshing = {
      get table() {
        return pointers.table;
      },
      newerThan: (...args: Parameters<PointerReader['newerThan']>) =>
        broker.#refresh(() => pointers.newerThan(...args)),
    };
    const router = new Router(
      { pointers: refreshing, storeOf: (shard) => provisioner.store(shard.shardId, shard) },
      { hopsMax: 2, waitMs: 5_000 },
    );
    broker.#asking = broker.#askOn(router);
    return broker;
  }

  /** From now on pointers come at once. */
  catchUp(): void {
    this.#lagMs = 0;
    this.#release();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.catchUp();
    await this.#asking;
    await this.#events?.close();
    await this.#pointers?.close();
  }

  /** A1 */
  async #hold(writtenAt: number): Promise<void> {
    if (this.#refreshing > 0) return;
    const share = this.#settings.heartbeats ? this.#random() : 1;
    const heldMs = writtenAt + share * this.#lagMs - Date.now();
    if (heldMs <= 0) return;
    this.asked.heldMsMax = Math.max(this.asked.heldMsMax, heldMs);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, heldMs);
      this.#release = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** A2 */
  async #refresh(wait: () => Promise<boolean>): Promise<boolean> {
    this.asked.redirects++;
    this.#refreshing++;
    this.#release();
    try {
      return await wait();
    } finally {
      this.#refreshing--;
    }
  }

  async #askOn(router: Router): Promise<void> {
    while (!this.#isStopping) {
      const question = this.#ledger.open(this.#settings.topic());
      let answer: readonly Subscriber[] | undefined;
      try {
        answer = await router.subscribersOf(question.topic);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        this.asked.unanswered.push(`${error.code}: ${error.message}`);
      }
      const { misses, ghosts, judged } = this.#ledger.close(question, answer);
      this.asked.questions++;
      this.asked.judged += judged;
      this.asked.misses.push(...misses);
      this.asked.ghosts.push(...ghosts);
      await sleep(this.#settings.pauseMs);
    }
  }
}

/** The sums over several brokers. */
export function askedBy(brokers: readonly AskingBroker[]): Asked {
  const all = brokers.map(({ asked }) => asked);
  const sum = (of: (asked: Asked) => number): number => all.reduce((total, each) => total + of(each), 0);
  return {
    questions: sum((each) => each.questions),
    judged: sum((each) => each.judged),
    misses: all.flatMap((each) => each.misses),
    ghosts: all.flatMap((each) => each.ghosts),
    redirects: sum((each) => each.redirects),
    unanswered: all.flatMap((each) => each.unanswered),
    heldMsMax: Math.max(...all.map((each) => each.heldMsMax)),
  };
}
