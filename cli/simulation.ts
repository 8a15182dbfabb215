// Simulation: the production wiring, embedded, in simulated time: a day passes as fast as its events are processed.
// When a call resolves, everything that follows from it has happened and is committed.

import { type Foreshard, type StartOptions, start } from '../app/main.ts';
import type { Config } from '../config/config.ts';
import { LocalLog } from '../log/local/local-log.ts';
import type { OutRecord } from '../runtime/ports.ts';
import { SimulatedClock } from '../runtime/simulated-clock.ts';
import type { Logger } from '../runtime/telemetry.ts';
import { AppError } from '../schemas/errors.ts';
import type { EventTime, Offset } from '../schemas/ids.ts';
import type { Metric, RecordName, SubscriptionEvent } from '../schemas/records.ts';
import { partitionOf } from '../state/keys.ts';
import { commands, metrics, progress, subscriptions, type Topic } from '../topology/topics.ts';

/** One record of a topic, decoded; `null` is the removal of a key. */
export interface Seen<Value> {
  readonly key: string;
  readonly value: Value | null;
  readonly offset: Offset;
  /** End of the topic when this record was read. */
  readonly endOffset: Offset;
}

export interface SimulationOptions extends Pick<StartOptions, 'constraints' | 'models'> {
  readonly config: Config;
  readonly logger: Logger;
  readonly startAt: EventTime;
  readonly serveHttp: boolean;
}

/** Most ticks in one step while planner and shards interact: a move takes about a dozen. */
const TICKS_MAX = 20;

export class Simulation {
  readonly foreshard: Foreshard;
  readonly clock: SimulatedClock;
  readonly #config: Config;
  readonly #log: LocalLog;
  readonly #failed: Promise<never>;
  #isStirred = false;
  /** The time at which the last step ended; the clock may be a few ticks ahead of it. */
  #until: number;

  private constructor(foreshard: Foreshard, clock: SimulatedClock, config: Config, log: LocalLog) {
    this.foreshard = foreshard;
    this.clock = clock;
    this.#config = config;
    this.#log = log;
    this.#until = clock.now();
    this.#failed = new Promise((_, reject) => {
      foreshard.done.catch(reject);
    });
    this.#failed.catch(() => {}); // `#settle` reports it.
  }

  static async start({ config, startAt, ...options }: SimulationOptions): Promise<Simulation> {
    const clock = new SimulatedClock(startAt);
    const foreshard = await start(config, { ...options, simulated: clock });
    const { log } = foreshard;
    if (!(log instanceof LocalLog))
      throw new AppError('CONFIG_INVALID', 'simulated time needs the embedded log: use --runtime embedded');
    const simulation = new Simulation(foreshard, clock, config, log);
    await simulation.#settle();
    for (const topic of [commands, progress])
      await log.follow(topic.name, 'latest', async () => {
        simulation.#isStirred = true;
      });
    return simulation;
  }

  subscription(event: SubscriptionEvent): OutRecord {
    return this.#record(subscriptions, event.topicFilter, event);
  }

  metric(key: string, body: Metric['body']): OutRecord {
    return this.#record<Metric>(metrics, key, { body });
  }

  /** Lets `ms` pass, appends the records at its end, and waits for all that follows. */
  async step(records: readonly OutRecord[], ms: number): Promise<void> {
    const tickMs = this.#config.commitIntervalMs;
    this.#until += ms;
    this.clock.advance(Math.max(0, this.#until - this.clock.now() - 2 * tickMs));
    if (records.length > 0) await this.#settle(this.#log.append(records));
    await this.#settle();
    // Each tick commits what the previous one has produced: rates and forecasts, then plans, then actions on shards.
    for (let ticks = 1; ticks <= TICKS_MAX; ticks++) {
      this.#isStirred = false;
      this.clock.advance(tickMs);
      await this.#settle(this.foreshard.running.tick());
      await this.#settle();
      if (ticks >= 2 && !this.#isStirred) return;
    }
  }

  /** Calls `take` for every record of a topic, those that exist and those that will be written. */
  async observe<Value>(topic: Topic<string, Value>, take: (seen: Seen<Value>) => void): Promise<void> {
    const record = topic.record!;
    await this.#log.follow(topic.name, 'earliest', async (batch) => {
      for (const { key, value, offset } of batch.records)
        take({
          key: key?.toString('utf8') ?? '',
          value: value === null ? null : this.#decoded<Value>(record, value),
          offset,
          endOffset: batch.endOffset,
        });
    });
    await this.#settle();
  }

  /** A store of the shard as its readers see it. */
  stop(): Promise<void> {
    return this.foreshard.stop();
  }

  /** A task that waits for a store sleeps by the simulated clock, so time must be able to pass during any wait. */
  #settle(done: Promise<void> = this.#log.whenIdle()): Promise<void> {
    return Promise.race([this.clock.settle(done), this.#failed]);
  }

  #decoded<Value>(record: RecordName, bytes: Buffer): Value {
    return this.foreshard.codec.decode(record, bytes) as Value;
  }

  #record<Value>(topic: Topic<string, Value>, key: string, value: Value): OutRecord {
    return {
      topic: topic.name,
      partition: partitionOf(key, this.#config.partitions),
      key,
      value: this.foreshard.codec.encode(topic.record!, value as never),
    };
  }
}
