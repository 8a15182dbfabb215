// Drive: a topology run whole, in memory, by hand. Time passes when `advance` says so; after each call everything that
// follows from it has happened and is committed.

import { inlineFitter } from '../../runtime/inline-fitter.ts';
import type { Effects } from '../../runtime/ports.ts';
import { type Running, run } from '../../runtime/runner.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { type Labels, type Meter, silentLogger } from '../../runtime/telemetry.ts';
import type { Codec } from '../../schemas/codec.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import type { Partition } from '../../schemas/ids.ts';
import { partitionOf } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import type { StoreFolder } from '../../state/store.ts';
import type { Group, Topology } from '../../topology/graph.ts';
import { type AnyTopic, deadLetters } from '../../topology/topics.ts';
import { MemoryLog, type MemoryStorage } from './memory-log.ts';

export interface DriveOptions {
  readonly partitions?: number;
  readonly start?: number;
  readonly codec?: Codec;
  readonly effects?: Effects;
  /** What an earlier drive left: its records and its stores. */
  readonly storage?: MemoryStorage;
  readonly stores?: StoreFolder;
  readonly commitIntervalMs?: number;
  /** How long the changelog is said to keep removals; absent: for ever. */
  readonly removalsKeptMs?: number;
  readonly incarnation?: number;
}

export interface Read {
  readonly key: string | null;
  readonly value: unknown;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly partition: Partition;
}

export interface Drive {
  readonly clock: SimulatedClock;
  readonly log: MemoryLog;
  readonly running: Running;
  readonly meter: CountingMeter;
  readonly stores: StoreFolder;
  /** Appends a record, by Kafka's partitioner or to the given partition, and lets all that follows happen. */
  send(topic: AnyTopic, key: string | null, value: unknown, partition?: Partition): Promise<void>;
  /** Appends bytes as they are. */
  sendBytes(topic: AnyTopic, key: Buffer | string | null, value: Buffer | null, partition?: Partition): Promise<void>;
  /** Lets time pass in one step, with one tick at its end. */
  advance(ms: number): Promise<void>;
  /** All records of a topic, decoded. */
  read(topic: AnyTopic): Read[];
  row(group: Group['name'], table: string, partition: Partition, key: string): unknown;
  stop(): Promise<void>;
}

export async function drive(topology: Topology, options: DriveOptions = {}): Promise<Drive> {
  const partitions = options.partitions ?? 1;
  const codec = options.codec ?? jsonCodec;
  const clock = new SimulatedClock(options.start ?? 1_700_000_000_000);
  const log = new MemoryLog({
    app: 'drive',
    partitions,
    now: () => clock.now(),
    ...(options.storage === undefined ? {} : { storage: options.storage }),
    ...(options.removalsKeptMs === undefined ? {} : { removalsKeptMs: options.removalsKeptMs }),
  });
  const meter = new CountingMeter();
  const stores = options.stores ?? memoryFolder();
  const running = await run(
    topology,
    {
      log,
      codec,
      stores,
      clock,
      meter,
      logger: silentLogger,
      fitter: inlineFitter,
      effects: options.effects ?? { perform: async () => [] },
    },
    {
      app: 'drive',
      partitions,
      address: '',
      commitIntervalMs: options.commitIntervalMs ?? 0,
      commitRecordsMax: 10_000,
      effectRetryMs: 100,
      incarnation: options.incarnation ?? 0,
      tickMs: Number.MAX_SAFE_INTEGER, // Ticks are given by `advance`.
      idleMs: 30_000,
    },
  );
  await clock.settle(log.settle());

  const sendBytes: Drive['sendBytes'] = async (topic, key, value, partition) => {
    const count = topic.partitions === 'one' ? 1 : partitions;
    await log.append([
      { topic: topic.name, partition: partition ?? (key === null ? 0 : partitionOf(key, count)), key, value },
    ]);
    await clock.settle(log.settle());
  };
  return {
    clock,
    log,
    running,
    meter,
    stores,
    sendBytes,
    send: (topic, key, value, partition) => sendBytes(topic, key, codec.encode(topic.record!, value), partition),
    async advance(ms) {
      clock.advance(ms);
      await clock.settle(running.tick());
      await clock.settle(log.settle());
    },
    read: (topic) =>
      log.recordsOf(topic.name).map((record) => ({
        key: record.key?.toString('utf8') ?? null,
        value:
          record.value === null || topic.name === deadLetters.name
            ? record.value
            : codec.decode(topic.record!, record.value),
        headers: record.headers ?? {},
        partition: record.partition,
      })),
    row(group, table, partition, key) {
      const found = running.read(group, table, partition, key);
      return found.kind === 'here' ? found.row : undefined;
    },
    async stop() {
      const stopped = running.stop(1_000);
      clock.advance(0);
      await stopped;
      await log.close();
    },
  };
}

/** Sums what is added, by name and labels. */
export class CountingMeter implements Meter {
  readonly #sums = new Map<string, number>();

  add(name: string, by: number, labels: Labels = {}): void {
    const key = `${name}${JSON.stringify(labels)}`;
    this.#sums.set(key, (this.#sums.get(key) ?? 0) + by);
  }

  set(): void {}

  observe(): void {}

  replace(): void {}

  /** How many series a scrape would find: names with their label sets. */
  get size(): number {
    return this.#sums.size;
  }

  /** The sum over all label sets of that name that contain these labels. */
  sum(name: string, labels: Labels = {}): number {
    let total = 0;
    for (const [key, value] of this.#sums) {
      if (!key.startsWith(`${name}{`)) continue;
      const its = JSON.parse(key.slice(name.length)) as Labels;
      if (Object.entries(labels).every(([label, wanted]) => its[label] === wanted)) total += value;
    }
    return total;
  }
}
