// Kafka away: three instances on three real brokers. They are started before Kafka is there; one broker dies and comes back; all
// of Kafka is away for longer than any session or request lasts. No process ends, each says what it waits for, and in the
// end every event is counted once and every subscription is where it belongs.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { Fleet } from '../../evaluation/fleet.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent } from '../../schemas/records.ts';
import { rates } from '../../topology/topics.ts';
import { allDue, CLOSES_AFTER_MS, Counted, closersAt } from '../support/counted.ts';
import { Deployment, type Instance, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';
import { startKafkaCluster } from '../support/real-kafka.ts';
import { startRegistry } from '../support/real-registry.ts';

const SEED = 29;
const PARTITIONS = 4;
const BATCH = 500;
/** Events before, between and after the troubles. */
const EVENTS = 10_000;
/** Trace time between two events. */
const EVENT_MS = 2;
const START = Date.UTC(2024, 0, 1);
/** Longer than sessions (6 s), requests (20 s) and open transactions (30 s) last, all together. */
const AWAY_MS = 70_000;
const PATIENCE_MS = 180_000;

const [cluster, registry] = await Promise.all([startKafkaCluster(), startRegistry()]);
afterAll(async () => {
  await cluster?.stop();
  await registry?.stop();
});

test.skipIf(cluster === undefined || registry === undefined)(
  'no process ends while Kafka, or a part of it, is away, and every event is counted once',
  async () => {
    const kafka = cluster!;
    const deployment = await Deployment.start(
      { kafka, registry: registry! },
      {
        app: 'away',
        settings: { partitions: PARTITIONS, concreteType: 'kv', trieType: 'trie', replicationFactor: 3 },
        catalog: { types: CATALOG_TYPES },
      },
    );
    onTestFinished(() => deployment.stop());

    // Before Kafka is there.
    await kafka.kill9All();
    const instances = await Promise.all(['one', 'two', 'three'].map((name) => deployment.instance(name)));
    for (const instance of instances) await until(`${instance.name} says what it waits for`, () => isWaiting(instance));
    await kafka.restartAll();
    await Promise.all(instances.map((instance) => instance.ready()));

    const ledger = await EventLedger.open(deployment);
    onTestFinished(() => ledger.stop());
    const watch = await PlanWatch.open(deployment);
    onTestFinished(() => watch.stop());
    await until('the first shards are there', () => watch.table.epoch > 0);
    const endsAt = START + 3 * EVENTS * EVENT_MS;
    const counted = new Counted(endsAt + 2 * CLOSES_AFTER_MS);
    await deployment.observe<RateWindow>(rates, (window) => counted.take(window!));
    const fleet = new Fleet({
      seed: SEED,
      filters: 2_000,
      wildcardShare: 0.1,
      clients: 5_000,
      brokers: 4,
      skew: 0.8,
      unsubscribeShare: 0.4,
    });
    let sent = 0;
    const next = (): SubscriptionEvent => fleet.next(eventTime(START + sent++ * EVENT_MS));
    const send = async (meanwhile?: () => Promise<void>): Promise<void> => {
      const half = sent + EVENTS / 2;
      for (const goal = sent + EVENTS; sent < goal; ) {
        if (sent === half) void meanwhile?.();
        await ledger.send(Array.from({ length: BATCH }, next));
        await sleep(50);
      }
    };
    const everythingIsDue = async (): Promise<void> => {
      let trouble = '';
      const isDue = (): Promise<boolean> =>
        allDue(ledger).catch((error: unknown) => {
          trouble = String(error);
          return false;
        });
      await until('every event is due', isDue, PATIENCE_MS).catch(async (error: unknown) => {
        const states = await Promise.all(
          instances.map(({ address }) => fetch(`${address}/readyz`).then((r) => r.text())),
        );
        throw new Error(`${ledger.dueCount} of ${ledger.sentCount} are due; ${trouble} ${states.join(' ')}`, {
          cause: error,
        });
      });
    };
    await send();

    // One broker of three.
    await send(() => kafka.kill9(2));
    await everythingIsDue();
    await kafka.restart(2);
    expect(running(instances)).toEqual(['one', 'two', 'three']);

    // All of it, with events on their way.
    await send();
    await kafka.kill9All();
    await sleep(AWAY_MS);
    expect(running(instances)).toEqual(['one', 'two', 'three']);
    await kafka.restartAll();
    await everythingIsDue();
    expect(running(instances)).toEqual(['one', 'two', 'three']);
    await Promise.all(instances.map((instance) => instance.ready()));

    const expected = ledger.sentCount + 2 * PARTITIONS;
    await ledger.send(closersAt(endsAt + CLOSES_AFTER_MS, PARTITIONS));
    await everythingIsDue();
    await ledger.send(closersAt(endsAt + 3 * CLOSES_AFTER_MS, PARTITIONS));
    await everythingIsDue();
    await until('every event is counted', () => counted.events >= expected, 30_000).catch(() => {}); // The numbers say more.
    expect(counted.events).toBe(expected);
    expect(await fullCheck(deployment, watch.table, ledger.due)).toMatchObject({
      missing: [],
      unknown: [],
      orphans: [],
    });
    process.stdout.write(`${expected} events counted once, ${counted.late} of them late\n`);
  },
);

const running = (instances: readonly Instance[]): string[] =>
  instances.filter((instance) => instance.isRunning).map(({ name }) => name);

/** Alive and not ready, for want of Kafka. */
async function isWaiting({ address, isRunning, name }: Instance): Promise<boolean> {
  expect(isRunning, name).toBe(true);
  const [live, ready] = await Promise.all(
    ['/livez', '/readyz'].map((path) => fetch(`${address}${path}`).catch(() => undefined)),
  );
  if (live?.status !== 200 || ready?.status !== 503) return false;
  return /topics: /.test(await ready.text());
}

const TYPE = {
  entriesMax: 10_000_000,
  memoryBytes: 2 ** 33,
  operationsPerSecond: 1e6,
  dollarsPerHour: 0.05,
  dollarsPerProvisioning: 0.001,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 1_000,
};
const CATALOG_TYPES = [
  { ...TYPE, name: 'kv', kind: 'KEY_VALUE' },
  { ...TYPE, name: 'trie', kind: 'TRIE' },
];
