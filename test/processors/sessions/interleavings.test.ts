// Whatever way the records of a client's connections take, what is left in the end is what MQTT says: every way in which
// the records of two connections can go is gone, and many ways of many connections.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../evaluation/random.ts';
import { type Connection, type Word, whatIsLeft } from './session-model.ts';
import { type Appended, connected, disconnected, ended, NEVER, SETTINGS, SessionWorld, said } from './session-world.ts';

const subscribe = (filter = 'a', qos = 0): Word => ({ action: 'SUBSCRIBE', filter, qos });
const unsubscribe = (filter = 'a'): Word => ({ action: 'UNSUBSCRIBE', filter, qos: 0 });

/** What a broker appends of a connection, the number of which is the session epoch. */
function scriptOf(connection: Connection, epoch: number, client = 'phone'): Appended[] {
  const { broker, at, cleanStart, expirySeconds, words, end } = connection;
  const of = { client, broker, epoch, at };
  const script = [connected(of, cleanStart, expirySeconds)];
  for (const { action, filter, qos } of words) script.push(said(of, action, filter, qos));
  if (end?.is === 'disconnect') script.push(disconnected({ ...of, at: end.at }, end.expirySeconds));
  if (end?.is === 'ended') script.push(ended({ ...of, at: end.at }));
  return script;
}

const isRight = (world: SessionWorld, connections: readonly Connection[], now: number): void => {
  const held = [...world.held].map(([key, { brokerId, qos }]) => [key.split(' ')[1], { brokerId, qos }]);
  expect(Object.fromEntries(held)).toEqual(Object.fromEntries(whatIsLeft(connections, now)));
};

/** Goes every way; returns how many different worlds were seen. */
function goEveryWay(first: SessionWorld, atRest: (world: SessionWorld) => void): number {
  const seen = new Set([first.name]);
  const open = [first];
  for (let world = open.pop(); world !== undefined; world = open.pop()) {
    const moves = world.moves();
    if (moves.length === 0) atRest(world);
    for (const move of moves) {
      const next = world.copy();
      next.go(move);
      const { name } = next;
      if (seen.has(name)) continue;
      seen.add(name);
      open.push(next);
    }
  }
  return seen.size;
}

const START = 1_000;
const SECOND = 3_000;

const ENDS: Readonly<Record<string, Connection['end']>> = {
  'taken over': undefined,
  'told of late': { is: 'disconnect', at: SECOND + 500 },
  disconnected: { is: 'disconnect', at: 2_000 },
  'to end at once': { is: 'disconnect', at: 2_000, expirySeconds: 0 },
  expired: { is: 'disconnect', at: 2_000, expirySeconds: 1 },
  ended: { is: 'ended', at: 2_000 },
};
const FIRST: readonly (readonly Word[])[] = [[subscribe()], [subscribe(), unsubscribe()]];
const SECOND_WORDS: readonly (readonly Word[])[] = [[], [subscribe('a', 1)], [unsubscribe()]];

describe('every way of two connections of one client', () => {
  /** `twice`: each record comes twice. */
  const waysOf = (connections: readonly Connection[], byEpoch: boolean, twice = false): number => {
    const scripts = connections.map((connection, at) => scriptOf(connection, at + 1));
    const told = twice ? scripts.map((script) => script.flatMap((record) => [record, record])) : scripts;
    const isOne = connections[0]!.broker === connections[1]!.broker;
    const world = new SessionWorld(isOne ? [told.flat()] : told, byEpoch);
    world.eventTime = START;
    return goEveryWay(world, (last) => isRight(last, connections, SECOND + 1_000));
  };

  for (const [name, end] of Object.entries(ENDS))
    for (const byEpoch of [true, false])
      test(`the first ${name}; apply goes by ${byEpoch ? 'epoch' : 'broker'}`, () => {
        let worlds = 0;
        for (const expirySeconds of end?.is === 'disconnect' ? [NEVER] : [0, NEVER])
          for (const cleanStart of expirySeconds === 0 ? [false] : [true, false])
            for (const words of FIRST)
              for (const second of SECOND_WORDS)
                for (const broker of byEpoch ? ['b'] : ['a', 'b'])
                  worlds += waysOf(
                    [
                      { ...{ broker: 'a', at: START, cleanStart: false, expirySeconds, words }, ...(end && { end }) },
                      { broker, at: SECOND, cleanStart, expirySeconds: NEVER, words: second },
                    ],
                    byEpoch,
                  );
        expect(worlds).toBeGreaterThan(1_000);
      });

  for (const [name, words] of Object.entries({ silent: [], unsubscribing: [unsubscribe()] }))
    test(`each record twice, the second one ${name}`, () => {
      const first = { broker: 'a', at: START, cleanStart: true, expirySeconds: NEVER, words: FIRST[0]! };
      const second = { broker: 'b', at: SECOND, cleanStart: words.length === 0, expirySeconds: NEVER, words };
      expect(waysOf([first, second], true, true)).toBeGreaterThan(1_000);
    });
});

/** A life of a client: its connections, each somewhere. */
function randomLife(random: () => number): Connection[] {
  const below = (count: number): number => Math.floor(random() * count);
  let at = START;
  return Array.from({ length: 2 + below(5) }, (): Connection => {
    at += 1_000 + below(20_000);
    const begun = at;
    const words = Array.from({ length: below(4) }, () =>
      random() < 0.65 ? subscribe('abc'[below(3)], below(3)) : unsubscribe('abc'[below(3)]),
    );
    at += 1_000 + below(20_000);
    const expirySeconds = [0, 5, 15, NEVER][below(4)]!;
    const changed = [undefined, undefined, 0, 10][below(4)];
    const disconnect = {
      is: 'disconnect' as const,
      at,
      ...(changed !== undefined && expirySeconds !== 0 && { expirySeconds: changed }),
    };
    const end = [undefined, disconnect, disconnect, { is: 'ended' as const, at }][below(4)];
    const connection = { broker: `broker-${below(3)}`, at: begun, cleanStart: random() < 0.25, expirySeconds, words };
    return { ...connection, ...(end && { end }) };
  });
}

describe('many ways of many connections', () => {
  const seeds = Number(process.env.SESSION_SEEDS ?? 300);
  const first = Number(process.env.SESSION_SEED ?? 1);
  for (const byEpoch of [true, false])
    test(`what is left is what MQTT says; apply goes by ${byEpoch ? 'epoch' : 'broker'}`, () => {
      for (let seed = first; seed < first + seeds; seed++)
        try {
          runSeed(seed, byEpoch);
        } catch (error) {
          throw new Error(`SESSION_SEED=${seed} SESSION_SEEDS=1: ${(error as Error).message}`, { cause: error });
        }
    });
});

function runSeed(seed: number, byEpoch: boolean): void {
  const random = randomFrom(seed);
  const clients = ['phone', 'door'].map((client) => ({ client, life: randomLife(random) }));
  const byBroker = new Map<string, { at: number; script: Appended[] }[]>();
  for (const { client, life } of clients)
    for (const [at, connection] of life.entries()) {
      const scripts = byBroker.get(connection.broker) ?? [];
      byBroker.set(connection.broker, scripts);
      const script = scriptOf(connection, at + 1, client);
      scripts.push({ at: connection.at, script: random() < 0.2 ? [...script, ...script] : script });
    }
  const scripts = [...byBroker.values()].map((all) => all.sort((a, b) => a.at - b.at).flatMap(({ script }) => script));
  const settings = { ...SETTINGS, sessionEventsPerSecond: random() < 0.5 ? 5 : 1_000 };
  const world = new SessionWorld(scripts, byEpoch, settings);
  world.eventTime = START;
  const choose = <Each>(from: readonly Each[]): Each => from[Math.floor(random() * from.length)]!;
  for (let moves = world.moves(); moves.length > 0; moves = world.moves()) {
    // Event time is not ahead of what the stage has not been told yet.
    if (random() < 0.1) world.eventTime = Math.max(world.eventTime, Math.min(world.undelivered, LATEST));
    if (random() < 0.02 && moves.some(({ is }) => is !== 'tick')) world.restart();
    if (random() < 0.1) world.tick();
    else world.go(choose(moves));
  }
  for (const now of [LATEST, LATEST + 20_000, LATEST + SETTINGS.sessionMemoryMs]) {
    world.eventTime = now;
    world.tick();
    world.settle();
    for (const { client, life } of clients) {
      const held = [...world.held].filter(([key]) => key.startsWith(`${client} `));
      expect(
        Object.fromEntries(held.map(([key, { brokerId, qos }]) => [key.split(' ')[1], { brokerId, qos }])),
      ).toEqual(Object.fromEntries(whatIsLeft(life, now)));
    }
  }
  world.eventTime = LATEST + 4 * SETTINGS.sessionMemoryMs;
  world.tick();
  world.settle();
  world.eventTime += 4 * SETTINGS.sessionMemoryMs;
  world.tick();
  world.settle();
  const kept = world.disk.keys.filter((key) => key.startsWith('f/')).length;
  expect(kept, 'rows of subscriptions').toBe(world.held.size);
}

/** After every life. */
const LATEST = 400_000;
