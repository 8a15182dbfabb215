// What the sessions stage writes, and what it does not, record by record.

import { describe, expect, test } from 'vitest';
import { SCAN_ROWS_MAX } from '../../../processors/sessions/brokers.ts';
import { eventTime } from '../../../schemas/ids.ts';
import type { OperationProgress } from '../../../schemas/records.ts';
import { type Appended, connected, disconnected, ended, NEVER, SETTINGS, SessionWorld, said } from './session-world.ts';

const of = (epoch: number, broker: string, at = epoch * 1_000, client = 'phone') => ({ client, broker, epoch, at });

/** A world in which this has happened, one record after the other. */
function happened(records: readonly Appended[], settings = SETTINGS): SessionWorld {
  const world = new SessionWorld([], true, settings);
  world.eventTime = 1_000;
  for (const record of records) {
    world.append(record);
    world.settle();
  }
  return world;
}

/** What the stage has written. */
const written = (world: SessionWorld): string[] =>
  world
    .events()
    .filter(({ bySession }) => bySession)
    .map(({ action, topicFilter, brokerId, sessionEpoch }) => `${action} ${topicFilter} ${brokerId} ${sessionEpoch}`);
const held = (world: SessionWorld): string[] =>
  [...world.held].map(([key, { brokerId }]) => `${key} ${brokerId}`).sort();

describe('a client that stays with its broker', () => {
  for (const { name, records } of [
    {
      name: 'connects, subscribes, unsubscribes',
      records: [
        connected(of(1, 'a'), true, 0),
        said(of(1, 'a'), 'SUBSCRIBE', 'x'),
        said(of(1, 'a'), 'UNSUBSCRIBE', 'x'),
      ],
    },
    {
      name: 'is heard of before its connection',
      records: [said(of(1, 'a'), 'SUBSCRIBE', 'x'), connected(of(1, 'a'), true, 0)],
    },
    {
      name: 'comes back to its session',
      records: [
        connected(of(1, 'a'), false, NEVER),
        said(of(1, 'a'), 'SUBSCRIBE', 'x'),
        disconnected(of(1, 'a', 1_500)),
        connected(of(2, 'a'), false, NEVER),
        said(of(2, 'a'), 'SUBSCRIBE', 'x', 1),
      ],
    },
    {
      name: 'has not told of sessions at first',
      records: [said(of(0, 'a', 5), 'SUBSCRIBE', 'x'), said(of(0, 'b', 6), 'SUBSCRIBE', 'x')],
    },
  ])
    test(`nothing is written: ${name}`, () => {
      expect(written(happened(records))).toEqual([]);
    });
});

describe('a broker that tells of no sessions', () => {
  test('its events come to no stage but those they came to before, and its own id decides', () => {
    const world = happened([
      said(of(0, 'a', 5), 'SUBSCRIBE', 'x'),
      said(of(0, 'b', 6), 'SUBSCRIBE', 'x'),
      said(of(0, 'a', 7), 'UNSUBSCRIBE', 'x'),
    ]);
    expect(held(world)).toEqual(['phone x b']);
    expect(world.disk.keys).toEqual([]);
    expect(world.rows.size).toBe(0);
  });

  test('the end of a session elsewhere does not touch what it has subscribed to', () => {
    const world = happened([
      connected(of(1, 'a'), true, 0),
      said(of(1, 'a'), 'SUBSCRIBE', 'x'),
      said(of(0, 'plain', 1_200), 'SUBSCRIBE', 'x'),
      disconnected(of(1, 'a', 1_500)),
    ]);
    expect(held(world)).toEqual(['phone x plain']);
  });
});

describe('what follows from a session', () => {
  const begun = [
    connected(of(1, 'a'), false, NEVER),
    said(of(1, 'a'), 'SUBSCRIBE', 'x', 2),
    said(of(1, 'a'), 'SUBSCRIBE', 'y/+'),
  ];

  test('its subscriptions move with the client, once, and are what they were', () => {
    const world = happened([...begun, connected(of(2, 'b'), false, NEVER)]);
    expect(written(world).sort()).toEqual(['SUBSCRIBE x b 1', 'SUBSCRIBE y/+ b 1']);
    expect(world.held.get('phone x')).toEqual({ brokerId: 'b', qos: 2 });
  });

  test('they are removed when it ends', () => {
    const world = happened([...begun, ended(of(1, 'a', 1_500))]);
    expect(written(world).sort()).toEqual(['UNSUBSCRIBE x a 1', 'UNSUBSCRIBE y/+ a 1']);
    expect(held(world)).toEqual([]);
  });

  test('they are removed when it expires, not before, and not by the clock of the host', () => {
    const world = happened([connected(of(1, 'a'), false, 60), ...begun.slice(1), disconnected(of(1, 'a', 2_000))]);
    for (let tick = 0; tick < 1_000; tick++) world.tick();
    world.eventTime = 61_999;
    world.tick();
    world.settle();
    expect(held(world)).toHaveLength(2);
    world.eventTime = 62_000;
    world.tick();
    world.settle();
    expect(held(world)).toEqual([]);
  });

  test('after a time in which nobody was there, not before what was told meanwhile has been read', () => {
    const world = happened([connected(of(1, 'a'), false, 60), ...begun.slice(1), disconnected(of(1, 'a', 2_000))]);
    world.tick();
    world.restart();
    world.eventTime = 10 * 60_000; // Others have read on.
    for (let tick = 0; tick < 10; tick++) world.tick();
    for (let at = 3_000; at < 50_000; at += 5_000) world.append(connected(of(1, 'b', at, `other-${at}`), false, NEVER));
    for (let move = 0; move < 5; move++) {
      world.go({ is: 'session' });
      world.tick();
    }
    world.append(connected(of(2, 'b', 55_000), false, 60));
    world.settle();
    expect(written(world).filter((event) => event.startsWith('UNSUBSCRIBE'))).toEqual([]);
    expect(held(world)).toEqual(['phone x b', 'phone y/+ b']);
  });

  test('a connection in time that is told of late brings them back, while they are remembered', () => {
    const world = happened([connected(of(1, 'a'), false, 60), ...begun.slice(1), disconnected(of(1, 'a', 2_000))]);
    world.eventTime = 70_000;
    world.tick();
    world.settle();
    expect(held(world)).toEqual([]);
    world.append(connected(of(2, 'b', 61_000), false, 60));
    world.settle();
    expect(held(world)).toEqual(['phone x b', 'phone y/+ b']);
  });

  test('what is said late of a session that is over is undone, of one that has moved it is moved', () => {
    const over = happened([...begun, connected(of(2, 'b'), true, NEVER), said(of(1, 'a', 1_400), 'SUBSCRIBE', 'z')]);
    expect(held(over)).toEqual([]);
    const moved = happened([...begun, connected(of(2, 'b'), false, NEVER), said(of(1, 'a', 1_400), 'SUBSCRIBE', 'z')]);
    expect(held(moved)).toEqual(['phone x b', 'phone y/+ b', 'phone z b']);
  });

  test('a word of a connection that is told of later is moved once it is', () => {
    const world = happened([
      connected(of(1, 'a'), false, NEVER),
      said(of(2, 'b'), 'SUBSCRIBE', 'x'),
      connected(of(3, 'a'), false, NEVER),
    ]);
    expect(held(world)).toEqual(['phone x a']);
  });

  test('records that come again, or are too old, change nothing and are counted', () => {
    const world = happened([...begun, connected(of(2, 'b'), false, NEVER)]);
    const before = written(world).length;
    for (const record of [begun[0]!, connected(of(2, 'b'), false, NEVER)]) world.append(record);
    world.settle();
    expect(world.ignored).toBe(2);
    expect(written(world)).toHaveLength(before);
  });

  test('what is over is forgotten in time, and leaves no row', () => {
    const world = happened([...begun, ended(of(1, 'a', 1_500))]);
    for (let hour = 1; hour <= 3; hour++) {
      world.eventTime += SETTINGS.sessionMemoryMs + 1;
      world.tick();
      world.settle();
    }
    expect(world.disk.keys).toEqual([]);
  });
});

describe('many removals at once', () => {
  const FILTERS = 300;
  const many = [
    connected(of(1, 'a'), false, NEVER),
    ...Array.from({ length: FILTERS }, (_, at) => said(of(1, 'a'), 'SUBSCRIBE', `x/${at}`)),
  ];

  test('are spread over time, and go on after a start where they were', () => {
    const world = happened(many, { ...SETTINGS, sessionEventsPerSecond: 50 });
    world.append(ended(of(1, 'a', 2_000)));
    world.go({ is: 'session' });
    world.tick(); // What was saved up.
    world.tick();
    const first = world.written;
    expect(first).toBeLessThanOrEqual(50);
    for (let tick = 0; tick < 10; tick++) world.tick();
    expect(world.written - first).toBeLessThanOrEqual(100);
    expect(world.written - first).toBeGreaterThanOrEqual(80);
    world.restart();
    world.settle();
    expect(held(world)).toEqual([]);
    expect(world.written).toBe(FILTERS);
  });

  test('a session that begins anew meanwhile loses nothing', () => {
    const world = happened(many, { ...SETTINGS, sessionEventsPerSecond: 50 });
    world.append(ended(of(1, 'a', 2_000)));
    for (let tick = 0; tick < 5; tick++) world.tick();
    world.append(connected(of(2, 'b', 3_000), false, NEVER), said(of(2, 'b', 3_001), 'SUBSCRIBE', 'x/299'));
    world.settle();
    expect(held(world)).toEqual(['phone x/299 b']);
  });
});

describe('a broker that is gone', () => {
  const CLIENTS = 300;
  const crowd = (broker: string, expiry: number, name: string, clients = CLIENTS): Appended[] =>
    Array.from({ length: clients }, (_, at) => `${name}-${at}`).flatMap((client) => [
      connected(of(1, broker, 1_000, client), false, expiry),
      said(of(1, broker, 1_000, client), 'SUBSCRIBE', 'x'),
    ]);

  /** Event time goes on by a second for each tick; brokers that are named send heartbeats. */
  const pass = (world: SessionWorld, seconds: number, brokers: readonly string[] = [], startedAt = 500): void => {
    for (let second = 0; second < seconds; second++) {
      world.eventTime += 1_000;
      for (const broker of brokers) world.beat(broker, world.eventTime, startedAt);
      world.tick();
    }
  };
  const fleet = (settings = SETTINGS): SessionWorld => {
    const world = happened(
      [...crowd('a', 0, 'clean'), ...crowd('a', NEVER, 'kept'), ...crowd('b', 0, 'other')],
      settings,
    );
    pass(world, 5, ['a', 'b']);
    return world;
  };
  const last = (world: SessionWorld): OperationProgress => world.told.at(-1)!;
  const count = (world: SessionWorld, name: string): number =>
    [...world.held.keys()].filter((key) => key.startsWith(`${name}-`)).length;

  test('its clean sessions end, its persistent ones stay, and no other', () => {
    const world = fleet();
    pass(world, 55, ['b']);
    world.settle();
    expect(count(world, 'clean')).toBe(CLIENTS);
    pass(world, 8, ['b']);
    world.settle();
    expect([count(world, 'clean'), count(world, 'kept'), count(world, 'other')]).toEqual([0, CLIENTS, CLIENTS]);
    expect(last(world)).toMatchObject({ state: 'DONE', action: 'LOSE', sessions: 2 * CLIENTS });
    expect(last(world)).toMatchObject({ ended: CLIENTS, events: CLIENTS });
    expect(world.disk.keys.filter((key) => key.startsWith('l/a'))).toHaveLength(2 * CLIENTS);
  });

  test('one that comes back before its time is not lost', () => {
    const world = fleet();
    pass(world, 55, ['b']);
    pass(world, 100, ['a', 'b']);
    world.settle();
    expect(count(world, 'clean')).toBe(CLIENTS);
    expect(world.told).toEqual([]);
  });

  test('one that comes back meanwhile, as it was, stops it and has its sessions again', () => {
    const world = fleet({ ...SETTINGS, sessionEventsPerSecond: 20 });
    pass(world, 62, ['b']);
    for (let turn = 0; turn < 4; turn++) {
      world.go(world.moves().find(({ is }) => is === 'operation')!);
      pass(world, 2, ['b']);
      if (world.moves().every(({ is }) => is !== 'operation')) break;
    }
    expect(world.written).toBeGreaterThan(0);
    world.beat('a', world.eventTime, 500);
    world.settle();
    expect([count(world, 'clean'), count(world, 'kept')]).toEqual([CLIENTS, CLIENTS]);
    expect(world.told.map(({ action, state }) => `${action} ${state}`)).toEqual(
      expect.arrayContaining(['LOSE STOPPED', 'RESTORE DONE']),
    );
    expect(world.disk.keys.filter((key) => key.startsWith('l/a'))).toEqual([]);
  });

  test('one that comes back after it, as it was, has its sessions again', () => {
    const world = fleet();
    pass(world, 70, ['b']);
    world.settle();
    expect(count(world, 'clean')).toBe(0);
    world.beat('a', world.eventTime, 500);
    world.settle();
    expect([count(world, 'clean'), count(world, 'kept')]).toEqual([CLIENTS, CLIENTS]);
  });

  test('one that is started again has lost the connections it had, and none that came after', () => {
    const world = fleet();
    world.eventTime += 1_000;
    const startedAt = world.eventTime;
    world.append(
      connected(of(2, 'a', startedAt + 100, 'clean-0'), false, 0),
      said(of(2, 'a', startedAt + 100, 'clean-0'), 'SUBSCRIBE', 'x'),
    );
    world.settle();
    world.beat('a', world.eventTime, startedAt);
    pass(world, 2, ['b']);
    world.settle();
    expect([count(world, 'clean'), count(world, 'kept')]).toEqual([1, CLIENTS]);
    expect(last(world)).toMatchObject({ action: 'DISCONNECT', state: 'DONE', sessions: 2 * CLIENTS - 1 });
  });

  test('a person stops it within a page of sessions', () => {
    const clients = 2_500;
    const world = happened(crowd('a', 0, 'clean', clients));
    pass(world, 5, ['a']);
    pass(world, 62);
    for (let second = 0; second < 2; second++) {
      for (const move of world.moves()) if (move.is === 'operation') world.go(move);
      pass(world, 1);
    }
    const { operationId } = world.operation!;
    world.operate({
      ...{ operationId, brokerId: 'a', at: eventTime(world.eventTime) },
      body: { kind: 'OperationStop', reason: 'a person has stopped it' },
    });
    world.settle();
    expect(count(world, 'clean')).toBe(clients - SCAN_ROWS_MAX);
    expect(last(world)).toMatchObject({ state: 'STOPPED', reason: 'a person has stopped it' });
  });

  test('nobody is called silent while this task was away, or when event time leaps', () => {
    const world = fleet();
    world.eventTime += 3_600_000;
    world.tick();
    world.restart();
    pass(world, 50);
    world.settle();
    expect(world.told).toEqual([]);
    expect(count(world, 'clean')).toBe(CLIENTS);
  });

  test('a persistent session that was lost with it expires by its own time', () => {
    const world = happened([connected(of(1, 'a'), false, 600), said(of(1, 'a'), 'SUBSCRIBE', 'x')]);
    pass(world, 5, ['a']);
    pass(world, 65);
    world.settle();
    expect(held(world)).toEqual(['phone x a']);
    pass(world, 610);
    world.settle();
    expect(held(world)).toEqual([]);
  });
});
