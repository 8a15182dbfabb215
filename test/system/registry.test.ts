// The registry codec against a real schema registry: what ours registers, a writer of another release, and refusals.

import { randomBytes } from 'node:crypto';
import avsc from 'avsc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RECORD_NAMES } from '../../schemas/avro-codec.ts';
import { registryCodec, subjectOf } from '../../schemas/edge/registry-codec.ts';
import { type RecordName, SCHEMAS } from '../../schemas/records.ts';
import { type RealRegistry, startRegistry } from '../support/real-registry.ts';

const SENT = { action: 'SUBSCRIBE', topicFilter: 'a/b', clientId: 'c', brokerId: 'b', qos: 1, timestamp: 5 };
/** What an event says that gives no options and knows of no session. */
const NONE = {
  ...{ noLocal: false, retainAsPublished: false, retainHandling: 0, bySession: false },
  ...{ subscriptionIdentifier: 0, sessionEpoch: 0 },
};
const EVENT = { ...SENT, ...NONE };
/** A registry given by the environment keeps what earlier runs left: every run has subjects of its own. */
const PREFIX = `t${randomBytes(6).toString('hex')}.`;
const TOPIC = { name: 'subscriptions', record: 'SubscriptionEvent' as RecordName, cleanup: 'delete' as const };

let registry: RealRegistry | undefined;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry?.stop());

describe('the registry codec on a real registry', () => {
  const subjects = (prefix: string) => [subjectOf(prefix, TOPIC)];

  test('every schema of ours is accepted, looked up again, and carries a record', async ({ skip }) => {
    if (registry === undefined) return skip();
    const all = RECORD_NAMES.map((record) => subjectOf(PREFIX, { name: record, record, cleanup: 'compact' }));
    const codec = await registryCodec({ url: registry.url, subjects: all, register: true });
    const again = await registryCodec({ url: registry.url, subjects: all, register: false });
    const bytes = codec.encode('SubscriptionEvent', EVENT);
    expect(bytes[0]).toBe(0);
    expect(again.encode('SubscriptionEvent', EVENT)).toEqual(bytes);
    expect(again.decode('SubscriptionEvent', bytes)).toEqual(EVENT);
  });

  test('a schema that nobody registered stops a start that may not register', async ({ skip }) => {
    if (registry === undefined) return skip();
    const start = registryCodec({ url: registry.url, subjects: subjects(`${PREFIX}nobody.`), register: false });
    await expect(start).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
  });

  test('a value of a newer writer is read, once its schema has been asked for', async ({ skip }) => {
    if (registry === undefined) return skip();
    const prefix = `${PREFIX}newer.`;
    const codec = await registryCodec({ url: registry.url, subjects: subjects(prefix), register: true });
    const newer = {
      ...SCHEMAS.SubscriptionEvent,
      fields: [...SCHEMAS.SubscriptionEvent.fields, { name: 'region', type: 'string', default: '' }],
    };
    const { status, body } = await post(registry.url, `${prefix}subscriptions-value`, newer);
    expect(status).toBe(200);
    const value = Buffer.from([0, 0, 0, 0, 0, 0, 2, 97, 2, 98, 2, 99, 2, 10, 0, 0, 0, 0, 0, 0, 4, 101, 117]);
    value.writeUInt32BE((body as { id: number }).id, 1);
    await codec.prepare('SubscriptionEvent', [value]);
    expect(codec.decode('SubscriptionEvent', value)).toEqual({
      ...{ action: 'SUBSCRIBE', topicFilter: 'a', clientId: 'b', brokerId: 'c', qos: 1, timestamp: 5 },
      ...NONE,
    });
  });

  test('a fleet of before there were options goes on: its writers are read, and its readers read ours', async ({
    skip,
  }) => {
    if (registry === undefined) return skip();
    const prefix = `${PREFIX}before.`;
    const subject = `${prefix}subscriptions-value`;
    const { fields } = SCHEMAS.SubscriptionEvent;
    const before = { ...SCHEMAS.SubscriptionEvent, fields: fields.filter(({ name }) => !(name in NONE)) };
    const { status, body } = await post(registry.url, subject, before);
    expect(status).toBe(200);
    await put(registry.url, subject, 'BACKWARD'); // As the start of that release did.
    const codec = await registryCodec({ url: registry.url, subjects: subjects(prefix), register: true });

    const old = avsc.Type.forSchema(before as never);
    const header = Buffer.alloc(5);
    header.writeUInt32BE((body as { id: number }).id, 1);
    const value = Buffer.concat([header, old.toBuffer(SENT)]);
    await codec.prepare('SubscriptionEvent', [value]);
    expect(codec.decode('SubscriptionEvent', value)).toEqual(EVENT);

    const options = { noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 7 };
    const ours = codec.encode('SubscriptionEvent', { ...SENT, ...options, sessionEpoch: 9 });
    const found = await fetch(`${registry.url}/schemas/ids/${ours.readUInt32BE(1)}`);
    const { schema } = (await found.json()) as { schema: string };
    const resolver = old.createResolver(avsc.Type.forSchema(JSON.parse(schema)));
    expect({ ...old.fromBuffer(ours.subarray(5), resolver) }).toEqual(SENT);
    expect(await ask(registry.url, subject, before)).toMatchObject({ is_compatible: true });
  });

  test('an incompatible change is refused, by the registry for others and by the start for us', async ({ skip }) => {
    if (registry === undefined) return skip();
    const prefix = `${PREFIX}change.`;
    const subject = `${prefix}subscriptions-value`;
    await registryCodec({ url: registry.url, subjects: subjects(prefix), register: true });
    const required = {
      ...SCHEMAS.SubscriptionEvent,
      fields: [...SCHEMAS.SubscriptionEvent.fields, { name: 'region', type: 'string' }],
    };
    expect((await post(registry.url, subject, required)).status).toBe(409);

    const foreign = `${PREFIX}foreign.`;
    const other = { type: 'record', name: 'SubscriptionEvent', namespace: 'psm', fields: [{ name: 'x', type: 'int' }] };
    expect((await post(registry.url, `${foreign}subscriptions-value`, other)).status).toBe(200);
    await put(registry.url, `${foreign}subscriptions-value`, 'BACKWARD');
    const start = registryCodec({ url: registry.url, subjects: subjects(foreign), register: true });
    await expect(start).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' });
  });

  test('an id that does not exist is asked for again, then SCHEMA_UNKNOWN', async ({ skip }) => {
    if (registry === undefined) return skip();
    const slept: number[] = [];
    const codec = await registryCodec({
      url: registry.url,
      subjects: subjects(PREFIX),
      register: true,
      retryDelaysMs: [10, 20],
      sleep: async (ms) => void slept.push(ms),
      random: () => 1,
    });
    const value = Buffer.from([0, 0x7f, 0xff, 0xff, 0xf0, 0]);
    await codec.prepare('SubscriptionEvent', [value]);
    expect(slept).toEqual([10, 20]);
    expect(() => codec.decode('SubscriptionEvent', value)).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
  });
});

async function post(url: string, subject: string, schema: unknown): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${url}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  return { status: answer.status, body: await answer.json() };
}

/** Whether a reader with this schema reads what the newest one writes. */
async function ask(url: string, subject: string, schema: unknown): Promise<unknown> {
  const answer = await fetch(`${url}/compatibility/subjects/${subject}/versions/latest`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(schema) }),
  });
  return answer.json();
}

async function put(url: string, subject: string, compatibility: string): Promise<void> {
  const answer = await fetch(`${url}/config/${subject}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ compatibility }),
  });
  expect(answer.status).toBe(200);
}
