// Broker: one simulated broker: what the package gives to brokers, on a host that can be killed, with a reader of the
// pointer table that may be behind. What it is told of its questions goes to the oracle.

import { EVENT_PRODUCER_DEFAULTS, EventProducer } from '../../broker/event-producer.ts';
import { PointerReader } from '../../broker/pointer-reader.ts';
import { Router, type ShardReader } from '../../broker/router.ts';
import type { ShardStore } from '../../datastores/shard-store.ts';
import type { Codec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Epoch } from '../../schemas/ids.ts';
import type { ShardEntry } from '../../schemas/records.ts';
import type { PointerSnapshot } from '../../state/pointer-table.ts';
import type { Faults } from './faults.ts';
import { followed, logOf, type SharedLog } from './log.ts';
import type { Oracle } from './oracle.ts';
import { Process } from './process.ts';
import type { Chance, Scheduler } from './scheduler.ts';
import type { Shards } from './shards.ts';

export interface BrokerParts {
  readonly id: string;
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly log: SharedLog;
  readonly codec: Codec;
  readonly shards: Shards;
  readonly oracle: Oracle;
  readonly partitions: number;
  /** How late it reads of changes, at most. */
  readonly lagMs: number;
  readonly heartbeatMs: number;
  readonly filters: readonly string[];
  /** It is up again. */
  readonly started: () => void;
  /** A planted bug: what it asks in place of a shard. */
  readonly reads?: (shard: ShardEntry, reader: ShardReader) => ShardReader;
}

/** How long a question waits for a newer table, each time. */
const WAIT_MS = 4_000;
/** A reader that is behind by so much is no longer waited for. */
export const LAG_MS_MAX = 6_000;

export class Broker {
  readonly id: string;
  process: Process;
  reader: PointerReader | undefined;
  /** Since when it has been up, by the world's time. */
  upSince: number;
  readonly #parts: BrokerParts;
  readonly #chance: Chance;
  #producer: EventProducer | undefined;
  #router: Router | undefined;
  #snapshot: PointerSnapshot | undefined;
  #stoppedUntil = 0;
  #starts = 0;

  constructor(parts: BrokerParts) {
    this.id = parts.id;
    this.#parts = parts;
    this.#chance = parts.scheduler.stream(`broker ${parts.id}`);
    this.upSince = parts.scheduler.now;
    this.process = this.#start();
  }

  get isUp(): boolean {
    return this.process.state === 'up';
  }

  /** Its reader stands still for so long; the rest goes on. */
  stopReader(ms: number): void {
    this.#stoppedUntil = this.#parts.scheduler.now + ms;
  }

  get isReaderStopped(): boolean {
    return this.#stoppedUntil > this.#parts.scheduler.now;
  }

  /** Dies, and begins anew after so long, with an old snapshot of its table or without one. */
  restart(afterMs: number): void {
    if (this.reader !== undefined && this.#chance.hits(0.7)) this.#snapshot = this.reader.table.snapshot();
    this.process.kill();
    this.#parts.scheduler.after(afterMs, 'broker starts', () => this.revive());
  }

  /** Starts if it is down. */
  revive(): void {
    if (this.process.state !== 'down') return;
    this.process = this.#start();
    this.upSince = this.#parts.scheduler.now;
    this.#parts.started();
  }

  async send(action: 'SUBSCRIBE' | 'UNSUBSCRIBE', filter: string, clientId: string, qos: number): Promise<void> {
    const producer = this.#producer;
    if (producer === undefined) return;
    try {
      if (action === 'SUBSCRIBE') await producer.subscribe(filter, clientId, qos);
      else await producer.unsubscribe(filter, clientId);
      this.#parts.oracle.acknowledged(filter, clientId);
    } catch (error) {
      if (!(error instanceof AppError)) throw error; // Unknown: it may be in the log.
    }
  }

  /** A PUBLISH: asks for its subscribers. */
  async publish(topic: string, mustBeAnswered = false): Promise<void> {
    const { oracle } = this.#parts;
    const router = this.#router;
    if (router === undefined || this.reader?.isReady !== true || this.reader.table.epoch === 0) return;
    this.#producer?.published(topic, 10);
    const question = oracle.open(topic);
    const before = this.reader.table.epoch;
    try {
      const answer = await router.subscribersOf(topic);
      if (this.reader.table.epoch !== before) oracle.redirects++;
      oracle.close(question, answer, this.id);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      oracle.unanswered++;
      if (mustBeAnswered) oracle.break('I1', `${this.id} cannot be answered for ${topic}: ${error.message}`);
    }
  }

  #start(): Process {
    const {
      scheduler,
      log: shared,
      codec,
      shards,
      partitions,
      faults,
      lagMs,
      heartbeatMs,
      filters,
      oracle,
    } = this.#parts;
    const process = new Process(`${this.id}.${++this.#starts}`, scheduler);
    const log = logOf(process, shared);
    const clock = process.clock();
    const provisioner = shards.provisionerFor(process);
    this.reader = undefined;
    this.#router = undefined;
    const follow: typeof log.follow = (topic, from, take) =>
      followed(
        process,
        shared,
        topic,
        from,
        async (batch) => {
          while (this.#stoppedUntil > scheduler.now) {
            faults.meet('reader stopped');
            await scheduler.sleep(this.#stoppedUntil - scheduler.now, 'stopped reader');
          }
          if (faults.strikes('reader behind'))
            await scheduler.sleep(this.#chance.between(500, LAG_MS_MAX), 'reader behind');
          await process.live();
          await take(batch);
        },
        lagMs,
      );
    const position = (): number => this.reader?.table.position ?? 0;
    this.#producer = new EventProducer(
      { log, codec, clock, pointerPosition: position },
      { ...EVENT_PRODUCER_DEFAULTS, brokerId: this.id, partitions, heartbeatMs, triesMax: 4 },
    );
    const snapshot = this.#snapshot;
    void PointerReader.open(
      { log: { follow }, codec, clock },
      { partitions, ...(snapshot === undefined ? {} : { snapshot }) },
    ).then((reader) => {
      if (this.process !== process) return;
      this.reader = reader;
      reader.onChange((epoch: Epoch) => {
        const { table } = reader;
        const resolve = (filter: string) => table.resolve(filter, '')?.slice;
        const some = [0, 1, 2].map(() => this.#chance.oneOf(filters));
        oracle.checkReader({ epoch, pointers: table.pointers(), resolve }, some, this.id);
      });
      const storeOf = async (shard: ShardEntry): Promise<ShardReader> => {
        const store: ShardStore = await provisioner.store(shard.shardId, { instanceId: shard.instanceId });
        return this.#parts.reads?.(shard, store) ?? store;
      };
      this.#router = new Router({ pointers: reader, storeOf }, { hopsMax: 2, waitMs: WAIT_MS });
    });
    return process;
  }
}
