// A topic that no datastore type holds alone, in the production wiring: stores, log and planner, in simulated time. Readers
// that learn of the pointer table late ask for it all the while.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { Router } from '../../broker/router.ts';
import { LaggingReader } from '../../cli/readers.ts';
import { Simulation } from '../../cli/simulation.ts';
import { configOf } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Decision, SubscriptionEvent, TopicTraffic } from '../../schemas/records.ts';
import { decisions, pointers } from '../../topology/topics.ts';

const START_AT = Date.UTC(2026, 0, 5);
const PARTITIONS = 2;
const WINDOW_MS = 10_000;
const WINDOWS = 3;
const STEP_MS = WINDOWS * WINDOW_MS;
const HOT = 'stadium/score';
const LAGS_MS = [0, 20_000];

const type = (name: string, kind: string) => ({
  ...{ name, kind, operationsPerSecond: kind === 'TRIE' ? 10_000 : 100, entriesMax: 1e6, memoryBytes: 1e9 },
  ...{ dollarsPerHour: 0.5, dollarsPerProvisioning: 0.02, dollarsPerGibMoved: 0.02, provisioningMs: 30_000 },
});

/** What happens to the hot topic in each window of a minute. */
interface Load {
  readonly publishesPerSecond: (minute: number) => number;
  readonly eventsPerSecond: (minute: number) => number;
}

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Plays the load; what was decided of the topic, and what readers were told wrongly. */
async function played(load: Load, minutes: number) {
  const folder = mkdtempSync(join(tmpdir(), 'foreshard-hot-'));
  folders.push(folder);
  const catalogPath = join(folder, 'catalog.json');
  writeFileSync(catalogPath, JSON.stringify({ types: [type('kv', 'KEY_VALUE'), type('trie', 'TRIE')] }));
  const values = {
    ...{ runtime: 'embedded', dataDir: folder, catalogPath, concreteType: 'kv', trieType: 'trie' },
    ...{ partitions: PARTITIONS, leafBits: 2, coolDownMs: 120_000, brokerSilentMs: 2 * STEP_MS },
  };
  const { config } = configOf([{ source: 'test', values }]);
  const startAt = eventTime(START_AT);
  const simulation = await Simulation.start({ config, logger: silentLogger, startAt, serveHttp: false });
  const { clock, foreshard } = simulation;
  const readers = LAGS_MS.map((lagMs, i) => ({ lagMs, reader: new LaggingReader(`broker-${i}`, PARTITIONS) }));
  const routers = readers.map(({ reader }) => {
    const newerThan = async (): Promise<boolean> => {
      reader.catchUp(Number.POSITIVE_INFINITY);
      return true;
    };
    const storeOf = ({ shardId }: { readonly shardId: string }) => foreshard.provisioner.store(shardId as never);
    return new Router({ pointers: { table: reader.table, newerThan }, storeOf });
  });
  const kinds: string[] = [];
  const wrong: string[] = [];
  const asked = new Set<string>();
  await simulation.observe<Decision>(decisions, ({ value }) => {
    if (value?.subject.endsWith(HOT)) kinds.push(value.kind);
  });
  await simulation.observe(pointers, (seen) => {
    for (const { lagMs, reader } of readers) reader.arrive(seen, clock.now() + lagMs);
  });
  const live = new Set<string>();
  let client = 0;
  for (let at = START_AT; at < START_AT + minutes * 60_000; at += STEP_MS) {
    const minute = (at - START_AT) / 60_000;
    const events: SubscriptionEvent[] = [];
    const come = Math.round(load.eventsPerSecond(minute) * (STEP_MS / 1_000));
    for (let i = 0; i < come; i++) {
      const clientId = `client-${client++ % 1_000}`;
      const action = live.has(clientId) ? ('UNSUBSCRIBE' as const) : ('SUBSCRIBE' as const);
      if (action === 'SUBSCRIBE') live.add(clientId);
      else live.delete(clientId);
      const timestamp = eventTime(at + Math.floor((i * STEP_MS) / come));
      events.push({ action, topicFilter: HOT, clientId, brokerId: 'broker-0', qos: 0, timestamp });
    }
    const traffic = Array.from({ length: WINDOWS }, (_, window): TopicTraffic => {
      const publishes = Math.round(load.publishesPerSecond(minute) * (WINDOW_MS / 1_000));
      const windowStart = eventTime(at + window * WINDOW_MS);
      return {
        ...{ kind: 'TopicTraffic', brokerId: 'broker-0', topic: HOT, publishes, bytes: publishes },
        ...{ windowStart, windowMs: WINDOW_MS },
      };
    });
    for (const { reader } of readers) reader.catchUp(clock.now());
    await simulation.step(
      [
        ...events.map((event) => simulation.subscription(event)),
        ...traffic.map((report) => simulation.metric(HOT, report)),
        ...readers.map(({ reader }) => simulation.metric(reader.brokerId, reader.heartbeat(clock.now()))),
      ],
      STEP_MS,
    );
    for (const { reader } of readers) reader.catchUp(clock.now());
    if (readers.some(({ reader }) => reader.table.epoch === 0)) continue; // Before the first shards are ready.
    for (const [i, router] of routers.entries())
      for (let turn = 0; turn < 2; turn++) {
        const found = new Set((await router.subscribersOf(HOT)).map(({ clientId }) => clientId));
        const missed = [...live].filter((clientId) => !found.has(clientId)).length;
        const ghosts = [...found].filter((clientId) => !live.has(clientId)).length;
        if (missed + ghosts > 0) wrong.push(`minute ${minute}, broker ${i}: ${missed} missed, ${ghosts} ghosts`);
      }
    for (const { shard, pointers: held } of readers[0]!.reader.table.route(HOT))
      if (held.some(({ slice }) => slice.endsWith(HOT))) asked.add(shard);
  }
  await simulation.stop();
  return { kinds, wrong, asked };
}

const crowd = (from: number, to: number, peak: number) => (minute: number) =>
  minute < from || minute >= to ? 1 : Math.min(1, (minute - from) / 10) * peak;

describe('a topic that no datastore type holds alone', () => {
  test('by its look-ups: it is served by two shards while it is, and no reader is misled', async () => {
    const load = { publishesPerSecond: crowd(10, 40, 115), eventsPerSecond: () => 1 };
    const { kinds, wrong } = await played(load, 65);
    expect(wrong).toEqual([]);
    expect(kinds).toContain('REPLICATE');
    expect(kinds).toContain('UNREPLICATE');
  }, 120_000);

  test('by its subscribers coming and going: it is spread, and no reader is misled', async () => {
    const load = { publishesPerSecond: () => 2, eventsPerSecond: crowd(10, 40, 115) };
    const { kinds, wrong, asked } = await played(load, 50);
    expect(wrong).toEqual([]);
    expect(kinds).toContain('SPLIT');
    expect(asked.size).toBeGreaterThan(2);
  }, 120_000);
});
