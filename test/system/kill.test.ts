// Killed in every state of a move: the instance that carries out a move dies by SIGKILL as soon as the state is told, and
// is started again on what it left. The move goes on or is given up, never is there a second one of the same slice, and
// brokers that ask all the while, and hear of pointer changes late, are not misled once.
//
// Trace time passes PACE times as fast as the clock, so that an overload is noticed within seconds. Moves begin with so low
// a throttle that their first states last, and are let go by the same request that an operator would send.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { Fleet } from '../../evaluation/fleet.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { eventTime, type MoveId, type SliceKey } from '../../schemas/ids.ts';
import type { MoveProgress, MoveState, SubscriptionEvent } from '../../schemas/records.ts';
import { placeOf } from '../../state/keys.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { Deployment, type Instance, type Services, startServices, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';

const STATES: readonly MoveState[] = [
  'PROVISIONING',
  'COPYING',
  'VERIFYING',
  'VERIFIED',
  'SWITCHED',
  'DRAINING',
  'RETIRED',
];
const SEED = 11;
const PACE = 10;
const STEP_MS = 200;
const FILTERS = 2_000;
const FIRST_EVENTS = 20_000;
/** Events per second of the trace: of everybody, and of those topics that overload a shard. */
const BASE_PER_SECOND = 5;
const HOT_PER_SECOND = 40;
const HOT_TOPICS = 6;
/** Operations per second of a shard: what everybody does fits, the hot topics do not. */
const SHARD_OPERATIONS = 60;
const LAG_MS = 3_000;
/** Rows per second of a move at its start: its first chunk waits for some ticks. Then so many that a state lasts, or passes. */
const THROTTLE = { first: 2, slow: 1_000, fast: 100_000 } as const;
const ATTEMPTS_MAX = 5;
const SETTLE_MS = 60_000;

const services: Services | undefined = await startServices();
afterAll(() => services?.stop());

describe.skipIf(services === undefined)('kill -9 in a state of a move', () => {
  let deployment: Deployment;
  let instance: Instance;
  let ledger: EventLedger;
  let watch: PlanWatch;
  let brokers: AskingBroker[];
  let fleet: Fleet;
  let now = Date.UTC(2024, 0, 1);
  let hot: string[] = [];
  let isPaused = false;
  let isOver = false;
  let running: Promise<unknown>;
  /** Rows per second that open moves are let go with; 0 leaves them as they began. */
  let rowsPerSecond = 0;
  const throttled = new Map<MoveId, number>();
  const random = randomFrom(SEED);

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
      app: 'kill',
      settings: {
        partitions: 4,
        leafBits: 2,
        concreteType: 'kv',
        trieType: 'trie',
        tickMs: 10_000,
        coolDownMs: 0,
        copyRowsPerSecond: THROTTLE.first,
        shardsPerHourMax: 1_000,
        brokerSilentMs: 10_000,
      },
      catalog: { types: CATALOG_TYPES },
    });
    fleet = new Fleet({
      seed: SEED,
      filters: FILTERS,
      wildcardShare: 0.1,
      clients: 5_000,
      brokers: 2,
      skew: 0.3,
      unsubscribeShare: 0.3,
    });
    instance = await deployment.instance('one');
    await instance.ready();
    ledger = await EventLedger.open(deployment);
    watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    await ledger.send(eventsOver(FIRST_EVENTS, 600_000));
    brokers = await Promise.all(
      [0, 1].map((index) =>
        AskingBroker.open(deployment, ledger, {
          brokerId: `broker-${index}`,
          seed: SEED + index,
          lagMs: LAG_MS,
          heartbeats: index > 0,
          pauseMs: 20,
          topic: topicsOf(fleet, SEED + 10 + index),
        }),
      ),
    );
    running = Promise.all([pump(), refresh(), letGo()]);
  });

  afterAll(async () => {
    isOver = true;
    await running;
    for (const broker of brokers ?? []) await broker.stop();
    await watch?.stop();
    await ledger?.stop();
    await deployment?.stop();
  });

  for (const state of STATES)
    test(`${state}: the move goes on or is given up, and nothing is lost`, async () => {
      onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
      const killed = await killIn(state);
      const restartedAt = performance.now();
      instance = await deployment.instance('one', instance.port);
      await instance.ready();
      rowsPerSecond = THROTTLE.fast;
      hot = [];
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
      const settledMs = performance.now() - restartedAt;
      expect(['RETIRED', 'ABORTED']).toContain(watch.stateOf(killed));
      expect(movesAtOnce(watch.told)).toEqual([]);

      isPaused = true;
      await until('every event is due', () => ledger.dueCount === ledger.sentCount, SETTLE_MS);
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
      const check = await fullCheck(deployment, watch.table, fleet.live);
      isPaused = false;
      const asked = askedBy(brokers);
      process.stdout.write(
        `${state}: ${killed} became ${watch.stateOf(killed)} within ${Math.round(settledMs)} ms of the restart; ${ledger.sentCount} events, ${check.rows} rows in ${check.shards} shards; ${asked.questions} questions, ${asked.redirects} redirects\n`,
      );
      expect(check).toMatchObject({ missing: [], unknown: [], orphans: [] });
      expect(asked).toMatchObject({ misses: [], ghosts: [], unanswered: [] });
    });

  test('readers asked all the time, and some of them were behind', () => {
    const asked = askedBy(brokers);
    expect(asked.questions).toBeGreaterThan(500);
    expect(asked.judged).toBeGreaterThan(1_000);
    expect(asked.redirects).toBeGreaterThan(0);
    expect(asked.heldMsMax).toBeGreaterThan(LAG_MS / 10);
  });

  /** Overloads a shard until a move of it is killed while this state is its last word; the move. */
  async function killIn(state: MoveState): Promise<MoveId> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      rowsPerSecond = state === 'PROVISIONING' || state === 'COPYING' ? 0 : THROTTLE.slow;
      hot = hotTopics();
      const killed = await new Promise<MoveId>((resolve, reject) => {
        const patience = setTimeout(() => reject(new Error(`no move came to ${state}`)), SETTLE_MS);
        watch.onState = (move, told) => {
          if (told !== state) return;
          watch.onState = () => {};
          clearTimeout(patience);
          instance.child.kill('SIGKILL');
          resolve(move);
        };
      });
      await instance.kill9();
      await sleep(500); // What was committed before the kill has been read.
      if (watch.stateOf(killed) === state) return killed;
      process.stdout.write(`${state}: ${killed} was in ${watch.stateOf(killed)} already when it was killed\n`);
      instance = await deployment.instance('one', instance.port);
      await instance.ready();
      rowsPerSecond = THROTTLE.fast;
      hot = [];
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
    }
    throw new Error(`${state} was over each of ${ATTEMPTS_MAX} times before the kill`);
  }

  /** Concrete filters that lie on one shard, the one that holds most of them. */
  function hotTopics(): string[] {
    const byShard = new Map<string, string[]>();
    for (let rank = 0; rank < FILTERS; rank++) {
      const filter = fleet.filterAt(rank);
      if (placeOf(filter).trie) continue;
      const shard = watch.table.resolve(filter, '')!.shards[0]!;
      byShard.set(shard, [...(byShard.get(shard) ?? []), filter]);
    }
    const most = [...byShard.values()].sort((a, b) => b.length - a.length)[0]!;
    return Array.from({ length: HOT_TOPICS }, () => most[Math.floor(random() * most.length)]!);
  }

  /** So many events, spread over that much trace time; hot ones among them. */
  function eventsOver(count: number, ms: number, hotShare = 0): SubscriptionEvent[] {
    const from = now;
    now += ms;
    return Array.from({ length: count }, (_, each) => {
      const at = eventTime(from + Math.floor((each * ms) / count));
      const isHot = random() < hotShare;
      return fleet.next(at, isHot ? hot[Math.floor(random() * hot.length)]! : undefined);
    });
  }

  async function pump(): Promise<void> {
    while (!isOver) {
      const began = performance.now();
      const perSecond = BASE_PER_SECOND + (hot.length > 0 ? HOT_PER_SECOND : 0);
      const count = Math.round((perSecond * STEP_MS * PACE) / 1_000);
      if (!isPaused)
        await ledger.send(eventsOver(count, STEP_MS * PACE, hot.length > 0 ? HOT_PER_SECOND / perSecond : 0));
      await sleep(Math.max(0, began + STEP_MS - performance.now()));
    }
  }

  async function refresh(): Promise<void> {
    while (!isOver) {
      await ledger.refresh();
      await sleep(200);
    }
  }

  /** Lets open moves go on at the wanted speed, as an operator would. */
  async function letGo(): Promise<void> {
    while (!isOver) {
      for (const move of watch.open) {
        if (rowsPerSecond === 0 || throttled.get(move) === rowsPerSecond) continue;
        const wanted = rowsPerSecond;
        const response = await fetch(`${instance.address}/moves/${move}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ action: 'THROTTLE', rowsPerSecond: wanted }),
        }).catch(() => undefined); // It may be dead at the moment.
        if (response?.status === 202) throttled.set(move, wanted);
      }
      await sleep(100);
    }
  }
});

/** Slices of which two moves were open at a time. */
function movesAtOnce(told: readonly MoveProgress[]): string[] {
  const open = new Map<SliceKey, MoveId>();
  const found: string[] = [];
  for (const { slice, moveId, state } of told) {
    const other = open.get(slice);
    if (other !== undefined && other !== moveId) found.push(`${slice}: ${moveId} beside ${other}`);
    if (state === 'RETIRED' || state === 'ABORTED') open.delete(slice);
    else open.set(slice, moveId);
  }
  return found;
}

function topicsOf(fleet: Fleet, seed: number): () => string {
  const random = randomFrom(seed);
  return () =>
    fleet
      .filterAt(Math.floor(random() * FILTERS))
      .replace('#', 'status')
      .replaceAll('+', `d${Math.floor(random() * 1_000)}`);
}

const TYPE = {
  entriesMax: 10_000_000,
  memoryBytes: 2 ** 33,
  dollarsPerHour: 0.05,
  dollarsPerProvisioning: 0.001,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 1_000,
};
const CATALOG_TYPES = [
  { ...TYPE, name: 'kv', kind: 'KEY_VALUE', operationsPerSecond: SHARD_OPERATIONS },
  { ...TYPE, name: 'trie', kind: 'TRIE', operationsPerSecond: 1e6 },
];
