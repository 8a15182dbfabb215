// Two instances share the partitions of one fleet: one is killed under load, the other takes over what it had, and in the
// end every event is counted once and every subscription is where it belongs.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { Fleet } from '../../evaluation/fleet.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent } from '../../schemas/records.ts';
import { rates } from '../../topology/topics.ts';
import { allDue, CLOSES_AFTER_MS, Counted, closersAt } from '../support/counted.ts';
import { Deployment, type Instance, startServices, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';

const SEED = 23;
const PARTITIONS = 4;
const EVENTS = 100_000;
const BATCH = 500;
/** Trace time between two events. */
const EVENT_MS = 2;
const START = Date.UTC(2024, 0, 1);
/** What runs on after the load, so that each series has a next window, which tells of events that came late. */
const TRAILING_EVENTS = 10_000;
const PAUSE_MS = 50;
const PENDING_MAX = 20_000;

const services = await startServices();
afterAll(() => services?.stop());

test.skipIf(services === undefined)(
  'one of two instances is killed under load: the other goes on, and every event is counted once',
  async () => {
    const deployment = await Deployment.start(services!, {
      app: 'two',
      settings: { partitions: PARTITIONS, concreteType: 'kv', trieType: 'trie' },
      catalog: { types: CATALOG_TYPES },
    });
    onTestFinished(() => deployment.stop());
    const one = await deployment.instance('one');
    await one.ready();
    const two = await deployment.instance('two');
    await two.ready();
    const ledger = await EventLedger.open(deployment);
    onTestFinished(() => ledger.stop());
    const watch = await PlanWatch.open(deployment);
    onTestFinished(() => watch.stop());
    await until('the first shards are there', () => watch.table.epoch > 0);
    const endsAt = START + (EVENTS + TRAILING_EVENTS) * EVENT_MS;
    const counted = new Counted(endsAt + 2 * CLOSES_AFTER_MS);
    await deployment.observe<RateWindow>(rates, (window) => counted.take(window!));

    const fleet = new Fleet({
      seed: SEED,
      filters: 5_000,
      wildcardShare: 0.1,
      clients: 20_000,
      brokers: 4,
      skew: 0.8,
      unsubscribeShare: 0.4,
    });
    let sent = 0;
    const next = (): SubscriptionEvent => fleet.next(eventTime(START + sent++ * EVENT_MS));
    let killed: Instance | undefined;
    let survivor: Instance | undefined;
    while (sent < EVENTS) {
      await ledger.send(Array.from({ length: BATCH }, next));
      await sleep(PAUSE_MS);
      await ledger.refresh();
      if (sent === EVENTS / 2) {
        await until('both have worked', async () => (await workOf(one)) > 0 && (await workOf(two)) > 0);
        [killed, survivor] = (await plansOf(one)) > 0 ? [one, two] : [two, one];
        expect(await plansOf(survivor)).toBe(0);
        const [asked, owner] = await Promise.all([shardsAt(survivor), shardsAt(killed)]);
        expect(asked, 'asked at the instance that does not plan').toEqual(owner);
        expect(asked.length).toBeGreaterThanOrEqual(2);
        await killed.kill9();
      }
      // Without its instance half of the work waits; what there is for it may not grow without end.
      while (ledger.sentCount - ledger.dueCount > PENDING_MAX + EVENTS / 2) await ledger.refresh();
    }
    await ledger.send(Array.from({ length: TRAILING_EVENTS }, next));
    await ledger.send(closersAt(endsAt + CLOSES_AFTER_MS, PARTITIONS));
    const expected = ledger.sentCount;
    await until('every event is due', () => allDue(ledger), 120_000);
    await ledger.send(closersAt(endsAt + 3 * CLOSES_AFTER_MS, PARTITIONS));
    await until('the closing events are due', () => allDue(ledger));
    await until('every event is counted', () => counted.events >= expected, 30_000).catch(() => {}); // The numbers say more.

    expect(counted.events).toBe(expected);
    await until('every move has ended', () => watch.open.length === 0);
    expect(await fullCheck(deployment, watch.table, ledger.due)).toMatchObject({
      missing: [],
      unknown: [],
      orphans: [],
    });
    expect((await shardsAt(survivor!)).length).toBeGreaterThanOrEqual(2);
    expect(await plansOf(survivor!)).toBeGreaterThan(0);
    process.stdout.write(
      `${expected} events counted once, ${counted.late} of them late; ${await survivor!.metric('foreshard_restored_records_total')} state records restored\n`,
    );
  },
);

const workOf = (instance: Instance): Promise<number> =>
  instance.metric('foreshard_consumed_total', { group: 'work', topic: 'subscriptions' });
const plansOf = (instance: Instance): Promise<number> => instance.metric('foreshard_commits_total', { group: 'plan' });

async function shardsAt(instance: Instance): Promise<string[]> {
  const { shards } = await instance.get<{ shards: { shardId: string }[] }>('/shards');
  return shards.map(({ shardId }) => shardId).sort();
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
