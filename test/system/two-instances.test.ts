// Two instances share the partitions of one fleet: one is killed under load, the other takes over what it had, and in the
// end every event is counted once and every subscription is where it belongs.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { allDue } from '../support/counted.ts';
import { AMPLE_TYPES, CountedFleet } from '../support/counted-fleet.ts';
import { Deployment, type Instance, startServices, until } from '../support/deployment.ts';

const SEED = 23;
const PARTITIONS = 4;
const EVENTS = 100_000;
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
      catalog: { types: AMPLE_TYPES },
    });
    onTestFinished(() => deployment.stop());
    const one = await deployment.instance('one');
    await one.ready();
    const two = await deployment.instance('two');
    await two.ready();
    const events = EVENTS + TRAILING_EVENTS;
    const fleet = await CountedFleet.open(deployment, { seed: SEED, filters: 5_000, clients: 20_000, events });
    onTestFinished(() => fleet.stop());
    const { ledger, counted } = fleet;
    let killed: Instance | undefined;
    let survivor: Instance | undefined;
    while (fleet.sent < EVENTS) {
      await fleet.send();
      await sleep(PAUSE_MS);
      await ledger.refresh();
      if (fleet.sent === EVENTS / 2) {
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
    await fleet.send(TRAILING_EVENTS);
    const expected = await fleet.check(() => until('every event is due', () => allDue(ledger), 120_000));
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
