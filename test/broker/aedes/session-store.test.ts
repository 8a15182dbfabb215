// What a broker keeps of its clients: in the order given, bounded, and the same again from the journal. What Aedes asks of
// it besides is in Aedes's own suite (aedes-suites.test.ts).

import { expect, onTestFinished, test } from 'vitest';
import { levelJournal } from '../../../broker/aedes/edge/level-journal.ts';
import { type Packet, SessionStore } from '../../../broker/aedes/session-store.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const message = (brokerCounter: number, more: Packet = {}): Packet => ({
  cmd: 'publish',
  topic: 'a/b',
  payload: Buffer.from(`${brokerCounter}`),
  qos: 1,
  retain: false,
  dup: false,
  brokerId: 'x',
  brokerCounter,
  ...more,
});

const numbers = (store: SessionStore, clientId: string): (number | undefined)[] =>
  store.waitingOf(clientId).map(({ brokerCounter }) => brokerCounter);

test('a session keeps so many messages and drops later ones, which are counted', () => {
  const store = new SessionStore(undefined, 3);
  for (let i = 1; i <= 5; i++) store.enqueue('c', message(i));
  expect(numbers(store, 'c')).toEqual([1, 2, 3]);
  expect(store.dropped).toBe(2);
  store.update('c', message(1, { messageId: 7 }));
  expect(store.acknowledge('c', 7)).toMatchObject({ brokerCounter: 1 });
  store.enqueue('c', message(6));
  expect(numbers(store, 'c')).toEqual([2, 3, 6]);
});

test('a message waits once for a client with several subscriptions that match, and no other is taken for it', async () => {
  const store = new SessionStore();
  for (const number of [1, 1, 2, 2]) store.enqueue('c', message(number));
  expect(numbers(store, 'c')).toEqual([1, 2]);
  expect(store.takeUnsent('c', message(3))).toBe(false);
  store.update('c', message(2, { messageId: 7 }));
  expect(store.takeUnsent('c', message(2))).toBe(false); // It has been sent.
  expect(store.takeUnsent('c', message(1))).toBe(true);
  expect(numbers(store, 'c')).toEqual([2]);
});

test('a message that is sent without having waited is no error, and its PUBREL is kept', () => {
  const store = new SessionStore();
  store.update('c', message(1, { messageId: 7 }));
  expect(store.waitingOf('c')).toEqual([]);
  store.update('c', { cmd: 'pubrel', messageId: 7 });
  expect(store.waitingOf('c')).toEqual([{ cmd: 'pubrel', messageId: 7 }]);
  store.acknowledge('c', 7);
  expect(store.waitingOf('c')).toEqual([]);
});

test('the end of a session takes its subscriptions and what waits for it', () => {
  const store = new SessionStore();
  store.subscribe('c', [{ topic: 'a/+', qos: 1 }]);
  store.subscribe('d', [{ topic: 'a/b', qos: 2 }]);
  store.enqueue('c', message(1));
  store.end('c');
  expect([store.subscriptionsOf('c'), store.waitingOf('c')]).toEqual([[], []]);
  expect(store.subscriptionsTo('a/b').map(({ clientId }) => clientId)).toEqual(['d']);
});

test('a folder holds everything, also after it was closed and opened, and nothing that was removed', async () => {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const opened = async () => {
    const failures: unknown[] = [];
    const journal = await levelJournal(`${folder.path}/mqtt`, (error) => failures.push(error));
    const store = new SessionStore(journal);
    await journal.restoreInto(store);
    return { store, journal, failures };
  };
  const first = await opened();
  await expect(levelJournal(`${folder.path}/mqtt`, () => {})).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  first.store.subscribe('c', [
    { topic: 'a/+', qos: 1 },
    { topic: 'gone', qos: 2 },
    { topic: 'quiet', qos: 0 },
  ]);
  first.store.unsubscribe('c', ['gone']);
  for (let i = 1; i <= 1_200; i++) first.store.enqueue('c', message(i % 2 === 0 ? i : 10_000 + i));
  first.store.update('c', message(2, { messageId: 1 }));
  first.store.acknowledge('c', 1);
  first.store.retain(message(1, { topic: 'kept', retain: true }));
  first.store.retain(message(1, { topic: 'taken', retain: true }));
  first.store.retain(message(1, { topic: 'taken', retain: true, payload: Buffer.alloc(0) }));
  first.store.receive('p', message(1, { qos: 2, messageId: 9 }));
  first.store.putWill('w', message(1, { topic: 'died' }));
  await first.journal.close();

  const second = await opened();
  for (const store of [first.store, second.store]) {
    expect(store.subscriptionsOf('c').map(({ topic, qos }) => [topic, qos])).toEqual([
      ['a/+', 1],
      ['quiet', 0],
    ]);
    expect(store.subscriptionsTo('a/b')).toHaveLength(1);
    expect([...store.retainedOf(['#'])].map(({ topic }) => topic)).toEqual(['kept']);
    expect(store.received('p', 9)?.payload).toEqual(Buffer.from('1'));
    expect(store.willOf('w')?.topic).toBe('died');
  }
  expect(numbers(second.store, 'c')).toEqual(numbers(first.store, 'c'));
  expect(second.store.waitingOf('c')[0]?.payload).toEqual(Buffer.from('10001'));
  second.store.enqueue('c', message(5_000));
  expect(numbers(second.store, 'c').at(-1)).toBe(5_000); // After those that were there.
  await second.journal.close();
  expect([first.failures, second.failures]).toEqual([[], []]);
});
