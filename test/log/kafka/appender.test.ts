import { describe, expect, test, vi } from 'vitest';
import { Appender } from '../../../log/kafka/appender.ts';
import { Health, type RawBroker, type RawCluster, type RawRequest } from '../../../log/kafka/client.ts';
import type { Placed } from '../../../log/kafka/transaction.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';
import { AppError } from '../../../schemas/errors.ts';

/** One broker, which can be away. */
class Kafka {
  away = true;
  /** How often it was looked for. */
  looks = 0;
  produced = 0;

  readonly #broker = {
    initProducerId: async () => ({ producerId: 7, producerEpoch: 0 }),
    connectionPool: {
      send: async <Answer>({ response }: RawRequest<Answer>): Promise<Answer> => {
        this.produced += 1;
        const answer = Buffer.alloc(4 + 2 + 3 + 4 + 4 + 2 + 24);
        answer.writeInt32BE(1, 0);
        answer.writeInt16BE(3, 4);
        answer.write('out', 6);
        answer.writeInt32BE(1, 9);
        return response.decode(answer);
      },
    },
  } as unknown as RawBroker;

  readonly cluster = {
    isConnected: () => !this.away,
    connect: async () => {
      this.looks += 1;
      if (this.away) throw new AppError('LOG_UNAVAILABLE', 'Connection refused'); // As guarded (failure.ts, E1).
    },
    refreshMetadata: async () => {},
    addMultipleTargetTopics: async () => {},
    findLeaderForPartitions: () => ({ '1': [0] }),
    findBroker: async () => this.#broker,
    findControllerBroker: async () => this.#broker,
    disconnect: async () => {},
  } as unknown as RawCluster;
}

const record = (value: string): Placed => ({
  topic: 'out',
  partition: 0,
  record: { key: null, value: Buffer.from(value), headers: undefined },
});
const SETTINGS = { batchBytesMax: 100, requestBytesMax: 100, waitingBytesMax: 1_100, patienceMs: 60_000 };

function appending(settings: Partial<typeof SETTINGS> = {}) {
  const kafka = new Kafka();
  const health = new Health(silentLogger);
  return { kafka, health, appender: new Appender(kafka.cluster, { ...SETTINGS, ...settings }, health) };
}

describe('appending while Kafka is away', () => {
  test('waits, says so, and goes on when it is back', async () => {
    const { kafka, health, appender } = appending();
    const done = appender.append([record('a')]);
    await vi.waitFor(() => expect(health.reason()).toMatch(/^append: .*refused/));
    kafka.away = false;
    await done;
    expect(health.reason()).toBeUndefined();
    expect(kafka.produced).toBe(1);
    await appender.close();
  });

  test('a call is told when its own time is over, however many wait before it', async () => {
    const { kafka, appender } = appending({ patienceMs: 300 });
    const began = performance.now();
    // Each fills a request of its own, so that they are sent one after the other.
    const calls = Array.from({ length: 10 }, () => appender.append([record('x'.repeat(90))]));
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(performance.now() - began).toBeLessThan(10 * 300);
    kafka.away = false;
    await appender.append([record('a')]);
    expect(kafka.produced).toBe(1);
    await appender.close();
  });

  test('what waits is bounded: a call beyond that is refused at once, and later ones are taken again', async () => {
    const { kafka, appender } = appending();
    const calls = Array.from({ length: 10 }, () => appender.append([record('x'.repeat(90))]));
    await expect(appender.append([record('x'.repeat(90))])).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    kafka.away = false;
    await Promise.all(calls);
    expect(kafka.produced).toBe(10);
    await appender.append([record('x'.repeat(2_000))]); // However large, when nothing else waits.
    await appender.close();
  });
});
