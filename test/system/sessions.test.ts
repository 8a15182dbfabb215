// Sessions and the subscription table on a real Kafka: a broker with thousands of clients falls silent, and its clean
// sessions end within their time, while those that outlive a connection stay. Then a second cluster begins with what the
// first one has, although whoever copies it is killed in the middle.
//
// SESSION_CLIENTS says how many clients the broker has.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import type { SessionOperationView } from '../../api/session-operations.ts';
import { environmentName } from '../../config/config.ts';
import type { OutRecord } from '../../runtime/ports.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { RecordName, SessionRecord, Subscription, SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf } from '../../state/keys.ts';
import { metrics, sessions, subscriptions, subscriptionTable } from '../../topology/topics.ts';
import { AMPLE_TYPES } from '../support/counted-fleet.ts';
import { Deployment, type Instance, startServices, until } from '../support/deployment.ts';
import { endProcess, startProcess } from '../support/processes.ts';

const CLIENTS = Number(process.env.SESSION_CLIENTS ?? 5_000);
/** Of them with each broker that stays. */
const OTHERS = 200;
const FILTERS = 2;
const PARTITIONS = 4;
const CLEAN = CLIENTS / 2;
/** The clean half's subscriptions go within this time when nothing else happens. */
const END_SECONDS = 5;
const RATE = Math.ceil((CLEAN * FILTERS) / PARTITIONS / END_SECONDS);
const BROKER_LOST_MS = 30_000;
const BEAT_MS = 500;
const PATIENCE_MS = 60_000 + CLIENTS * 4;

const services = await startServices();
afterAll(() => services?.stop());

const settings = { partitions: PARTITIONS, concreteType: 'kv', trieType: 'trie' };

class Table {
  readonly live = new Map<string, Subscription>();
  /** When each was removed, by the host's clock. */
  readonly removedAt = new Map<string, number>();

  static async of(deployment: Deployment): Promise<Table> {
    const table = new Table();
    await deployment.observe<Subscription>(subscriptionTable, (row, key) => {
      if (row !== null && !row.removed) table.live.set(key, row);
      else if (table.live.delete(key)) table.removedAt.set(key, performance.now());
    });
    return table;
  }

  countOf(brokerId: string): number {
    let count = 0;
    for (const row of this.live.values()) if (row.brokerId === brokerId) count += 1;
    return count;
  }

  /** Without where its events lay. */
  rows(): object[] {
    return [...this.live].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { incarnation: _, offset: __, ...row }]) => row);
  }
}

/** Brokers, of which some send heartbeats. */
class Brokers {
  readonly beating = new Set<string>();
  readonly #deployment: Deployment;
  readonly #startedAt = eventTime(Date.now());
  #isOver = false;

  constructor(deployment: Deployment) {
    this.#deployment = deployment;
  }

  async beat(): Promise<void> {
    for (; !this.#isOver; await sleep(BEAT_MS)) {
      const records = [...this.beating].map((brokerId) => {
        const beat = { kind: 'BrokerHeartbeat', brokerId, pointerOffset: 0, timestamp: eventTime(Date.now()) } as const;
        return this.#record(metrics.name, 'Metric', brokerId, {
          body: { ...beat, startedAt: this.#startedAt },
        });
      });
      await this.#deployment.log.append(records);
    }
  }

  stop(): void {
    this.#isOver = true;
  }

  /** Connects clients, those with even numbers cleanly, and subscribes them. */
  async connect(brokerId: string, clients: readonly string[]): Promise<void> {
    for (let from = 0; from < clients.length; from += 1_000) {
      const some = clients
        .slice(from, from + 1_000)
        .map((clientId, i) => ({ clientId, isClean: (from + i) % 2 === 0 }));
      await this.#deployment.log.append(
        some.map(({ clientId, isClean }) => {
          const session = { clientId, brokerId, cleanStart: isClean, sessionExpirySeconds: isClean ? 0 : 86_400 };
          const body: SessionRecord['body'] = { kind: 'Connected', ...session, sessionEpoch: 1 };
          return this.#record(sessions.name, 'SessionRecord', clientId, { timestamp: eventTime(Date.now()), body });
        }),
      );
      await this.#deployment.log.append(
        some.flatMap(({ clientId }) =>
          Array.from({ length: FILTERS }, (_, filter) => {
            const topicFilter = filter === 0 ? `of/${clientId}` : `of/${clientId}/+`;
            return this.#subscription(topicFilter, clientId, brokerId);
          }),
        ),
      );
    }
  }

  #subscription(topicFilter: string, clientId: string, brokerId: string): OutRecord {
    const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
    const about = {
      topicFilter,
      clientId,
      brokerId,
      qos: 1,
      sessionEpoch: 1,
      timestamp: eventTime(Date.now()),
      ...options,
    };
    const event: SubscriptionEvent = { action: 'SUBSCRIBE', ...about };
    return this.#record(subscriptions.name, 'SubscriptionEvent', topicFilter, event);
  }

  #record(topic: string, name: RecordName, key: string, value: object): OutRecord {
    const bytes = this.#deployment.codec.encode(name, value as never);
    return { topic, partition: partitionOf(key, PARTITIONS), key, value: bytes };
  }
}

const operationsOf = async (instance: Instance, action = 'LOSE'): Promise<readonly SessionOperationView[]> =>
  (
    await instance.get<{ readonly operations: readonly SessionOperationView[] }>('/sessions/operations')
  ).operations.filter((operation) => operation.action === action);

const clientsOf = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}-${i}`);

test.skipIf(services === undefined)(
  'the clean sessions of a broker that falls silent end in their time, as one operation, and a second cluster begins with the rest',
  async () => {
    const first = await Deployment.start(services!, {
      app: 'sessions',
      settings: { ...settings, brokerLostMs: BROKER_LOST_MS, sessionEventsPerSecond: RATE },
      catalog: { types: AMPLE_TYPES },
    });
    onTestFinished(() => first.stop());
    const instance = await first.instance('one');
    await instance.ready();
    const table = await Table.of(first);
    const brokers = new Brokers(first);
    for (const broker of ['dying', 'well']) brokers.beating.add(broker);
    const beating = brokers.beat();
    onTestFinished(async () => {
      brokers.stop();
      await beating;
    });
    await brokers.connect('well', clientsOf('well', OTHERS));
    await brokers.connect('dying', clientsOf('dying', CLIENTS));
    const all = FILTERS * (CLIENTS + OTHERS);
    await until('everybody is subscribed', () => table.live.size === all, PATIENCE_MS);
    expect(await operationsOf(instance)).toEqual([]);

    // The broker is killed.
    brokers.beating.delete('dying');
    const silentFrom = performance.now();
    await until('it is found to be lost', async () => (await operationsOf(instance)).length > 0, PATIENCE_MS);
    const foundMs = performance.now() - silentFrom;
    expect(foundMs).toBeGreaterThan(BROKER_LOST_MS * 0.9);
    await until(
      'the operation is over',
      async () => (await operationsOf(instance))[0]!.state !== 'RUNNING',
      PATIENCE_MS,
    );
    await until('its clean sessions are gone', () => table.live.size === all - FILTERS * CLEAN, PATIENCE_MS);
    const operations = await operationsOf(instance);
    expect(operations).toMatchObject([
      {
        brokerId: 'dying',
        state: 'DONE',
        partitions: PARTITIONS,
        sessions: CLIENTS,
        ended: CLEAN,
        events: FILTERS * CLEAN,
      },
    ]);
    expect(table.countOf('dying')).toBe(FILTERS * (CLIENTS - CLEAN));
    expect(table.countOf('well')).toBe(FILTERS * OTHERS);
    const times = [...table.removedAt.values()].sort((a, b) => a - b);
    expect(times).toHaveLength(FILTERS * CLEAN); // Each once.
    const tookMs = times.at(-1)! - times[0]!;
    expect(tookMs).toBeGreaterThan(END_SECONDS * 1_000 * 0.6); // Throttled.
    process.stdout.write(
      `${CLIENTS} clients: lost after ${Math.round(foundMs)} ms, ${times.length} subscriptions removed in ${Math.round(tookMs)} ms at ${RATE * PARTITIONS}/s at most\n`,
    );
    brokers.stop();
    await beating;
    await instance.stop();

    // A second cluster begins with what is left.
    const second = await Deployment.start(services!, { app: 'begins', settings, catalog: { types: AMPLE_TYPES } });
    onTestFinished(() => second.stop());
    const other = await second.instance('two');
    await other.ready();
    const copied = await Table.of(second);
    const importing = () =>
      startProcess(
        process.execPath,
        [
          ...['--import', 'tsx', join(import.meta.dirname, '../../cli/cli.ts'), 'import'],
          ...[services!.kafka.brokers.join(','), '--source-prefix', 'sessions.'],
        ],
        {
          logPath: join(second.folder, 'import.log'),
          env: Object.fromEntries(
            Object.entries({
              ...{ runtime: 'kafka', topicPrefix: 'begins.', applicationId: 'begins', partitions: PARTITIONS },
              ...{ brokers: services!.kafka.brokers.join(','), registryUrl: services!.registry.url },
            }).map(([key, value]) => [environmentName(key), String(value)]),
          ),
        },
      );
    const broken = importing();
    await until('some are there', () => copied.live.size > 0, PATIENCE_MS);
    await endProcess(broken, 'SIGKILL');
    const again = importing();
    const code = await new Promise<number | null>((resolve) => again.once('exit', resolve));
    expect(code).toBe(0);
    await until('all are there', () => copied.live.size >= table.live.size, PATIENCE_MS);
    expect(copied.rows()).toEqual(table.rows());
  },
  CLIENTS <= 5_000 ? 120_000 : 900_000,
);
