// A task that a store holds up: what the rest of the process does meanwhile, and who is told (runner.ts U3, task.ts K7).

import { afterEach, describe, expect, test } from 'vitest';
import { type Emit, type Input, jsonTable, type Step, type Tick } from '../../processors/step.ts';
import { inlineFitter } from '../../runtime/inline-fitter.ts';
import type { GroupSpec, Membership, TaskHandler } from '../../runtime/ports.ts';
import { type Running, run } from '../../runtime/runner.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import type { Effect, Outcome } from '../../state/effects.ts';
import { partitionOf } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { clock as clockTopic, effects, outcomes, subscriptions } from '../../topology/topics.ts';
import { CountingMeter } from '../support/drive.ts';
import { MemoryLog, type MemoryStorage } from '../support/memory-log.ts';

const START = 1_700_000_000_000;
const TICK_MS = 200;

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Each event becomes a write on the shard of its partition. Keeps how often it was told the time, and the events. */
const step: Step<
  Input<'subscriptions', SubscriptionEvent> | Input<'outcomes', Outcome> | Input<'clock', Tick>,
  number,
  Emit<'effects', Effect>
> = (rows, input) => {
  if (input.topic === 'clock') rows.set('ticks', (rows.get('ticks') ?? 0) + 1);
  if (input.topic !== 'subscriptions') return [];
  rows.set('events', (rows.get('events') ?? 0) + 1);
  return [
    { topic: 'effects', key: '', value: { kind: 'write', shard: `shard-${input.partition}` as never, rows: [] } },
  ];
};

const topology = defineTopology(
  [
    stage('write', {
      reads: [subscriptions, outcomes, clockTopic],
      keeps: jsonTable<number>('tallies'),
      emits: [effects],
      step,
    }),
  ],
  { inputs: [subscriptions] },
);

/** A memory log whose group can be made to be at odds with what the log says. */
class AskedLog extends MemoryLog {
  /** Who has every task, whatever the truth is. */
  owner: ReturnType<Membership['ownerOf']> | undefined;
  silent = false;
  /** Why it says that it is away; '' when it is well. */
  ill = '';

  #held: (() => void)[] | undefined;

  /** Commits neither end nor fail until `release`. */
  hang(): void {
    this.#held = [];
  }

  release(): void {
    for (const write of this.#held ?? []) write();
    this.#held = undefined;
  }

  override async write(...given: Parameters<MemoryLog['write']>): Promise<number> {
    const held = this.#held;
    if (held !== undefined && given[0] !== undefined) await new Promise<void>((resolve) => held.push(resolve));
    return super.write(...given);
  }

  override health(): { readonly ok: boolean; readonly reason: string } {
    return this.ill === '' ? super.health() : { ok: false, reason: this.ill };
  }

  override async join(group: GroupSpec, handler: TaskHandler): Promise<Membership> {
    const membership = await super.join(group, handler);
    return {
      done: membership.done,
      leave: (deadlineMs) => membership.leave(deadlineMs),
      ownerOf: (partition) => this.owner ?? membership.ownerOf(partition),
      standings: async () => {
        if (this.silent) throw new AppError('LOG_UNAVAILABLE', 'the log is away');
        return membership.standings();
      },
    };
  }
}

type Answer = 'done' | 'unavailable' | 'silent' | 'another fleet’s' | 'lost';

/** What a store says itself, beside that it cannot be used now. */
const CODES: Partial<Record<Answer, ErrorCode>> = { 'another fleet’s': 'FLEET_MISMATCH', lost: 'SHARD_LOST' };

/** A running process of two partitions over stores that answer as they are told to. */
async function world(storage?: MemoryStorage) {
  const answers: Record<string, Answer> = { 'shard-0': 'done', 'shard-1': 'done' };
  const clock = new SimulatedClock(START);
  const log = new AskedLog({
    app: 'stuck',
    partitions: 2,
    now: () => clock.now(),
    ...(storage === undefined ? {} : { storage: storage }),
  });
  let attempts = 0;
  const warnings: string[] = [];
  const running = await run(
    topology,
    {
      log,
      codec: jsonCodec,
      stores: memoryFolder(),
      clock,
      meter: new CountingMeter(),
      logger: { ...silentLogger, warn: (_facts, message) => void warnings.push(message) },
      fitter: inlineFitter,
      effects: {
        async perform(asked) {
          for (const effect of asked) {
            const { shard } = effect as Extract<Effect, { kind: 'write' }>;
            attempts++;
            if (answers[shard] === 'silent') await new Promise(() => {});
            const answer = answers[shard]!;
            if (answer !== 'done')
              throw new AppError('STORE_UNAVAILABLE', 'the store cannot be reached', { shard, code: CODES[answer] });
          }
          return [];
        },
      },
    },
    {
      app: 'stuck',
      partitions: 2,
      address: '',
      commitIntervalMs: 0,
      commitRecordsMax: 10_000,
      effectRetryMs: 100,
      tickMs: TICK_MS,
      idleMs: 30_000,
    },
  );
  await log.settle();
  cleanUps.push(async () => {
    const stopped = running.stop(0);
    clock.advance(0);
    await stopped;
    await log.close();
  });
  const tally = (partition: number, key: 'ticks' | 'events'): number => {
    const found = running.read<number>('work', 'tallies', partition, key);
    return found.kind === 'here' ? (found.row ?? 0) : -1;
  };
  /** An event of the partition, on its way. */
  const send = async (partition: number): Promise<void> => {
    let filter = 'a';
    for (let i = 0; partitionOf(filter, 2) !== partition; i++) filter = `a${i}`;
    const event: SubscriptionEvent = {
      action: 'SUBSCRIBE',
      topicFilter: filter,
      clientId: 'client',
      brokerId: 'broker',
      qos: 0,
      timestamp: eventTime(START),
    };
    await log.append([
      { topic: 'subscriptions', partition, key: filter, value: jsonCodec.encode('SubscriptionEvent', event) },
    ]);
  };
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += TICK_MS) {
      clock.advance(TICK_MS);
      await turns();
    }
  };
  return { answers, clock, log, running, tally, send, pass, warnings, attempts: () => attempts };
}

/** Lets all that can go on without time go on. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

const committed = (log: MemoryLog, partition: number): number =>
  log.recordsOf('stuck-work-changelog').filter((each) => each.partition === partition).length;

describe('a task whose store does not answer', () => {
  for (const answer of ['unavailable', 'silent'] as const)
    test(`holds up nothing but itself (${answer}): others are told the time, take events and commit`, async () => {
      const { answers, log, tally, send, pass } = await world();
      answers['shard-0'] = answer;
      await send(0);
      await pass(1_000);
      const before = { ticks: tally(1, 'ticks'), commits: committed(log, 1), held: committed(log, 0) };
      await send(1);
      await pass(2_000);
      expect(tally(1, 'ticks') - before.ticks).toBe(10);
      expect(tally(1, 'events')).toBe(1);
      expect(committed(log, 1)).toBeGreaterThan(before.commits);
      expect(committed(log, 0)).toBe(before.held);
    });

  test('is told the time once for all that it missed, when it is back', async () => {
    const { answers, tally, send, pass } = await world();
    answers['shard-0'] = 'unavailable';
    await send(0);
    await pass(60_000);
    const before = tally(0, 'ticks');
    answers['shard-0'] = 'done';
    await pass(7_000); // The longest pause between two attempts is 6.4 s.
    expect(tally(0, 'ticks')).toBeGreaterThan(before);
    expect(tally(0, 'ticks') - before).toBeLessThanOrEqual(35);
    expect(tally(0, 'events')).toBe(1);
  });

  test('is named at once, and makes the instance unready after ten seconds, until it answers', async () => {
    const { answers, clock, running, send, pass } = await world();
    answers['shard-1'] = 'unavailable';
    const since = clock.now();
    await send(1);
    await turns();
    expect(running.readiness()).toMatchObject({
      ready: true,
      waiting: [{ task: 'work-1', group: 'work', partition: 1, shard: 'shard-1', since }],
    });
    await pass(10_000);
    expect(running.readiness()).toMatchObject({
      ready: false,
      reasons: [`task work-1 waits for the store of shard-1 since ${new Date(since).toISOString()}`],
    });
    answers['shard-1'] = 'done';
    await pass(7_000);
    expect(running.readiness()).toMatchObject({ ready: true, reasons: [], waiting: [] });
  });
});

describe('what the log says of a store that holds a task up', () => {
  test.each([
    {
      answer: 'unavailable',
      says: 'a shard’s store does not answer; this partition waits for it, and nothing is lost',
    },
    {
      answer: 'another fleet’s',
      says: 'a shard’s store belongs to another fleet; this partition waits for it, and nothing is lost',
    },
    { answer: 'lost', says: 'a shard’s store has lost its data; this partition waits for it, and nothing is lost' },
  ] as const)('$answer: $says', async ({ answer, says }) => {
    const { answers, warnings, send, pass } = await world();
    answers['shard-0'] = answer;
    await send(0);
    await pass(1_000);
    expect(new Set(warnings)).toEqual(new Set([says]));
  });
});

describe('how far the tasks are behind', () => {
  test('is what the log holds beyond the last commit, also while a task hangs', async () => {
    const { answers, running, send, pass } = await world();
    answers['shard-0'] = 'silent';
    for (let i = 0; i < 5; i++) await send(0);
    await send(1);
    await pass(3_000);
    expect(running.readiness().lagRecords).toBe(5);
    const lags = running.lags().map(({ task, topic, records, owner }) => ({ task, topic, records, owner }));
    expect(lags).toEqual([
      { task: 0, topic: 'subscriptions', records: 5, owner: 'self' },
      { task: 1, topic: 'subscriptions', records: 0, owner: 'self' },
    ]);
    await pass(7_000);
    const early = running.readiness();
    expect(early.standing.map(({ task, records, owner }) => `${task} ${records} ${owner}`)).toEqual(['0 5 self']);
    expect(early.reasons).toEqual([]);
    await pass(10_000);
    const late = running.readiness();
    expect(late.ready).toBe(false);
    expect(late.reasons[0]).toMatch(
      /^subscriptions\/0 stands still since .*, 5 records behind: task work-0 is on this instance$/,
    );
  });

  test('is not known before the log was asked, nor long after it stopped to tell', async () => {
    const { log, running, pass } = await world();
    expect(running.readiness().lagRecords).toBe(-1);
    await pass(3_000);
    expect(running.readiness().lagRecords).toBe(0);
    log.silent = true;
    await pass(30_200);
    expect(running.readiness().lagRecords).toBe(-1);
  });

  for (const { name, owner, ready } of [
    { name: 'another instance has them', owner: { self: false, address: '' }, ready: true },
    { name: 'nobody is known to have them', owner: { self: false, address: undefined }, ready: false },
  ])
    test(`is told of partitions that stand still elsewhere, and is a reason when nobody has them: ${name}`, async () => {
      const { answers, log, running, send, pass } = await world();
      answers['shard-0'] = 'silent';
      log.owner = owner;
      await send(0);
      await pass(20_000);
      expect(running.readiness().standing.map(({ task, owner: its }) => `${task} ${its}`)).toEqual([
        ready ? '0 other' : '0 nobody',
      ]);
      expect(running.readiness().reasons.some((reason) => reason.includes('on no known instance'))).toBe(!ready);
    });
});

describe('a process is alive', () => {
  test('while a task waits for a store that refuses, however long: a restart would not mend it', async () => {
    const { answers, clock, running, send, pass } = await world();
    answers['shard-0'] = 'unavailable';
    await send(0);
    for (let minute = 0; minute < 20; minute++) {
      clock.advance(60_000);
      await pass(TICK_MS);
    }
    expect(running.readiness().ready).toBe(false);
    expect(running.liveness()).toEqual({ live: true, reasons: [] });
  });

  test('while its tasks have nothing to do', async () => {
    const { clock, running, pass } = await world();
    clock.advance(3_600_000);
    await pass(TICK_MS);
    expect(running.liveness()).toEqual({ live: true, reasons: [] });
  });

  test('until a call that must end has not ended for five minutes', async () => {
    const { answers, clock, running, send, pass } = await world();
    answers['shard-0'] = 'silent';
    await send(0);
    await turns();
    clock.advance(299_800);
    await pass(TICK_MS);
    expect(running.liveness().live).toBe(true);
    await pass(TICK_MS);
    expect(running.liveness()).toEqual({
      live: false,
      reasons: ['task work-0 has made no progress for 300200 ms (store)'],
    });
  });

  for (const { name, ill, live } of [
    { name: 'while a commit waits for a log that says that it is away', ill: 'Kafka is away', live: true },
    { name: 'until a commit hangs on a log that says that it is well', ill: '', live: false },
  ])
    test(name, async () => {
      const { log, clock, running, send, pass } = await world();
      log.hang();
      await send(0);
      await turns();
      log.ill = ill;
      clock.advance(400_000);
      await pass(TICK_MS);
      expect(running.liveness().live).toBe(live);
      log.release();
    });
});

describe('a task that leaves in order while a store holds it up', () => {
  const leaves = (running: Running): { readonly done: Promise<void>; readonly ended: () => boolean } => {
    let ended = false;
    const done = running.stop(60_000).then(() => {
      ended = true;
    });
    return { done, ended: () => ended };
  };

  for (const answer of ['unavailable', 'silent'] as const)
    test(`is given ten seconds, then left to its next owner (${answer}), who steps what it took`, async () => {
      const { answers, clock, log, running, send, pass } = await world();
      answers['shard-0'] = answer;
      await send(0);
      await turns();
      const { ended } = leaves(running);
      await pass(9_800);
      expect(ended()).toBe(false);
      await pass(200);
      expect(ended()).toBe(true);
      clock.advance(60_000);
      const next = await world(log.storage);
      expect(next.tally(0, 'events')).toBe(1);
    });

  test('commits what it took when the store answers in time', async () => {
    const { answers, log, running, send, pass } = await world();
    answers['shard-0'] = 'unavailable';
    await send(0);
    await turns();
    const { ended } = leaves(running);
    await pass(2_000);
    answers['shard-0'] = 'done';
    await pass(4_000);
    expect(ended()).toBe(true);
    const next = await world(log.storage);
    expect(next.tally(0, 'events')).toBe(1);
    expect(next.attempts()).toBe(0); // Nothing is left to do again.
  });
});
