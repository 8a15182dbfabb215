import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SessionOperationView } from '../../api/session-operations.ts';
import { Output } from '../../cli/output.ts';
import { cancelSessionOperation, listSessionOperations } from '../../cli/sessions.ts';
import { Simulation } from '../../cli/simulation.ts';
import { type Config, configOf } from '../../config/config.ts';
import type { OutRecord } from '../../runtime/ports.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SessionRecord, Subscription } from '../../schemas/records.ts';
import { partitionOf } from '../../state/keys.ts';
import { sessions, subscriptionTable } from '../../topology/topics.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const START = 1_700_000_040_000;
const PARTITIONS = 2;
/** Several pages of each partition (processors/sessions/brokers.ts B4). */
const CLIENTS = 5_000;
const PAGE = 1_024;
const FOR_EVER = 0xffff_ffff;

let folder: TempFolder;
let config: Config;
let simulation: Simulation;
let said: string;
beforeEach(async () => {
  folder = await tempFolder();
  const values = { dataDir: folder.path, partitions: PARTITIONS, workerThreads: 0, httpPort: 0 };
  config = configOf([
    { source: 'test', values: { ...values, sessionEventsPerSecond: 50, brokerLostMs: 30_000 } },
  ]).config;
  simulation = await Simulation.start({ config, logger: silentLogger, startAt: eventTime(START), serveHttp: true });
  said = '';
});
afterEach(async () => {
  await simulation.stop();
  await folder.remove();
});

const outputOf = (isJson: boolean): Output =>
  new Output(isJson, {
    out: new Writable({
      write(chunk, _encoding, done) {
        said += String(chunk);
        done();
      },
    }),
  });
const source = () => ({ config, url: `http://127.0.0.1:${simulation.foreshard.httpPort}` });

function connected(clientId: string, sessionExpirySeconds: number): OutRecord {
  const session = { clientId, brokerId: 'broker-1', cleanStart: false, sessionExpirySeconds, sessionEpoch: 1 };
  const record: SessionRecord = { timestamp: eventTime(START), body: { kind: 'Connected', ...session } };
  const value = simulation.foreshard.codec.encode('SessionRecord', record);
  return { topic: sessions.name, partition: partitionOf(clientId, PARTITIONS), key: clientId, value };
}

const beat = (brokerId: string): OutRecord =>
  simulation.metric(brokerId, {
    ...{ kind: 'BrokerHeartbeat', brokerId, pointerOffset: 0, startedAt: eventTime(START - 1_000) },
    timestamp: eventTime(simulation.clock.now()),
  });

test('an operation on a broker’s sessions is shown, and stopped: what it has not reached stays as it is', async () => {
  const live = new Map<string, string>();
  await simulation.observe<Subscription>(subscriptionTable, ({ key, value }) => {
    if (value === null || value.removed) live.delete(key);
    else live.set(key, value.brokerId);
  });
  const clients = Array.from({ length: CLIENTS }, (_, i) => `client-${i}`);
  await simulation.step(
    [beat('broker-1'), ...clients.map((id, i) => connected(id, i % 2 === 0 ? 0 : FOR_EVER))],
    1_000,
  );
  const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
  const about = { action: 'SUBSCRIBE', brokerId: 'broker-1', qos: 1, sessionEpoch: 1, ...options } as const;
  await simulation.step(
    clients.map((clientId) =>
      simulation.subscription({ ...about, clientId, topicFilter: `of/${clientId}`, timestamp: eventTime(START) }),
    ),
    1_000,
  );
  expect(live.size).toBe(CLIENTS);
  await listSessionOperations(source(), outputOf(false));
  expect(said).toContain('No broker that sends heartbeats has been lost');

  const operations = async () => {
    const answer = await fetch(`${source().url}/sessions/operations`);
    return ((await answer.json()) as { readonly operations: readonly SessionOperationView[] }).operations;
  };
  for (let i = 0; i < 100 && (await operations()).length === 0; i++) await simulation.step([beat('broker-2')], 5_000);
  for (let i = 0; i < 20 && live.size > CLIENTS - 50; i++) await simulation.step([beat('broker-2')], 1_000);
  expect(live.size).toBeLessThan(CLIENTS);
  expect(live.size).toBeGreaterThan(CLIENTS - PAGE); // A hundred a second.
  const [operation] = await operations();
  expect(operation).toMatchObject({ brokerId: 'broker-1', action: 'LOSE', state: 'RUNNING', partitions: 2 });

  said = '';
  await cancelSessionOperation(source(), operation!.operationId, outputOf(false));
  expect(said).toContain(`${operation!.operationId} will be stopped`);
  await expect(cancelSessionOperation(source(), 'lose-1-00000001', outputOf(false))).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  for (let i = 0; i < 40; i++) await simulation.step([beat('broker-2')], 1_000);
  const [stopped] = await operations();
  expect(stopped).toMatchObject({ state: 'STOPPED', reason: 'stopped by an operator' });
  expect(stopped!.sessions).toBeLessThanOrEqual(PARTITIONS * PAGE);
  const left = live.size;
  expect(left).toBeGreaterThan(CLIENTS - PARTITIONS * PAGE * 0.6); // About half of them are clean.
  for (let i = 0; i < 40; i++) await simulation.step([beat('broker-2')], 1_000);
  expect(live.size).toBe(left);
  said = '';
  await listSessionOperations(source(), outputOf(false));
  expect(said).toMatch(/broker-1 +sends no heartbeats +STOPPED/);
}, 120_000);
