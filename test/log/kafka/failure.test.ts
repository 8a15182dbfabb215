import { describe, expect, test } from 'vitest';
import { type RawCluster, refresh } from '../../../log/kafka/client.ts';
import { fateOf, guarded, isRefused, logFailure, troubleOf } from '../../../log/kafka/failure.ts';
import { AppError, type ErrorCode } from '../../../schemas/errors.ts';

const named = (name: string, message: string): Error => Object.assign(new Error(message), { name });

describe('failures of Kafka', () => {
  for (const { code, fate } of [
    { code: 'LOG_UNAVAILABLE', fate: 'again' },
    { code: 'COMMIT_UNKNOWN', fate: 'again' },
    { code: 'STORE_UNAVAILABLE', fate: 'again' },
    { code: 'REGISTRY_UNAVAILABLE', fate: 'again' },
    { code: 'TASK_FENCED', fate: 'fenced' },
    { code: 'INPUT_TRUNCATED', fate: 'final' },
    { code: 'TOPIC_MISCONFIGURED', fate: 'final' },
    { code: 'VALUE_TOO_LARGE', fate: 'final' },
    { code: 'CONFIG_INVALID', fate: 'final' },
  ] as const satisfies readonly { code: ErrorCode; fate: string }[])
    test(`${code}: ${fate}`, () => expect(fateOf(new AppError(code, 'said'))).toBe(fate));

  test('what no code names is a bug, and final', () =>
    expect(fateOf(new TypeError('x is not a function'))).toBe('final'));

  for (const { name, error } of [
    {
      name: 'a broker that left the metadata',
      error: named('KafkaJSBrokerNotFound', 'Broker 3 not found in the cached metadata'),
    },
    {
      name: 'a leader that moved',
      error: Object.assign(new Error('This server is not the leader'), { type: 'NOT_LEADER_FOR_PARTITION' }),
    },
    { name: 'a lost connection', error: named('KafkaJSConnectionError', 'Connection lost') },
    { name: 'an error of the client’s own making', error: new TypeError("reading 'nodeId' of undefined") },
  ])
    test(`${name} is asked again, wherever it comes from`, async () => {
      const cluster = guarded({
        now(): never {
          throw error;
        },
        async later(): Promise<never> {
          throw error;
        },
      });
      expect(() => cluster.now()).toThrow(AppError);
      const failure: unknown = await cluster.later().catch((thrown: unknown) => thrown);
      expect(failure).toMatchObject({ code: 'LOG_UNAVAILABLE', cause: error });
      expect(fateOf(failure)).toBe('again');
    });

  test('brokers that are found are guarded too, and are the same each time', async () => {
    const broker = {
      connectionPool: {},
      async heartbeat(): Promise<never> {
        throw Object.assign(new Error('rejoin'), { type: 'REBALANCE_IN_PROGRESS' });
      },
    };
    const cluster = guarded({ findBroker: async () => broker });
    const found = await cluster.findBroker();
    expect(await cluster.findBroker()).toBe(found);
    const failure: unknown = await found.heartbeat().catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(AppError);
    expect(troubleOf(failure)).toBe('rebalancing');
  });

  test('refused credentials are told from a Kafka that is away', () => {
    expect(isRefused(logFailure(named('KafkaJSSASLAuthenticationError', 'Authentication failed')))).toBe(true);
    expect(isRefused(logFailure(named('KafkaJSConnectionError', 'ECONNREFUSED')))).toBe(false);
  });

  test('forgetting the last broker of a cluster throws nothing', async () => {
    let refreshed = 0;
    const cluster = {
      removeBroker() {
        throw new TypeError("Cannot read properties of undefined (reading 'nodeId')");
      },
      isConnected: () => true,
      refreshMetadata: async () => void refreshed++,
    } as unknown as RawCluster;
    const closed = Object.assign(new Error('Closed connection'), {
      name: 'KafkaJSConnectionClosedError',
      host: '127.0.0.1',
      port: 9092,
    });
    await refresh(cluster, logFailure(closed));
    expect(refreshed).toBe(1);
  });
});
