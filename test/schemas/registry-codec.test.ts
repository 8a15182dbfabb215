// The registry codec against a registry of our own in the process: what is asked, how often, and what comes of each
// answer. test/system/registry.test.ts does the same with a real one.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { embeddedCodec, encoderOf, LOCAL_SCHEMA_IDS } from '../../schemas/avro-codec.ts';
import { type RegistryCodecOptions, registryCodec, subjectOf } from '../../schemas/edge/registry-codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { SCHEMAS } from '../../schemas/records.ts';

const EVENT = {
  ...{ action: 'SUBSCRIBE', topicFilter: 'a/b', clientId: 'c', brokerId: 'b', qos: 0, timestamp: 5 },
  ...{ noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0, sessionEpoch: 0 },
  bySession: false,
};
const SUBJECT = subjectOf('fleet.', { name: 'subscriptions', record: 'SubscriptionEvent', cleanup: 'delete' });
const OLDER = {
  ...SCHEMAS.SubscriptionEvent,
  fields: SCHEMAS.SubscriptionEvent.fields.filter((f) => f.name !== 'qos'),
};

type Answer = { readonly status: number; readonly body: unknown } | 'hang';
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

describe('the registry codec', () => {
  test('names subjects by topic, and keeps every version of a compacted topic readable', () => {
    expect(SUBJECT).toEqual({
      record: 'SubscriptionEvent',
      subject: 'fleet.subscriptions-value',
      compatibility: 'BACKWARD',
    });
    expect(subjectOf('', { name: 'forecasts', record: 'Forecast', cleanup: 'compact' }).compatibility).toBe(
      'BACKWARD_TRANSITIVE',
    );
  });

  test('what another process registers at the same time counts, if it is the same', async () => {
    let isThere = false;
    const registry = await fakeRegistry((asked) => {
      if (asked.startsWith('GET /config'))
        return isThere ? { status: 200, body: { compatibilityLevel: 'BACKWARD' } } : { status: 404, body: {} };
      if (!asked.startsWith('PUT')) return { status: 200, body: { id: 41 } };
      isThere = true; // The other one was first.
      return { status: 409, body: { message: "A rule named 'COMPATIBILITY' already exists." } };
    });
    const codec = await codecFor(registry.url, { register: true });
    expect(codec.encode('SubscriptionEvent', EVENT).readUInt32BE(1)).toBe(41);
  });

  test('what another process registers at the same time does not count when it is something else', async () => {
    let isThere = false;
    const registry = await fakeRegistry((asked) => {
      if (asked.startsWith('GET /config'))
        return isThere ? { status: 200, body: { compatibilityLevel: 'NONE' } } : { status: 404, body: {} };
      if (!asked.startsWith('PUT')) return { status: 200, body: { id: 41 } };
      isThere = true;
      return { status: 409, body: {} };
    });
    expect(await codeOf(codecFor(registry.url, { register: true }))).toBe('SCHEMA_MISMATCH');
  });

  test('looks our schema up and does not register it when told so', async () => {
    const registry = await fakeRegistry(() => ({ status: 200, body: { id: 41, version: 1, schema: '{}' } }));
    const codec = await codecFor(registry.url, { register: false });
    expect(registry.asked).toEqual(['POST /subjects/fleet.subscriptions-value']);
    expect(codec.encode('SubscriptionEvent', EVENT).readUInt32BE(1)).toBe(41);
    expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', EVENT))).toEqual(EVENT);
  });

  test('sets the compatibility when it registers for the first time', async () => {
    const registry = await fakeRegistry((asked) =>
      asked.startsWith('GET /config') ? { status: 404, body: {} } : { status: 200, body: { id: 41 } },
    );
    await codecFor(registry.url, { register: true });
    expect(registry.asked).toEqual([
      'GET /config/fleet.subscriptions-value',
      'POST /subjects/fleet.subscriptions-value/versions',
      'PUT /config/fleet.subscriptions-value',
    ]);
  });

  for (const { name, register, answer, code, asked } of [
    {
      name: 'a schema that is not registered',
      register: false,
      answer: { status: 404, body: {} },
      code: 'SCHEMA_UNKNOWN',
      asked: 1,
    },
    {
      name: 'an incompatible schema',
      register: true,
      answer: { status: 409, body: {} },
      code: 'SCHEMA_MISMATCH',
      asked: 3,
    },
    {
      name: 'another compatibility than ours',
      register: true,
      answer: { status: 200, body: { compatibilityLevel: 'NONE' } },
      code: 'SCHEMA_MISMATCH',
      asked: 1,
    },
    {
      name: 'a wrong password',
      register: false,
      answer: { status: 401, body: {} },
      code: 'REGISTRY_UNAVAILABLE',
      asked: 1,
    },
    {
      name: 'a registry in trouble, after every retry',
      register: false,
      answer: { status: 503, body: {} },
      code: 'REGISTRY_UNAVAILABLE',
      asked: 3,
    },
    {
      name: 'a registry that does not answer, after every retry',
      register: false,
      answer: 'hang',
      code: 'REGISTRY_UNAVAILABLE',
      asked: 3,
    },
  ] as const)
    test(`the start fails with ${code}: ${name}`, async () => {
      const registry = await fakeRegistry(() => answer);
      expect(await codeOf(codecFor(registry.url, { register, requestTimeoutMs: 50 }))).toBe(code);
      expect(registry.asked).toHaveLength(asked);
    });

  test('asks for a writer’s schema once, however many values name it', async () => {
    const registry = await fakeRegistry((asked) =>
      asked === 'GET /schemas/ids/7'
        ? { status: 200, body: { schema: JSON.stringify(OLDER) } }
        : { status: 200, body: { id: 41 } },
    );
    const codec = await codecFor(registry.url, {});
    const value = Buffer.from([0, 0, 0, 0, 7, 0, 2, 97, 2, 98, 2, 99, 10, 0, 0, 0, 0, 0, 0]);
    expect(() => codec.decode('SubscriptionEvent', value)).toThrow(/does not know schema 7/);
    await codec.prepare('SubscriptionEvent', [null, value, value, codec.encode('SubscriptionEvent', EVENT), value]);
    await codec.prepare('SubscriptionEvent', [value]);
    expect(registry.asked.filter((asked) => asked.startsWith('GET'))).toEqual(['GET /schemas/ids/7']);
    expect(codec.decode('SubscriptionEvent', value)).toMatchObject({ topicFilter: 'a', qos: 0, timestamp: 5 });
  });

  test('an id that appears late is found by asking again', async () => {
    let left = 2;
    const registry = await fakeRegistry((asked) =>
      asked.startsWith('GET')
        ? left-- > 0
          ? { status: 404, body: {} }
          : { status: 200, body: { schema: JSON.stringify(OLDER) } }
        : { status: 200, body: { id: 41 } },
    );
    const slept: number[] = [];
    const codec = await codecFor(registry.url, { sleep: async (ms) => void slept.push(ms) });
    const value = Buffer.from([0, 0, 0, 0, 7, 0, 2, 97, 2, 98, 2, 99, 10, 0, 0, 0, 0, 0, 0]);
    await codec.prepare('SubscriptionEvent', [value]);
    expect(slept).toEqual([10, 20]);
    expect(codec.decode('SubscriptionEvent', value)).toMatchObject({ topicFilter: 'a' });
  });

  test('an unknown id is given up, remembered for a minute, then asked for again', async () => {
    const registry = await fakeRegistry((asked) =>
      asked.startsWith('GET') ? { status: 404, body: {} } : { status: 200, body: { id: 41 } },
    );
    let now = 1_000_000;
    const codec = await codecFor(registry.url, { now: () => now });
    const value = Buffer.from([0, 0, 0, 0, 9, 1]);
    const questions = () => registry.asked.filter((asked) => asked.startsWith('GET')).length;
    await codec.prepare('SubscriptionEvent', [value]);
    expect(await codeOf(() => codec.decode('SubscriptionEvent', value))).toBe('SCHEMA_UNKNOWN');
    expect(questions()).toBe(3);
    now += 59_999;
    await codec.prepare('SubscriptionEvent', [value]);
    expect(questions()).toBe(3);
    now += 1;
    await codec.prepare('SubscriptionEvent', [value]);
    expect(questions()).toBe(6);
  });

  test('what is remembered of unknown ids is bounded', async () => {
    const registry = await fakeRegistry((asked) =>
      asked.startsWith('GET') ? { status: 404, body: {} } : { status: 200, body: { id: 41 } },
    );
    const codec = await codecFor(registry.url, { unknownIdsMax: 2, retryDelaysMs: [] });
    const values = [101, 102, 103].map((id) => Buffer.from([0, 0, 0, 0, id]));
    await codec.prepare('SubscriptionEvent', values);
    await codec.prepare('SubscriptionEvent', [values[2]!]);
    expect(registry.asked).toHaveLength(4);
    await codec.prepare('SubscriptionEvent', [values[0]!]);
    expect(registry.asked).toHaveLength(5);
  });

  for (const { name, schema, schemaType } of [
    {
      name: 'incompatible',
      schema: JSON.stringify({ type: 'record', name: 'psm.Other', fields: [] }),
      schemaType: undefined,
    },
    { name: 'no schema', schema: '{"type":"nonsense"}', schemaType: undefined },
    { name: 'no JSON', schema: '{', schemaType: undefined },
    { name: 'JSON Schema', schema: '{"type":"object"}', schemaType: 'JSON' },
  ])
    test(`a writer's schema that is ${name} makes its values SCHEMA_MISMATCH and nothing else`, async () => {
      const registry = await fakeRegistry((asked) =>
        asked.startsWith('GET') ? { status: 200, body: { schema, schemaType } } : { status: 200, body: { id: 41 } },
      );
      const codec = await codecFor(registry.url, {});
      const value = Buffer.from([0, 0, 0, 0, 7]);
      await codec.prepare('SubscriptionEvent', [value]);
      expect(await codeOf(() => codec.decode('SubscriptionEvent', value))).toBe('SCHEMA_MISMATCH');
      expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', EVENT))).toEqual(EVENT);
    });

  test('a registry that goes away while ids are new is REGISTRY_UNAVAILABLE, and known ids go on', async () => {
    let up = true;
    const registry = await fakeRegistry(() => (up ? { status: 200, body: { id: 41 } } : { status: 500, body: {} }));
    const codec = await codecFor(registry.url, {});
    up = false;
    const known = encoderOf('SubscriptionEvent', 41)(EVENT);
    await codec.prepare('SubscriptionEvent', [known]);
    expect(codec.decode('SubscriptionEvent', known)).toEqual(EVENT);
    const unknown = [Buffer.from([0, 0, 0, 0, 7])];
    expect(codec.trouble).toBeUndefined();
    expect(await codeOf(codec.prepare('SubscriptionEvent', unknown))).toBe('REGISTRY_UNAVAILABLE');
    expect(codec.trouble).toMatch(/cannot be asked/);
    up = true;
    await codec.prepare('SubscriptionEvent', unknown);
    expect(codec.trouble).toBeUndefined();
  });

  test('values without a header are left to decode, which refuses them', async () => {
    const registry = await fakeRegistry(() => ({ status: 200, body: { id: 41 } }));
    const codec = await codecFor(registry.url, {});
    const bad = [Buffer.alloc(0), Buffer.from([1, 0, 0, 0, 9]), Buffer.from([0, 255, 255, 255, 255])];
    await codec.prepare('SubscriptionEvent', bad);
    expect(registry.asked).toHaveLength(1);
    for (const value of bad) expect(await codeOf(() => codec.decode('SubscriptionEvent', value))).toBe('UNDECODABLE');
  });

  test('decodes what the embedded codec encoded under the same schema', async () => {
    const registry = await fakeRegistry(() => ({ status: 200, body: { id: LOCAL_SCHEMA_IDS.SubscriptionEvent } }));
    const codec = await codecFor(registry.url, {});
    expect(codec.decode('SubscriptionEvent', embeddedCodec().encode('SubscriptionEvent', EVENT))).toEqual(EVENT);
  });
});

function codecFor(url: string, options: Partial<RegistryCodecOptions>) {
  return registryCodec({
    url,
    subjects: [SUBJECT],
    register: false,
    retryDelaysMs: [10, 20],
    sleep: async () => {},
    random: () => 1,
    ...options,
  });
}

async function fakeRegistry(answer: (asked: string) => Answer): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume();
    request.on('end', () => {
      const question = `${request.method} ${request.url}`;
      asked.push(question);
      const given = answer(question);
      if (given === 'hang') return;
      response.writeHead(given.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(given.body));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  stops.push(async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function codeOf(run: Promise<unknown> | (() => unknown)): Promise<string | undefined> {
  try {
    await (typeof run === 'function' ? run() : run);
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}
