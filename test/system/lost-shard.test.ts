// Lost shard: a shard server dies by SIGKILL under load, its folder is deleted, and nobody starts it again. No person acts:
// in the end every look-up is that of a linear scan over what was subscribed.

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Router } from '../../broker/router.ts';
import { matches } from '../../state/topic-filter.ts';
import { Crowd } from '../support/crowd.ts';
import { Deployment, type Instance, type ShardServer, startServices, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { PlanWatch } from '../support/plan-watch.ts';

const SEED = 31;
const PATIENCE_MS = 80_000;
const TOPICS = 1_000;
const AT_ONCE = 16;
const TYPE = {
  ...{ operationsPerSecond: 1e6, entriesMax: 1e7, memoryBytes: 2 ** 33, dollarsPerHour: 0.05 },
  ...{ dollarsPerProvisioning: 0.001, dollarsPerGibMoved: 0.02, provisioningMs: 0 },
};

const services = await startServices();
afterAll(() => services?.stop());

describe.skipIf(services === undefined)('a shard server that dies with its disk', () => {
  let deployment: Deployment;
  let instance: Instance;
  let ledger: EventLedger;
  let watch: PlanWatch;
  let crowd: Crowd;

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
      app: 'lost-shard',
      settings: {
        ...{ partitions: 2, leafBits: 2, concreteType: 'kv', trieType: 'trie', tickMs: 10_000 },
        ...{ shardLostAfterMs: 10_000, rebuildAfterMs: 1_000, brokerSilentMs: 10_000 },
      },
      catalog: {
        types: [
          { ...TYPE, name: 'kv', kind: 'KEY_VALUE' },
          { ...TYPE, name: 'trie', kind: 'TRIE' },
        ],
      },
      shardServers: 2,
    });
    instance = await deployment.instance('one');
    await instance.ready();
    ledger = await EventLedger.open(deployment);
    watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    crowd = new Crowd({ ledger, watch, seed: SEED, address: () => instance.address });
    await crowd.gather();
    crowd.start();
    await until('the crowd is there', () => ledger.dueCount >= 20_000, PATIENCE_MS);
  });

  afterAll(async () => {
    await crowd?.stop();
    await watch?.stop();
    await ledger?.stop();
    await deployment?.stop();
  });

  test('is rebuilt elsewhere under load, and no subscription is missed or too many', async () => {
    const server = deployment.shardServers.find((each) => shardsOn(each).length > 0)!;
    const lost = shardsOn(server);
    const killedAt = performance.now();
    await server.kill9();
    await rm(server.shards, { recursive: true, force: true });
    const isNamed = (): boolean =>
      [...watch.table.pointers()].some(({ shards }) => shards.some((shard) => lost.includes(shard)));
    await until(`no pointer names ${lost.join(' or ')}`, () => !isNamed(), PATIENCE_MS);
    const rebuiltMs = performance.now() - killedAt;
    await crowd.pause();
    await until('every event is due', () => ledger.dueCount === ledger.sentCount, PATIENCE_MS);
    await instance.ready();

    const topicOf = crowd.topics(SEED);
    const topics = [...new Set(Array.from({ length: TOPICS }, topicOf))];
    const wrong: string[] = [];
    let rows = 0;
    const router = new Router({
      pointers: { table: watch.table, newerThan: async () => false },
      storeOf: (shard) => deployment.provisioner.store(shard.shardId, shard),
    });
    const waiting = [...topics];
    const askAll = async (): Promise<void> => {
      for (let topic = waiting.pop(); topic !== undefined; topic = waiting.pop()) {
        const found = (await router.subscribersOf(topic)).map(({ filter, clientId }) => `${filter} ${clientId}`).sort();
        rows += found.length;
        if (JSON.stringify(found) !== JSON.stringify(scan(topic))) wrong.push(topic);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, askAll));
    process.stdout.write(
      `${lost.join(', ')} lost and rebuilt after ${Math.round(rebuiltMs)} ms; ${ledger.sentCount} events, ${topics.length} look-ups, ${rows} rows, ${wrong.length} wrong\n`,
    );
    expect(wrong).toEqual([]);
    expect(rows).toBeGreaterThan(TOPICS);
  });

  /** Shards that the pointer table names and that lie there. */
  function shardsOn({ shards }: ShardServer): string[] {
    const named = new Set([...watch.table.pointers()].flatMap((pointer) => pointer.shards));
    return [...named].filter((shard) => existsSync(join(shards, shard)));
  }

  /** The model: every subscription that is live, looked at one by one. */
  function scan(topic: string): string[] {
    const found: string[] = [];
    for (const [filter, clients] of crowd.fleet.live)
      if (filter === topic || matches(filter, topic))
        for (const clientId of clients.keys()) found.push(`${filter} ${clientId}`);
    return found.sort();
  }
});
