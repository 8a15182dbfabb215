// Kafka away: three instances on three real brokers. They are started before Kafka is there; one broker dies and comes back; all
// of Kafka is away for longer than any session or request lasts. No process ends, each says what it waits for, and in the
// end every event is counted once and every subscription is where it belongs.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { allDue } from '../support/counted.ts';
import { AMPLE_TYPES, CountedFleet } from '../support/counted-fleet.ts';
import { Deployment, type Instance, until } from '../support/deployment.ts';
import { startKafkaCluster } from '../support/real-kafka.ts';
import { startRegistry } from '../support/real-registry.ts';

const SEED = 29;
const PARTITIONS = 4;
/** Events before, between and after the troubles. */
const EVENTS = 10_000;
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
        catalog: { types: AMPLE_TYPES },
      },
    );
    onTestFinished(() => deployment.stop());

    // Before Kafka is there.
    await kafka.kill9All();
    const instances = await Promise.all(['one', 'two', 'three'].map((name) => deployment.instance(name)));
    for (const instance of instances) await until(`${instance.name} says what it waits for`, () => isWaiting(instance));
    await kafka.restartAll();
    await Promise.all(instances.map((instance) => instance.ready()));

    const fleet = await CountedFleet.open(deployment, {
      ...{ seed: SEED, filters: 2_000, clients: 5_000, events: 3 * EVENTS },
    });
    onTestFinished(() => fleet.stop());
    const { ledger, counted } = fleet;
    const send = async (meanwhile?: () => Promise<void>): Promise<void> => {
      const half = fleet.sent + EVENTS / 2;
      for (const goal = fleet.sent + EVENTS; fleet.sent < goal; ) {
        if (fleet.sent === half) void meanwhile?.();
        await fleet.send();
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

    const expected = await fleet.check(everythingIsDue);
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
