// Events through an outbox: the producer over a real outbox on a model of a disk, and a log that comes and goes.

import { describe, expect, test } from 'vitest';
import { openOutboxFile } from '../../broker/edge/outbox-file.ts';
import { EVENT_PRODUCER_DEFAULTS, EventProducer, type EventProducerSettings } from '../../broker/event-producer.ts';
import { randomFrom } from '../../evaluation/random.ts';
import type { Clock, OutRecord } from '../../runtime/ports.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import type { SessionRecord, SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf } from '../../state/keys.ts';
import { ModelDisk } from '../support/model-disk.ts';
import { fc } from '../support/property.ts';

const PARTITIONS = 8;

/** Sleeps end when the test says so. */
class HeldClock implements Clock {
  at = 1_000_000;
  readonly #sleeping: (() => void)[] = [];

  now(): number {
    return this.at;
  }

  every(): () => void {
    return () => {};
  }

  sleep(): Promise<void> {
    return new Promise((resolve) => this.#sleeping.push(resolve));
  }

  wake(): void {
    for (const resolve of this.#sleeping.splice(0)) resolve();
  }
}

class Log {
  isAway = false;
  /** True: it takes a batch and its answer is lost. */
  isSilent = false;
  readonly taken: OutRecord[] = [];
  /** An append takes until this resolves. */
  hold: Promise<void> = Promise.resolve();

  readonly append = async (records: readonly OutRecord[]): Promise<void> => {
    await this.hold;
    if (this.isAway) throw new Error('no leader');
    this.taken.push(...records.filter(({ topic }) => topic !== 'metrics'));
    if (this.isSilent) throw new Error('the connection has ended');
  };

  /** What each record says, in short. */
  get said(): string[] {
    return this.taken.map(({ topic, value }) => {
      const record = JSON.parse(value!.toString('utf8')) as SubscriptionEvent & SessionRecord;
      return topic === 'sessions'
        ? `${record.body.kind} ${record.body.clientId}`
        : `${record.action} ${record.topicFilter}`;
    });
  }
}

/** The process of a broker. */
async function started(
  disk: ModelDisk,
  log: Log,
  { clock = new HeldClock(), ...settings }: Partial<EventProducerSettings> & { readonly clock?: HeldClock } = {},
) {
  const outbox = await openOutboxFile(disk, { owner: 'b', sync: true, fileBytes: 2_000 });
  const producer = new EventProducer(
    { log, codec: jsonCodec, clock, pointerPosition: () => 0, outbox },
    { ...EVENT_PRODUCER_DEFAULTS, brokerId: 'b', partitions: PARTITIONS, ...settings },
  );
  return { outbox, producer, clock };
}

/** Lets everything go on that can. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const freshDisk = (): ModelDisk => new ModelDisk(randomFrom(1));
const outboxOf = (confirm: 'outbox' | 'log', bytesMax = 1_000_000): Pick<EventProducerSettings, 'outbox'> => ({
  outbox: { confirm, bytesMax },
});

describe('events with an outbox', () => {
  test('are confirmed when they are in it, while the log is away, and reach the log in order', async () => {
    const log = new Log();
    log.isAway = true;
    const { producer, clock } = await started(freshDisk(), log);
    await producer.connected('c', { sessionEpoch: 1, cleanStart: true, sessionExpirySeconds: 0 });
    await producer.subscribe('a', 'c', 0, { sessionEpoch: 1 });
    await Promise.all([producer.unsubscribe('a', 'c', { sessionEpoch: 1 }), producer.subscribe('b', 'c', 0)]);
    await settled();
    expect([producer.queued, producer.trouble]).toEqual([4, 'no leader']);
    log.isAway = false;
    clock.wake();
    await settled();
    expect(log.said).toEqual(['Connected c', 'SUBSCRIBE a', 'UNSUBSCRIBE a', 'SUBSCRIBE b']);
    expect(log.taken.map(({ key, partition }) => [key, partition])).toEqual(
      ['c', 'a', 'a', 'b'].map((key) => [key, partitionOf(key, PARTITIONS)]),
    );
    expect([producer.queued, producer.trouble]).toEqual([0, undefined]);
  });

  test('are confirmed when they are in the log, where that is asked for', async () => {
    const log = new Log();
    log.isAway = true;
    const { producer, clock } = await started(freshDisk(), log, outboxOf('log'));
    const done: string[] = [];
    const all = ['a', 'b'].map((filter) => producer.subscribe(filter, 'c', 0).then(() => done.push(filter)));
    await settled();
    expect([done, producer.queued]).toEqual([[], 2]);
    log.isAway = false;
    clock.wake();
    await Promise.all(all);
    expect(done).toEqual(['a', 'b']);
  });

  test('survive the end of the process, and come before those of the next one', async () => {
    const log = new Log();
    log.isAway = true;
    const disk = freshDisk();
    const clock = new HeldClock();
    const { producer } = await started(disk, log, { clock });
    const sessionEpoch = producer.newSessionEpoch();
    await producer.connected('c', { sessionEpoch, cleanStart: true, sessionExpirySeconds: 0 });
    await producer.subscribe('a', 'c', 0, { sessionEpoch });
    log.isAway = false;
    clock.at -= 60_000; // The host's clock has been set back.
    const next = await started(disk.after('killed'), log, { clock });
    expect(next.producer.newSessionEpoch()).toBeGreaterThan(sessionEpoch);
    await next.producer.subscribe('b', 'c', 0);
    await settled();
    expect(log.said).toEqual(['Connected c', 'SUBSCRIBE a', 'SUBSCRIBE b']);
  });

  test('of an earlier process confirm nothing of this one', async () => {
    const log = new Log();
    log.isAway = true;
    const disk = freshDisk();
    for (const filter of ['a', 'b']) await (await started(disk, log)).producer.subscribe(filter, 'c', 0);
    log.isAway = false;
    let answer = (): void => {};
    log.hold = new Promise((resolve) => {
      answer = resolve;
    });
    const { producer } = await started(disk.after('killed'), log, outboxOf('log'));
    let isDone = false;
    const mine = producer.subscribe('mine', 'c', 0).then(() => {
      isDone = true;
    });
    await settled();
    answer();
    log.hold = new Promise((resolve) => {
      answer = resolve;
    });
    await settled();
    expect([log.said, isDone]).toEqual([['SUBSCRIBE a', 'SUBSCRIBE b'], false]);
    answer();
    await mine;
    expect(log.said.at(-1)).toBe('SUBSCRIBE mine');
  });

  test('are refused when it is full, and taken again when the log has taken some', async () => {
    const log = new Log();
    log.isAway = true;
    const { producer, clock, outbox } = await started(freshDisk(), log, outboxOf('outbox', 2_000));
    let taken = 0;
    let refusal: unknown;
    while (refusal === undefined)
      await producer.subscribe(`filter/${taken}`, 'c', 0).then(
        () => {
          taken += 1;
        },
        (error: unknown) => {
          refusal = error;
        },
      );
    expect(refusal).toMatchObject({ code: 'OUTBOX_FULL', facts: { bytesMax: 2_000, events: taken } });
    expect(taken).toBeGreaterThan(3);
    expect(outbox.sizeBytes).toBeLessThanOrEqual(2_000);
    const together = await Promise.allSettled(['x', 'y'].map((filter) => producer.subscribe(filter, 'c', 0)));
    expect(together.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    log.isAway = false;
    clock.wake();
    await settled();
    for (let i = 0; i < 100; i++) {
      await producer.subscribe(`again/${i}`, 'c', 0);
      await settled();
    }
    expect(log.said).toHaveLength(taken + 100); // None was dropped, and none of the refused is there.
  });

  test('given at the same time count together', async () => {
    const log = new Log();
    log.isAway = true;
    const { producer } = await started(freshDisk(), log, outboxOf('outbox', 2_000));
    const all = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => producer.subscribe(`f/${i}`, 'c', 0)));
    const taken = all.filter(({ status }) => status === 'fulfilled').length;
    expect(taken).toBeGreaterThan(3);
    expect(taken).toBeLessThan(20);
  });

  test('wait in it when the broker closes while the log is away', async () => {
    const log = new Log();
    log.isAway = true;
    const disk = freshDisk();
    const { producer, clock, outbox } = await started(disk, log, outboxOf('log'));
    const told = expect(producer.subscribe('a', 'c', 0)).rejects.toMatchObject({ code: 'STOPPED' });
    await settled();
    let isClosed = false;
    const closing = producer.close().then(() => {
      isClosed = true;
    });
    while (!isClosed) {
      clock.wake();
      await settled();
    }
    await closing;
    await told;
    await outbox.close();
    await expect(producer.subscribe('b', 'c', 0)).rejects.toMatchObject({ code: 'STOPPED' });
    log.isAway = false;
    await started(disk, log);
    await settled();
    expect(log.said).toEqual(['SUBSCRIBE a']);
  });

  test('a disk that refuses is told to the caller', async () => {
    const disk = freshDisk();
    const { producer } = await started(disk, new Log());
    disk.failAfter(0);
    await expect(producer.subscribe('a', 'c', 0)).rejects.toMatchObject({ code: 'OUTBOX_UNAVAILABLE' });
    await producer.subscribe('a', 'c', 0);
  });
});

/** The last word on each filter. */
function foldOf(said: readonly string[]): Map<string, string> {
  const fold = new Map<string, string>();
  for (const each of said) {
    const [action, filter] = each.split(' ') as [string, string];
    fold.set(filter, action);
  }
  return fold;
}

/** The given without what was said before: a replay is behind what it repeats. */
function firstTimes(said: readonly string[], given: readonly string[]): string[] {
  const left = new Set(given);
  return said.filter((each) => left.delete(each));
}

describe('events with an outbox, and a process that ends at any operation of its disk', () => {
  type Step = { readonly give: readonly number[] } | 'log away' | 'log silent' | 'log back';
  const STEP: fc.Arbitrary<Step> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ give: fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 4 }) }) },
    { weight: 1, arbitrary: fc.constantFrom('log away' as const, 'log silent' as const) },
    { weight: 1, arbitrary: fc.constant('log back' as const) },
  );

  test('every confirmed event is in the log, in the order given, and the last word is the last one given', async () => {
    let ends = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(STEP, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.constantFrom('outbox' as const, 'log' as const),
        async (steps, seed, confirm) => {
          for (let cutAt = 0; ; cutAt++) {
            const log = new Log();
            const disk = new ModelDisk(randomFrom(seed + cutAt));
            const clock = new HeldClock();
            const given: string[] = [];
            const confirmed: string[] = [];
            const { producer } = await started(disk, log, { ...outboxOf(confirm), clock });
            disk.cutAfter(cutAt);
            for (const step of steps) {
              if (disk.isCut) break;
              if (typeof step === 'object')
                for (const filter of step.give) {
                  const action = given.length % 2 === 0 ? 'SUBSCRIBE' : 'UNSUBSCRIBE';
                  const name = `${filter}/${action}/${given.length}`; // Each event is another one.
                  given.push(`${action} ${name}`);
                  const sent =
                    action === 'SUBSCRIBE' ? producer.subscribe(name, 'c', 0) : producer.unsubscribe(name, 'c');
                  sent.then(
                    () => confirmed.push(`${action} ${name}`),
                    () => {},
                  );
                }
              else {
                log.isAway = step === 'log away';
                log.isSilent = step === 'log silent';
              }
              clock.wake();
              await settled();
            }
            const isOver = !disk.isCut;
            const known = [...confirmed];
            log.isAway = false;
            log.isSilent = false;
            const next = await started(disk.after('killed'), log, { clock: new HeldClock() });
            await settled();
            expect(next.producer.queued).toBe(0);
            const order = firstTimes(log.said, given);
            expect(order).toEqual(given.filter((each) => order.includes(each)));
            expect(order).toEqual(expect.arrayContaining(known));
            ends += 1;
            if (isOver) break;
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(ends).toBeGreaterThan(300);
  });

  test('a replay of what the log has leaves the same last words', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 12 }), fc.nat(), async (filters, at) => {
        const log = new Log();
        const disk = freshDisk();
        const { producer, clock } = await started(disk, log, { batchMax: 3 });
        for (const [i, filter] of filters.entries()) {
          log.isSilent = i === at % filters.length; // The log has it, and nobody knows.
          await (i % 2 === 0 ? producer.subscribe(`f${filter}`, 'c', 0) : producer.unsubscribe(`f${filter}`, 'c'));
        }
        await settled();
        log.isSilent = false;
        if (at % 2 === 0) clock.wake();
        await settled();
        await started(disk.after('killed'), log);
        await settled();
        const given = filters.map((filter, i) => `${i % 2 === 0 ? 'SUBSCRIBE' : 'UNSUBSCRIBE'} f${filter}`);
        expect(foldOf(log.said)).toEqual(foldOf(given));
      }),
      { numRuns: 300 },
    );
  });
});
