// Fakes for the broker library: a topic fed by hand, a clock moved by hand, and a fleet's pointers.

import type { Batch, Clock, Follower, OutRecord } from '../../runtime/ports.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { epoch, shardId, sliceKey } from '../../schemas/ids.ts';
import type { PointerMode, PointerRecord, ShardEntry } from '../../schemas/records.ts';
import { keyOfBody } from '../../state/pointer-table.ts';

export const PARTITIONS = 2;

/** The pointer topic: records are handed over when the test says so. */
export class FakeTopic {
  readonly records: { readonly key: string | null; readonly value: Buffer | null }[] = [];
  epoch = 0;
  #take: ((batch: Batch) => Promise<void>) | undefined;
  #caughtUp: () => void = () => {};
  #handed = 0;
  #restarts = false;
  isClosed = false;

  readonly follow = async (_topic: string, _from: string, take: (batch: Batch) => Promise<void>): Promise<Follower> => {
    this.#take = take;
    return {
      caughtUp: new Promise<void>((resolve) => {
        this.#caughtUp = resolve;
      }),
      close: async () => {
        this.isClosed = true;
      },
    };
  };

  change(...bodies: readonly Body[]): void {
    this.epoch += 1;
    for (const [index, body] of bodies.entries()) {
      const change = { epoch: epoch(this.epoch), index, count: bodies.length, term: 1, planner: 'p' };
      const record = { change, body: { ...body, epoch: epoch(this.epoch) } } as PointerRecord;
      this.put(keyOfBody(record.body), jsonCodec.encode('PointerRecord', record));
    }
  }

  put(key: string | null, value: Buffer | null): void {
    this.records.push({ key, value });
  }

  /** The topic loses its records from `end` on, and is handed over from its start again. */
  loseFrom(end: number): void {
    this.records.splice(end);
    this.#handed = 0;
    this.#restarts = true;
  }

  /** Hands over everything up to `to`, as one batch. */
  async hand(to = this.records.length): Promise<void> {
    const restart = this.#restarts ? { restartsAt: 0 } : {};
    this.#restarts = false;
    const records = this.records.slice(this.#handed, to).map(({ key, value }, i) => ({
      offset: this.#handed + i,
      key: key === null ? null : Buffer.from(key),
      value,
      timestamp: 0,
      headers: undefined,
    }));
    this.#handed = to;
    await this.#take!({
      topic: 'pointer-table',
      partition: 0,
      records,
      nextOffset: to,
      endOffset: this.records.length,
      ...restart,
    });
  }

  caughtUp(): void {
    this.#caughtUp();
  }
}

export type Body = ReturnType<typeof pointer> | ReturnType<typeof shard>;

export const pointer = (slice: string, shards: readonly string[], mode: PointerMode = 'SINGLE') => ({
  kind: 'PointerEntry' as const,
  slice: sliceKey(slice),
  mode,
  shards: shards.map(shardId),
});

export const shard = (id: string, loss: Partial<Pick<ShardEntry, 'loss' | 'rebuiltAt'>> = {}) => ({
  kind: 'ShardEntry' as const,
  shardId: shardId(id),
  storeKind: 'KEY_VALUE' as const,
  datastoreType: 'kv',
  instanceId: id,
  address: '',
  state: 'READY' as const,
  ...loss,
});

/** Time moves when the test says so; sleeps end at once and are remembered. */
export class FakeClock implements Clock {
  at = 1_000_000;
  readonly slept: number[] = [];
  #ticks: (() => void)[] = [];

  now(): number {
    return this.at;
  }

  /** Number of ticks that are going on. */
  get timers(): number {
    return this.#ticks.length;
  }

  every(_ms: number, tick: () => void): () => void {
    this.#ticks.push(tick);
    return () => {
      this.#ticks = this.#ticks.filter((each) => each !== tick);
    };
  }

  async sleep(ms: number): Promise<void> {
    this.slept.push(ms);
    await turns();
  }

  move(ms: number): void {
    this.at += ms;
    for (const tick of this.#ticks) tick();
  }
}

/** A log that takes appends, or refuses as many as it is told to. */
export class FakeLog {
  readonly appends: (readonly OutRecord[])[] = [];
  failures = 0;
  hold: Promise<void> = Promise.resolve();

  readonly append = async (records: readonly OutRecord[]): Promise<void> => {
    await this.hold;
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error('no leader');
    }
    this.appends.push(records);
  };

  values(topic: string): unknown[] {
    return this.appends
      .flat()
      .filter((record) => record.topic === topic)
      .map(({ value }) => JSON.parse(value!.toString('utf8')));
  }
}

/** Lets every promise that can go on go on. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
