// The subscriptions that conformance asks about, in two shards of a fleet of its own: what a server keeps of others is
// not touched. Who receives a message is told by the rules of MQTT (state/topic-filter.ts), not by a server.

import { KEY_FORMAT } from '../../state/keys.ts';
import { isShared, matches } from '../../state/topic-filter.ts';
import { type Connection, Refused, type Value } from './connection.ts';

export const FLEET = ['1', String(KEY_FORMAT), 'conformance.'] as const;
export const CONCRETE_SLICE = 'c/0/';
export const TRIE_SLICE = 'w/0/';

export interface Row {
  readonly filter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  readonly options?: {
    noLocal: boolean;
    retainAsPublished: boolean;
    retainHandling: number;
    subscriptionIdentifier: number;
  };
}

const of = (filter: string, clientId: string, brokerId: string, qos = 0): Row => ({ filter, clientId, brokerId, qos });
const OPTIONS = { noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 268_435_455 };

export const CONCRETE_ROWS: readonly Row[] = [
  of('home/1', 'k1', 'b1'),
  of('home/1', 'k2', 'b1', 1),
  { ...of('home/1', 'k3', 'b2', 2), options: OPTIONS },
  of('$SYS/load', 'k4', 'b3'),
  of('é/ü', 'k5', 'b4'),
  of('/', 'k6', 'b5'),
  of('home', 'k7', ''),
];
export const TRIE_ROWS: readonly Row[] = [
  of('home/+', 't1', 'b1', 1),
  of('home/+', 't2', 'b1'),
  of('home/#', 't3', 'b2'),
  of('+/1', 't4', 'b3', 2),
  of('#', 't5', 'b4'),
  of('+', 't6', 'b5'),
  of('/+', 't7', 'b6'),
  of('+/+', 't8', 'b7'),
  of('$SYS/#', 't9', 'b8'),
  of('é/+', 't10', 'b9'),
  { ...of('+/ü', 't11', 'b10', 1), options: { ...OPTIONS, noLocal: false } },
  of('$share/g/home/1', 's1', 'b1'),
  of('$share/g/home/1', 's2', 'b2', 1),
  of('$share/h/home/#', 's3', 'b3'),
  of('$share/away/home/1', 's4', ''),
  of('$share/away/home/1', 's5', 'b5'),
];
export const TOPICS = [
  'home/1',
  'home',
  'home/',
  'home/1/2',
  '/',
  '$SYS/load',
  '$SYS',
  'é/ü',
  'nobody',
  'a/b',
] as const;

/** Who receives a message, by MQTT's rules. */
export const hearers = (rows: readonly Row[], topic: string): Row[] =>
  rows.filter(({ filter }) => matches(isShared(filter) ? filter.split('/').slice(2).join('/') : filter, topic));

export interface Shards {
  readonly concrete: string;
  readonly trie: string;
}

export interface Types {
  readonly concreteType: string;
  readonly trieType: string;
}

/** A call of Foreshard's. Throws what the server refuses it with. */
export async function call(admin: Connection, shard: string, name: string, body: unknown): Promise<unknown> {
  const answer = await admin.ask('FS.CALL', shard, '', name, JSON.stringify(body));
  if (answer instanceof Refused) throw new Error(`${name} of ${shard} was refused: ${answer.code} ${answer.message}`);
  if (typeof answer !== 'string') throw new Error(`${name} of ${shard} was answered with no text`);
  return JSON.parse(answer) as unknown;
}

let offset = 0;
/** Filter, client, broker, QoS, incarnation, offset, gone, time, and options where there are any. */
export const wireRowOf = ({ filter, clientId, brokerId, qos, options }: Row, gone = false): readonly unknown[] => [
  ...[filter, clientId, brokerId, qos, 0, ++offset, gone, 1_767_571_200_000],
  ...(options === undefined ? [] : [{ options }]),
];

/** Makes the shards and fills them. */
export async function made(admin: Connection, { concreteType, trieType }: Types): Promise<Shards> {
  await expectOk(await admin.ask('FS.FLEET', ...FLEET));
  const name = `conformance-${process.pid}-${Date.now()}`;
  const shards = { concrete: `${name}-c`, trie: `${name}-w` };
  for (const [shard, datastoreType, slice, rows] of [
    [shards.concrete, concreteType, CONCRETE_SLICE, CONCRETE_ROWS],
    [shards.trie, trieType, TRIE_SLICE, TRIE_ROWS],
  ] as const) {
    const made = (await call(admin, shard, 'ensure', { datastoreType, resize: false })) as { readonly state: string };
    if (made.state !== 'ready') throw new Error(`a shard on ${datastoreType} is ${made.state}, and not ready`);
    await call(admin, shard, 'own', { owner: { slice, state: 'owned', epoch: 1 } });
    await call(admin, shard, 'write', { rows: rows.map((row) => wireRowOf(row)) });
  }
  return shards;
}

/** Takes the shards away again. */
export async function removed(admin: Connection, shards: Shards): Promise<void> {
  for (const [shard, slice] of [
    [shards.concrete, CONCRETE_SLICE],
    [shards.trie, TRIE_SLICE],
  ] as const) {
    const right = { state: 'moved', epoch: 1_000 };
    await call(admin, shard, 'own', { owner: { slice, ...right, movedTo: 'nowhere' } });
    await call(admin, shard, 'erase', { range: { slice, except: [] }, limit: 10_000, right });
    await call(admin, shard, 'disown', { slice, right });
    await call(admin, shard, 'release', {});
  }
}

async function expectOk(answer: Value): Promise<void> {
  if (answer !== 'OK') throw new Error(`FS.FLEET was answered with ${JSON.stringify(answer)}`);
}
