// A shard of a move that is away, or has lost its data, at each phase: what waits for it, what does not, and what it says
// when it is back. The running topology in memory, over real stores in a folder of the test's own.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver } from '../../datastores/perform.ts';
import type { Provisioner, ShardStore } from '../../datastores/shard-store.ts';
import { APPLY_DEFAULTS, carryOut, partitionStates } from '../../processors/apply/apply.ts';
import type { Move } from '../../processors/apply/move.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { epoch, eventTime, moveId, type ShardId, type SliceKey, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Command, MoveProgress, Progress, SliceLeft, SteerAction } from '../../schemas/records.ts';
import { pinSlice, spreadSlices } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import {
  clock,
  commands,
  effects,
  outcomes,
  progress,
  subscriptions,
  subscriptionTable,
  tallies,
  wildcards,
} from '../../topology/topics.ts';
import { type Drive, drive } from '../support/drive.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const FROM = shardId('shard-0001');
const TRIE = shardId('shard-0002');
const TO = shardId('shard-0003');
const SLICE = sliceKey('c/0/');
const PIN = pinSlice('door');
const MOVE = moveId('move-1');
/** Before the move, and from its switch on. */
const [OLD, NEW] = [epoch(1), epoch(5)];

const topology = defineTopology(
  [
    stage('apply', {
      reads: [subscriptions, wildcards, commands, outcomes, clock],
      keeps: partitionStates,
      emits: [progress, effects, tallies, subscriptionTable],
      step: carryOut({
        ...APPLY_DEFAULTS,
        partitions: 1,
        incarnation: 0,
        genesis: { concreteType: 'kv', trieType: 'trie' },
        copyRowsPerSecond: 10,
        chunkRowsMax: 2,
      }),
    }),
  ],
  { inputs: [subscriptions, wildcards, commands] },
);

class World {
  readonly away = new Map<ShardId, ErrorCode>();
  readonly folder: TempFolder;
  shards: Provisioner;
  readonly #storage = new MemoryStorage();
  readonly #stores = memoryFolder();
  run!: Drive;
  #now = 1_700_000_000_000;
  #commands = 0;

  static async start(): Promise<World> {
    const world = new World(await tempFolder());
    await world.startAgain();
    for (let i = 0; i < 6; i++) await world.subscribe(`client-${i}`);
    await world.command(1, { kind: 'AllocateShard', shardId: TO, datastoreType: 'kv' });
    await world.pass(1);
    return world;
  }

  private constructor(folder: TempFolder) {
    this.folder = folder;
    this.shards = this.#opened();
  }

  /** The shards' processes end and start again. */
  async restartShards(): Promise<void> {
    await this.shards.close();
    this.shards = this.#opened();
  }

  #opened(): Provisioner {
    return localShards(this.folder.path, 1, () => this.run?.clock.now() ?? this.#now);
  }

  async startAgain(): Promise<void> {
    if (this.run !== undefined) {
      this.#now = this.run.clock.now();
      await this.run.stop();
    }
    const performs = effectsOver(this.#seen(), {
      rowsPerWrite: 100,
      partitions: 1,
      kindOf: (type) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE'),
    });
    this.run = await drive(topology, {
      start: this.#now,
      effects: performs,
      storage: this.#storage,
      stores: this.#stores,
    });
    await this.pass(1);
  }

  async close(): Promise<void> {
    await this.run.stop();
    await this.shards.close();
    await this.folder.remove();
  }

  async subscribe(clientId: string, topicFilter = 'alarm'): Promise<void> {
    const fields = { brokerId: 'b', qos: 1, timestamp: eventTime(1) };
    await this.run.send(subscriptions, topicFilter, { action: 'SUBSCRIBE', topicFilter, clientId, ...fields });
  }

  async unsubscribe(clientId: string, topicFilter: string): Promise<void> {
    const fields = { brokerId: 'b', qos: 0, timestamp: eventTime(2) };
    await this.run.send(subscriptions, topicFilter, { action: 'UNSUBSCRIBE', topicFilter, clientId, ...fields });
  }

  /** A topic that becomes a slice of its own, and stays where it is. */
  async carve(): Promise<void> {
    await this.subscribe('visitor', 'door');
    await this.command(2, { kind: 'SplitSlice', slice: SLICE, into: [SLICE, PIN] });
    await this.pass(1);
  }

  async command(at: number, body: Command['body']): Promise<void> {
    const id = `command-${this.#commands++}`;
    const value = { id, epoch: epoch(at), reason: '', deadline: eventTime(0), term: 1, planner: 'p', body };
    await this.run.send(commands, id, value);
  }

  async begin(): Promise<void> {
    const body = { kind: 'MoveSlice', moveId: MOVE, slice: SLICE, from: FROM, to: TO, rowsPerSecond: 0 } as const;
    await this.command(1, body);
  }

  async steer(action: SteerAction): Promise<void> {
    await this.command(NEW, { kind: 'SteerMove', moveId: MOVE, slice: SLICE, action, rowsPerSecond: 0 });
  }

  /** A whole move. `fate`: of its source, from the time on that it has been told how long it may answer. */
  async move(id: string, slice: SliceKey, from: ShardId, to: ShardId, at: number, fate?: 'is lost at its end') {
    const move = moveId(id);
    const steer = (action: SteerAction) =>
      this.command(at, { kind: 'SteerMove', moveId: move, slice, action, rowsPerSecond: 0 });
    await this.command(at - 1, { kind: 'MoveSlice', moveId: move, slice, from, to, rowsPerSecond: 0 });
    await this.pass(10);
    await steer('SWITCH');
    await this.pass(1);
    if (fate !== undefined) this.away.set(from, 'STORE_UNAVAILABLE');
    await steer('RETIRE');
    await this.pass(fate === undefined ? 5 : 600); // It is asked again after minutes by then.
    this.away.clear();
    expect(this.last).toMatchObject({ moveId: move, state: 'RETIRED' });
  }

  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) await this.run.advance(1_000);
  }

  async until(phase: Move['phase'], secondsMax = 60): Promise<void> {
    for (let i = 0; this.phase !== phase; i++) {
      if (i > 5 * secondsMax) throw new Error(`the move is ${this.phase} and not ${phase}`);
      await this.run.advance(200);
    }
  }

  get phase(): Move['phase'] | undefined {
    return (this.run.row('work', 'lives', 0, `move/${MOVE}`) as Move | undefined)?.phase;
  }

  told<Kind extends Progress['body']['kind']>(kind: Kind): Extract<Progress['body'], { kind: Kind }>[] {
    const bodies = this.run.read(progress).map(({ value }) => (value as Progress).body);
    return bodies.filter((body): body is Extract<Progress['body'], { kind: Kind }> => body.kind === kind);
  }

  get last(): MoveProgress {
    return this.told('MoveProgress').at(-1)!;
  }

  get left(): SliceLeft[] {
    return this.told('SliceLeft');
  }

  /** What a reader with that pointer gets, who reaches the shard whoever else does. */
  async ask(shard: ShardId, asker: number, filter = 'alarm'): Promise<readonly string[] | 'moved'> {
    const [answer] = await (await this.shards.store(shard)).lookup([filter], epoch(asker));
    return answer?.kind === 'found' ? answer.subscribers.map(({ clientId }) => clientId).sort() : 'moved';
  }

  /** The shards as the task has them. */
  #seen(): Provisioner {
    const check = (shard: ShardId): void => {
      const code = this.away.get(shard);
      if (code !== undefined) throw new AppError(code, `planted: ${shard} is away`, { shard });
    };
    const watched = (shard: ShardId, store: ShardStore): ShardStore =>
      new Proxy(store, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          return async (...given: unknown[]) => {
            check(shard);
            return value.apply(target, given);
          };
        },
      });
    return new Proxy(this.shards, {
      get: (_, name) => {
        const target = this.shards;
        const value = Reflect.get(target, name, target);
        if (typeof value !== 'function' || name === 'close' || name === 'sweep') return value;
        return async (shard: ShardId, ...given: unknown[]) => {
          check(shard);
          const result = await value.call(target, shard, ...given);
          return name === 'store' ? watched(shard, result) : result;
        };
      },
    });
  }
}

let world: World;
beforeEach(async () => {
  world = await World.start();
});
afterEach(() => world.close());

const CODES = ['STORE_UNAVAILABLE', 'SHARD_LOST'] as const;
const SIX = Array.from({ length: 6 }, (_, i) => `client-${i}`);
const EIGHT = [...SIX, 'client-6', 'client-7'];

describe('a source that is lost after the switch', () => {
  const PHASES: readonly { readonly at: string; readonly come: () => Promise<void> }[] = [
    { at: 'switched', come: () => world.steer('SWITCH') },
    {
      at: 'draining',
      come: async () => {
        await world.steer('SWITCH');
        await world.until('draining');
        await world.pass(7); // The source is told again and again that it may answer.
      },
    },
    {
      at: 'being told to go',
      come: async () => {
        await world.steer('SWITCH');
        await world.until('draining');
        world.away.set(FROM, 'STORE_UNAVAILABLE');
        await world.steer('RETIRE');
        expect(world.phase).toBe('leaving');
      },
    },
    {
      at: 'being erased',
      come: async () => {
        await world.steer('SWITCH');
        await world.until('draining');
        await world.steer('RETIRE');
        await world.until('retiring');
      },
    },
  ];
  for (const code of CODES)
    for (const { at, come } of PHASES)
      for (const returns of [true, false])
        test(`${at}, ${code}, ${returns ? 'and back later' : 'for ever'}: nothing waits for it, and it misleads nobody`, async () => {
          await world.begin();
          await world.until('verified');
          await come();
          world.away.set(FROM, code);
          const before = world.run.clock.now();
          await world.subscribe('client-6');
          await world.run.send(wildcards, 'a', { firstLevel: 'a', events: [WILDCARD] });
          expect(world.run.clock.now() - before).toBeLessThan(20_000);
          // Whatever has come in is there, and a late reader who still reaches the source gets no answer without it. A
          // source that has lost its data answers nobody, so nothing has to be waited for.
          const answersReaders = code === 'STORE_UNAVAILABLE';
          expect(await world.ask(TO, NEW)).toContain('client-6');
          if (answersReaders) expect(await world.ask(FROM, OLD)).toBe('moved');
          expect((await (await world.shards.store(TRIE)).lookup(['a/+'], OLD))[0]).toMatchObject({ kind: 'found' });

          if (world.phase !== 'retired' && !at.startsWith('being')) await world.steer('RETIRE');
          await world.until('retired');
          expect(world.last).toMatchObject({
            state: 'RETIRED',
            reason: expect.stringContaining(`no longer waits for ${FROM}`),
          });
          expect(world.left).toEqual([
            expect.objectContaining({ shardId: FROM, slice: SLICE, livesOn: TO, done: false }),
          ]);
          expect(world.left[0]!.reason).toContain(code);
          expect(world.run.meter.sum('foreshard_slices_left_total', { shard: FROM })).toBe(1);
          const quiet = world.run.clock.now();
          await world.subscribe('client-7');
          expect(world.run.clock.now()).toBe(quiet);
          await world.startAgain();
          expect(await world.ask(TO, NEW)).toEqual(EIGHT);
          if (!returns) return;

          world.away.clear();
          if (answersReaders) expect(await world.ask(FROM, OLD)).toBe('moved');
          await world.pass(40);
          expect(world.left.at(-1)).toMatchObject({ shardId: FROM, done: true });
          const store = await world.shards.store(FROM);
          expect(
            (await store.owners()).map(({ state, epoch: at, movedTo }) => ({ state, epoch: at, movedTo })),
          ).toEqual([{ state: 'moved', epoch: NEW, movedTo: TO }]);
          expect((await store.scan({ slice: SLICE, except: [] }, undefined, 10)).rows).toEqual([]);
          expect(await world.shards.release(FROM)).toBeUndefined();
        });

  test('away for a short time, it misses nothing and the move goes on with it', async () => {
    await world.begin();
    await world.until('verified');
    await world.steer('SWITCH');
    await world.until('draining');
    world.away.set(FROM, 'STORE_UNAVAILABLE');
    void world.run.clock.sleep(3_000).then(() => world.away.clear());
    await world.subscribe('client-6');
    expect(await world.ask(FROM, OLD)).toEqual([...SIX, 'client-6']);
    expect(await world.ask(TO, NEW)).toEqual([...SIX, 'client-6']);
    await world.pass(20);
    expect(await world.ask(FROM, OLD)).toEqual([...SIX, 'client-6']);
    await world.steer('RETIRE');
    await world.until('retired');
    expect(world.left).toEqual([]);
    expect(await world.ask(FROM, OLD)).toBe('moved');
  });

  test('away while nothing comes in, it is given up once it may answer nobody', async () => {
    await world.begin();
    await world.until('verified');
    await world.steer('SWITCH');
    await world.until('draining');
    world.away.set(FROM, 'STORE_UNAVAILABLE');
    await world.pass(40);
    expect(world.left).toHaveLength(1);
    expect(world.last).toMatchObject({
      state: 'DRAINING',
      reason: expect.stringContaining(`no longer waits for ${FROM}`),
    });
    expect(await world.ask(FROM, OLD)).toBe('moved');
  });

  test('the slice comes back to it while it is still to be told: the move that brings it does so', async () => {
    await world.begin();
    await world.until('verified');
    await world.steer('SWITCH');
    world.away.set(FROM, 'STORE_UNAVAILABLE');
    await world.subscribe('client-6');
    await world.steer('RETIRE');
    await world.until('retired');
    const back = moveId('move-2');
    const body = { kind: 'MoveSlice', moveId: back, slice: SLICE, from: TO, to: FROM, rowsPerSecond: 0 } as const;
    world.away.clear();
    await world.command(NEW, body);
    await world.pass(10);
    const steer = { kind: 'SteerMove', moveId: back, slice: SLICE, action: 'SWITCH', rowsPerSecond: 0 } as const;
    await world.command(NEW + 1, steer);
    await world.pass(400);
    expect(await world.ask(FROM, NEW + 1)).toEqual([...SIX, 'client-6']);
  });
});

describe('a part of a topic whose source was given up, and to which the topic comes back in other parts', () => {
  const [former, parts] = [spreadSlices('door', 2), spreadSlices('door', 3)];
  const CLIENTS = Array.from({ length: 12 }, (_, i) => `visitor-${i}`).sort();
  const answered = (): Promise<readonly string[] | 'moved'> => world.ask(FROM, 30, 'door');

  /** One part stays where it was: what the source has not been told is of a part that no longer is a slice. */
  beforeEach(async () => {
    await world.carve();
    for (const client of CLIENTS) await world.subscribe(client, 'door');
    await world.unsubscribe('visitor', 'door');
    await world.command(2, { kind: 'SplitSlice', slice: PIN, into: former });
    await world.move('away-0', former[0]!, FROM, TO, 5, 'is lost at its end');
    await world.move('away-1', former[1]!, FROM, TO, 6);
    await world.command(6, { kind: 'MergeSlices', slices: former, into: PIN });
    await world.command(7, { kind: 'SplitSlice', slice: PIN, into: parts });
  });

  test('its rows there stay when the source is told of the part and emptied', async () => {
    for (const [i, part] of parts.entries()) await world.move(`back-${i}`, part, TO, FROM, 10 + i);
    expect(world.left.at(-1)).toMatchObject({ shardId: FROM, done: false });
    expect(await answered()).toEqual(CLIENTS);
    await world.pass(300);
    expect(world.left.at(-1)).toMatchObject({ shardId: FROM, done: true });
    expect(await answered()).toEqual(CLIENTS);
  });

  test('nor are they lost once those parts have come together', async () => {
    for (const [i, part] of parts.entries()) await world.move(`back-${i}`, part, TO, FROM, 10 + i);
    await world.command(20, { kind: 'MergeSlices', slices: parts, into: PIN });
    await world.command(21, { kind: 'MergeSlices', slices: [SLICE, PIN], into: SLICE });
    expect(await answered()).toEqual(CLIENTS);
    await world.pass(300);
    expect(await answered()).toEqual(CLIENTS);
  });
});

describe('a source that has acknowledged no lease', () => {
  const CASES: readonly { readonly name: string; readonly come: () => Promise<void> }[] = [
    {
      name: 'away when the switch comes',
      come: async () => {
        world.away.set(FROM, 'STORE_UNAVAILABLE');
        await world.steer('SWITCH');
      },
    },
    {
      name: 'away for an hour from then on, while nothing comes in',
      come: async () => {
        world.away.set(FROM, 'STORE_UNAVAILABLE');
        await world.steer('SWITCH');
        await world.pass(3_600);
      },
    },
    {
      name: 'away, and told to go',
      come: async () => {
        world.away.set(FROM, 'STORE_UNAVAILABLE');
        await world.steer('SWITCH');
        await world.steer('RETIRE');
        await world.pass(60);
      },
    },
    {
      name: 'away when the task starts anew',
      come: async () => {
        world.away.set(FROM, 'STORE_UNAVAILABLE');
        await world.steer('SWITCH');
        await world.startAgain();
      },
    },
  ];
  for (const { name, come } of CASES)
    test(`${name}: it is waited for, and answers nobody without what has come in since`, async () => {
      await world.begin();
      await world.until('verified');
      await come();
      await world.pass(1);
      expect(world.left).toEqual([]);
      expect(world.last.reason).toContain(`waits for ${FROM}`);
      void world.run.clock.sleep(60_000).then(() => world.away.clear());
      await world.subscribe('client-6');
      expect(world.away.size).toBe(0);
      expect(await world.ask(TO, NEW)).toEqual([...SIX, 'client-6']);
      const late = await world.ask(FROM, OLD);
      if (late !== 'moved') expect(late).toEqual([...SIX, 'client-6']);
      await world.pass(20);
      if (world.phase !== 'retired') await world.steer('RETIRE');
      await world.until('retired');
      expect(world.left).toEqual([]);
      expect(await world.ask(FROM, OLD)).toBe('moved');
    });
});

describe('a topic that stays at the source when the slice around it goes', () => {
  test('it is found there when the lease has run out, when the source is given up, and when it has been emptied', async () => {
    await world.carve();
    await world.begin();
    await world.until('verified');
    await world.steer('SWITCH');
    await world.until('draining');
    world.away.set(FROM, 'STORE_UNAVAILABLE'); // For the task: readers reach it.
    await world.pass(11);
    expect(await world.ask(FROM, OLD)).toBe('moved');
    expect(await world.ask(FROM, NEW, 'door')).toEqual(['visitor']);
    await world.subscribe('client-6');
    await world.steer('RETIRE');
    await world.until('retired');
    expect(world.left).toHaveLength(1);
    expect(await world.ask(FROM, NEW, 'door')).toEqual(['visitor']);
    world.away.clear();
    await world.pass(300);
    expect(world.left.at(-1)).toMatchObject({ shardId: FROM, done: true });
    expect(await world.ask(FROM, OLD)).toBe('moved');
    for (const asker of [OLD, NEW]) expect(await world.ask(FROM, asker, 'door')).toEqual(['visitor']);

    const id = moveId('move-2');
    await world.command(NEW, { kind: 'MoveSlice', moveId: id, slice: PIN, from: FROM, to: TO, rowsPerSecond: 0 });
    await world.pass(60);
    expect(world.last).toMatchObject({ moveId: id, state: 'VERIFIED' });
  });

  test('it is found there though the source comes back with the records of before the switch', async () => {
    await world.carve();
    await world.begin();
    await world.until('verified');
    await world.steer('SWITCH');
    await world.until('draining');
    world.away.set(FROM, 'STORE_UNAVAILABLE');
    await world.subscribe('client-6');
    await world.steer('RETIRE');
    await world.until('retired');
    const store = await world.shards.store(FROM);
    const record = (await store.owners()).find(({ slice }) => slice === PIN)!;
    await store.disown(PIN, { state: 'owned', epoch: record.epoch });
    await world.restartShards();
    world.away.clear();
    await world.pass(300);
    expect(world.left.at(-1)).toMatchObject({ shardId: FROM, done: true });
    expect(await world.ask(FROM, NEW, 'door')).toEqual(['visitor']);
  });
});

describe('a source that is lost before the switch', () => {
  for (const code of CODES)
    test(`${code}: the move waits for it, keeps what it has copied, and says so`, async () => {
      await world.begin();
      await world.until('copying');
      await world.run.advance(300);
      const copied = await rowsAt(TO);
      expect(copied).toBeGreaterThan(0);
      expect(copied).toBeLessThan(6);
      world.away.set(FROM, code);
      await world.pass(300);
      expect(world.phase).toBe('copying');
      expect(await rowsAt(TO)).toBeGreaterThanOrEqual(copied);
      expect(world.last).toMatchObject({ state: 'COPYING', reason: expect.stringContaining(`waits for ${FROM}`) });
      expect(world.last.reason).toContain(code);
      await world.startAgain();
      await world.pass(60);
      expect(world.phase).toBe('copying');

      world.away.clear();
      await world.until('verified');
      await world.steer('SWITCH');
      expect(await world.ask(TO, NEW)).toEqual(SIX);
    });

  test('and it is given up at the word of a person', async () => {
    await world.begin();
    await world.until('copying');
    world.away.set(FROM, 'SHARD_LOST');
    await world.pass(60);
    await world.steer('ABORT');
    await world.until('aborted');
    expect(await rowsAt(TO)).toBe(0);
  });
});

describe('a target that is away while its move is given up', () => {
  for (const code of CODES)
    test(`${code}: it is told and emptied once it is back, and can go`, async () => {
      await world.begin();
      await world.until('copying');
      await world.pass(1);
      world.away.set(TO, code);
      await world.steer('ABORT');
      await world.until('aborted', 200);
      expect(world.last).toMatchObject({
        state: 'ABORTED',
        reason: expect.stringContaining(`rows may be left at ${TO}`),
      });
      expect(world.left).toEqual([expect.objectContaining({ shardId: TO, slice: SLICE, livesOn: FROM, done: false })]);
      await world.subscribe('client-6');
      expect(await world.ask(FROM, OLD)).toEqual([...SIX, 'client-6']);
      await world.startAgain();
      world.away.clear();
      await world.pass(40);
      expect(world.left.at(-1)).toMatchObject({ shardId: TO, done: true });
      expect(await rowsAt(TO)).toBe(0);
      await world.command(2, { kind: 'RetireShard', shardId: TO });
      expect(world.told('ShardProgress').at(-1)).toMatchObject({ shardId: TO, state: 'RELEASED' });
    });
});

test('a shard that is away while it is to go holds nothing up, and goes once it is back', async () => {
  world.away.set(TO, 'STORE_UNAVAILABLE');
  const before = world.run.clock.now();
  await world.command(2, { kind: 'RetireShard', shardId: TO });
  await world.subscribe('client-6');
  expect(world.run.clock.now()).toBe(before);
  await world.pass(130);
  expect(world.told('ShardProgress').at(-1)?.state).not.toBe('RELEASED');
  world.away.clear();
  await world.pass(61);
  expect(world.told('ShardProgress').at(-1)).toMatchObject({ shardId: TO, state: 'RELEASED' });
});

const WILDCARD = {
  action: 'SUBSCRIBE',
  topicFilter: 'a/+',
  clientId: 'c',
  brokerId: 'b',
  qos: 0,
  timestamp: eventTime(1),
  offset: 9,
  incarnation: 0,
};

async function rowsAt(shard: ShardId): Promise<number> {
  const store = await world.shards.store(shard);
  return (await store.scan({ slice: SLICE, except: [] }, undefined, 100)).rows.length;
}
