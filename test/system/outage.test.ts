// Outage: three brokers, two instances and a crowd. An instance dies by SIGKILL in a move, then a broker, and then all of
// Kafka is away for OUTAGE_MS in the middle of another move. No process ends by itself, brokers that ask all the while are
// not misled, and what the instances say of their lag is so at every moment: what they do not know they do not tell.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MoveState } from '../../schemas/records.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { CROWDED_TYPES, Crowd } from '../support/crowd.ts';
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
const LAG_MS = 3_000;
/** Rows per second of a move: few, so that it lasts, until it is let go. */
const SLOW = 100;
const FAST = 100_000;
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
  let crowd: Crowd;

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
        copyRowsPerSecond: SLOW,
        shardsPerHourMax: 1_000,
        brokerSilentMs: 10_000,
        replicationFactor: 3,
        sessionTimeoutMs: 10_000,
      },
      catalog: { types: CROWDED_TYPES },
    });
    instances = await Promise.all(['one', 'two'].map((name) => deployment.instance(name)));
    await Promise.all(instances.map((instance) => instance.ready()));
    ledger = await EventLedger.open(deployment);
    watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    crowd = new Crowd({ ledger, watch, seed: SEED, address: () => instances[1]!.address, mayLoseKafka: true });
    await crowd.gather();
    brokers = await Promise.all(
      [0, 1].map((index) =>
        AskingBroker.open(deployment, ledger, {
          brokerId: `broker-${index}`,
          seed: SEED + index,
          lagMs: LAG_MS,
          heartbeats: index > 0,
          pauseMs: 20,
          topic: crowd.topics(SEED + 10 + index),
        }),
      ),
    );
    judge = await LagJudge.open(deployment, () => instances);
    crowd.start();
  });

  afterAll(async () => {
    await crowd?.stop();
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
    await crowd.pause();
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
    crowd.resume();
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
    crowd.rowsPerSecond = undefined;
    crowd.heatUp();
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
    crowd.rowsPerSecond = FAST;
    crowd.coolDown();
    await until('all moves have ended', () => watch.open.length === 0, PATIENCE_MS);
  }

  async function nothingIsLost(what: string): Promise<void> {
    await crowd.pause();
    await until('every event is due', () => ledger.dueCount === ledger.sentCount, PATIENCE_MS);
    await until('all moves have ended', () => watch.open.length === 0, PATIENCE_MS);
    const check = await fullCheck(deployment, watch.table, crowd.fleet.live).finally(() => {
      crowd.resume();
    });
    const asked = askedBy(brokers);
    process.stdout.write(
      `${what}: ${ledger.sentCount} events, ${watch.moveCount} moves, ${check.rows} rows in ${check.shards} shards; ${asked.questions} questions, ${asked.misses.length} missed, ${asked.ghosts.length} ghosts\n`,
    );
    expect(instances.filter((instance) => !instance.isRunning).map(({ name }) => name)).toEqual([]);
    expect(check).toMatchObject({ missing: [], unknown: [], orphans: [] });
    expect(asked).toMatchObject({ misses: [], ghosts: [], unanswered: [] });
  }
});
