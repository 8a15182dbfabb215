// Outage: three brokers, two instances and a crowd. An instance dies by SIGKILL in a move, then a broker, and then all of
// Kafka is away for OUTAGE_MS in the middle of another move. No process ends by itself, brokers that ask all the while are
// not misled, and what the instances say of their lag is so at every moment: what they do not know they do not tell.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Fleet } from '../../evaluation/fleet.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { MoveState, SubscriptionEvent } from '../../schemas/records.ts';
import { placeOf } from '../../state/keys.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { Deployment, type Instance, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { LagJudge } from '../support/lag-judge.ts';
import { PlanWatch } from '../support/plan-watch.ts';
import { startKafkaCluster } from '../support/real-kafka.ts';
import { startRegistry } from '../support/real-registry.ts';

const OUTAGE_MS = 70_000;
/** After this long without Kafka nobody can know a lag any more. */
const UNKNOWN_AFTER_MS = 45_000;
const SEED = 23;
/** Trace time passes so many times as fast as the clock. */
const PACE = 10;
const STEP_MS = 200;
const FILTERS = 2_000;
const FIRST_EVENTS = 20_000;
/** Events per second of the trace: of everybody, and of those topics that overload a shard. */
const BASE_PER_SECOND = 5;
const HOT_PER_SECOND = 40;
const HOT_TOPICS = 6;
const SHARD_OPERATIONS = 60;
const LAG_MS = 3_000;
/** Rows per second of a move: few, so that it lasts, until it is let go. */
const THROTTLE = { slow: 100, fast: 100_000 } as const;
const PATIENCE_MS = 120_000;

const [kafka, registry] = await Promise.all([startKafkaCluster(), startRegistry()]);
const services = kafka === undefined || registry === undefined ? undefined : { kafka, registry };
afterAll(async () => {
  await kafka?.stop();
  await registry?.stop();
});

describe.skipIf(services === undefined)('three brokers, of which one dies, and then all', () => {
  let deployment: Deployment;
  let instances: Instance[];
  let ledger: EventLedger;
  let watch: PlanWatch;
  let judge: LagJudge;
  let brokers: AskingBroker[];
  let fleet: Fleet;
  let now = Date.UTC(2024, 0, 1);
  let hot: string[] = [];
  let isPaused = false;
  let isOver = false;
  let running: Promise<unknown>;
  let sending: Promise<void> = Promise.resolve();
  let rowsPerSecond: number = THROTTLE.slow;
  const random = randomFrom(SEED);

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
      app: 'outage',
      settings: {
        partitions: 4,
        leafBits: 2,
        concreteType: 'kv',
        trieType: 'trie',
        tickMs: 10_000,
        coolDownMs: 0,
        copyRowsPerSecond: THROTTLE.slow,
        shardsPerHourMax: 1_000,
        brokerSilentMs: 10_000,
        replicationFactor: 3,
        sessionTimeoutMs: 10_000,
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
    instances = await Promise.all(['one', 'two'].map((name) => deployment.instance(name)));
    await Promise.all(instances.map((instance) => instance.ready()));
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
    judge = await LagJudge.open(deployment, () => instances);
    running = Promise.all([pump(), refresh(), letGo()]);
  });

  afterAll(async () => {
    isOver = true;
    await running;
    await judge?.stop();
    for (const broker of brokers ?? []) await broker.stop();
    await watch?.stop();
    await ledger?.stop();
    await deployment?.stop();
  });

  test('an instance that is killed in a move leaves it to the other', async () => {
    await overload('COPYING');
    const killed = instances[0]!;
    await killed.kill9();
    instances[0] = await deployment.instance(killed.name, killed.port);
    await settled();
    await nothingIsLost('an instance killed');
  });

  test('one broker of three dies in a move and comes back, and nobody waits for it', async () => {
    await overload('COPYING');
    await kafka!.kill9(1);
    await settled();
    await kafka!.restart(1);
    await nothingIsLost('a broker killed');
  });

  test('all of Kafka is away for 70 seconds in a move: questions are answered, and lag is unknown and not 0', async () => {
    await overload('COPYING');
    isPaused = true; // A producer keeps what it cannot send; here it waits.
    await sending;
    const asked = askedBy(brokers).questions;
    await judge.look();
    await kafka!.kill9All();
    const diedAt = performance.now();
    let isUnready = false;
    while (performance.now() - diedAt < OUTAGE_MS) {
      await sleep(1_000);
      for (const instance of instances) {
        expect(instance.isRunning, `instance ${instance.name} runs without Kafka`).toBe(true);
        isUnready ||= !(await fetch(`${instance.address}/readyz`)).ok;
        if (performance.now() - diedAt > UNKNOWN_AFTER_MS) expect(await judge.told(instance)).toEqual([]);
      }
    }
    expect(isUnready, '/readyz says that Kafka is away').toBe(true);
    expect(askedBy(brokers).questions).toBeGreaterThan(asked + 100);
    await kafka!.restartAll();
    await until('Kafka tells where the groups stand', () => judge.look());
    isPaused = false;
    await settled();
    await nothingIsLost('all of Kafka away');
  });

  test('lag was told truly all the time', () => {
    const { judged, untrue } = judge.verdict();
    process.stdout.write(`${judged} values of lag told, ${untrue.length} of them untrue\n`);
    expect(untrue).toEqual([]);
    expect(judged).toBeGreaterThan(500);
  });

  /** Overloads a shard until one of its moves is told in that state. */
  async function overload(state: MoveState): Promise<void> {
    rowsPerSecond = THROTTLE.slow;
    hot = hotTopics();
    let isThere = false;
    watch.onState = (_, told) => {
      isThere ||= told === state;
    };
    await until(`a move is ${state}`, () => isThere, PATIENCE_MS);
    watch.onState = () => {};
  }

  /** Everybody serves, and every move has ended. */
  async function settled(): Promise<void> {
    await Promise.all(instances.map((instance) => instance.ready()));
    rowsPerSecond = THROTTLE.fast;
    hot = [];
    await until('all moves have ended', () => watch.open.length === 0, PATIENCE_MS);
  }

  async function nothingIsLost(what: string): Promise<void> {
    isPaused = true;
    await until('every event is due', () => ledger.dueCount === ledger.sentCount, PATIENCE_MS);
    await until('all moves have ended', () => watch.open.length === 0, PATIENCE_MS);
    const check = await fullCheck(deployment, watch.table, fleet.live).finally(() => {
      isPaused = false;
    });
    const asked = askedBy(brokers);
    process.stdout.write(
      `${what}: ${ledger.sentCount} events, ${watch.moveCount} moves, ${check.rows} rows in ${check.shards} shards; ${asked.questions} questions, ${asked.misses.length} missed, ${asked.ghosts.length} ghosts\n`,
    );
    expect(instances.filter((instance) => !instance.isRunning).map(({ name }) => name)).toEqual([]);
    expect(check).toMatchObject({ missing: [], unknown: [], orphans: [] });
    expect(asked).toMatchObject({ misses: [], ghosts: [], unanswered: [] });
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
      if (!isPaused) {
        sending = ledger.send(eventsOver(count, STEP_MS * PACE, hot.length > 0 ? HOT_PER_SECOND / perSecond : 0));
        await sending;
      }
      await sleep(Math.max(0, began + STEP_MS - performance.now()));
    }
  }

  async function refresh(): Promise<void> {
    while (!isOver) {
      await ledger.refresh().catch(() => {}); // Kafka may be away.
      await sleep(200);
    }
  }

  /** Lets open moves go on at the wanted speed, as an operator would. */
  async function letGo(): Promise<void> {
    const throttled = new Map<string, number>();
    while (!isOver) {
      for (const move of watch.open) {
        if ((throttled.get(move) ?? THROTTLE.slow) === rowsPerSecond) continue;
        const wanted = rowsPerSecond;
        const response = await fetch(`${instances[1]!.address}/moves/${move}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ action: 'THROTTLE', rowsPerSecond: wanted }),
        }).catch(() => undefined);
        if (response?.status === 202) throttled.set(move, wanted);
      }
      await sleep(100);
    }
  }
});

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
