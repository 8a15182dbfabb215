import { describe, expect, test } from 'vitest';
import { APPLY_DEFAULTS, carryOut, partitionStates, type Row } from '../../../processors/apply/apply.ts';
import type { PartitionState } from '../../../processors/apply/partition-state.ts';
import { TABLE_UNREAD } from '../../../processors/step.ts';
import { epoch, eventTime, moveId, type ShardId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command, Progress, SubscriptionEvent } from '../../../schemas/records.ts';
import type { Effect, Outcome } from '../../../state/effects.ts';
import { groupSlice, partitionOf } from '../../../state/keys.ts';

const PARTITIONS = 4;
const settings = {
  ...APPLY_DEFAULTS,
  partitions: PARTITIONS,
  incarnation: 2,
  genesis: { concreteType: 'kv', trieType: 'trie' },
  commandsKept: 3,
  provisionTriesMax: 2,
};

/** A filter of the partition that the task under test works on. */
const filterOf = (partition: number, from = 0): string => {
  let i = from;
  while (partitionOf(`f${i}`, PARTITIONS) !== partition) i++;
  return `f${i}`;
};

class Task {
  rows = new Map<string, Row>();
  readonly partition: number;
  readonly step = carryOut(settings);
  offset = 0;

  constructor(partition: number) {
    this.partition = partition;
  }

  feed(input: object): { effects: Effect[]; told: Progress['body'][] } {
    const at = { partition: this.partition, offset: this.offset++, key: '' };
    const out = this.step(this.rows, { ...at, ...input } as never);
    return {
      effects: out.filter(({ topic }) => topic === 'effects').map(({ value }) => value as Effect),
      told: out.filter(({ topic }) => topic === 'progress').map(({ value }) => (value as Progress).body),
    };
  }

  event(topicFilter: string, action = 'SUBSCRIBE', clientId = 'c', more: Partial<SubscriptionEvent> = {}) {
    const value = { action, topicFilter, clientId, brokerId: 'b', qos: 1, timestamp: 5, ...more };
    return this.feed({ topic: 'subscriptions', value });
  }

  tick(wallTime = 1_000) {
    return this.feed({ topic: 'clock', value: { eventTime: 77, wallTime } });
  }

  hear(value: Outcome) {
    return this.feed({ topic: 'outcomes', value });
  }

  command(body: Command['body'], id = `c${this.offset}`, at = 9, by: Partial<Command> = {}) {
    const value: Command = {
      id,
      epoch: epoch(at),
      reason: 'why',
      deadline: eventTime(0),
      body,
      term: 1,
      planner: 'p',
      ...by,
    };
    return this.feed({ topic: 'commands', value });
  }

  restart(): void {
    this.rows = new Map([...this.rows].map(([key, row]) => [key, partitionStates.decode(partitionStates.encode(row))]));
  }

  provisioned(shard: string, state: 'pending' | 'ready' | 'failed' | 'lost', datastoreType = 'kv', address = '') {
    return this.hear({
      kind: 'provisioned',
      shard: shardId(shard),
      datastoreType,
      state,
      storeKind: 'KEY_VALUE',
      instanceId: 'i',
      address,
      reason: '',
    });
  }
}

const kinds = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);
const firstShard: ShardId = shardId('shard-0001');
const reporter = partitionOf(firstShard, PARTITIONS);
const other = (reporter + 1) % PARTITIONS;

describe('apply: the first shards', () => {
  for (const first of ['a tick', 'an event'] as const)
    test(`${first} as first input asks for the shards and owns the slices before anything else`, () => {
      const task = new Task(1);
      const { effects } = first === 'a tick' ? task.tick() : task.event(filterOf(1));
      expect(kinds(effects).slice(0, 4)).toEqual(['provision', 'provision', 'own', 'own']);
      if (first === 'an event') expect(effects[4]).toMatchObject({ kind: 'write', shard: 'shard-0001' });
    });

  test('each tick asks again until the shard is ready', () => {
    const task = new Task(other);
    task.tick();
    expect(kinds(task.tick().effects).filter((kind) => kind === 'provision')).toHaveLength(2);
    task.provisioned('shard-0001', 'pending');
    task.provisioned('shard-0001', 'ready');
    task.provisioned('shard-0002', 'ready', 'trie');
    expect(kinds(task.tick().effects)).not.toContain('provision');
  });

  test('one task reports about a shard, and once', () => {
    const states = [reporter, other].map((partition) => {
      const task = new Task(partition);
      task.tick();
      const ready = [task.provisioned('shard-0001', 'ready'), task.provisioned('shard-0001', 'ready')];
      return ready.flatMap(({ told }) => told.map((body) => 'state' in body && body.state));
    });
    expect(states).toEqual([['READY'], []]);
  });

  test('a restart asks for them again, and tells only of a new address', () => {
    const task = new Task(reporter);
    task.tick();
    task.provisioned('shard-0001', 'ready', 'kv', 'http://a:1');
    task.restart();
    const again = task.tick();
    expect(again.effects).toContainEqual({
      kind: 'provision',
      shard: 'shard-0001',
      datastoreType: 'kv',
      resize: false,
      create: false,
      instanceId: 'i',
    });
    expect(again.told).toEqual([]);
    task.restart();
    task.tick();
    expect(task.provisioned('shard-0001', 'ready', 'kv', 'http://a:2').told).toMatchObject([{ address: 'http://a:2' }]);
  });
});

describe('apply: a shard is made while it is being allocated alone', () => {
  const asked = (effects: readonly Effect[], shard = firstShard) =>
    effects.flatMap((each) =>
      each.kind === 'provision' && each.shard === shard ? [[each.create, each.instanceId]] : [],
    );

  test('every task of genesis may make the first shards, until they are ready', () => {
    for (const partition of [reporter, other]) {
      const task = new Task(partition);
      expect(asked(task.tick().effects)).toContainEqual([true, '']);
      expect(asked(task.tick().effects)).toEqual([[true, '']]);
    }
  });

  test('after a start no task makes a shard that was ready, also where the loss went unnoticed', () => {
    for (const [partition, known] of [
      [reporter, 'i'],
      [other, ''],
    ] as const) {
      const task = new Task(partition);
      task.tick();
      task.provisioned('shard-0001', 'ready');
      task.restart();
      for (const each of asked(task.tick().effects)) expect(each).toEqual([false, known]);
    }
  });

  test('a lost shard is asked for at every tick, never given up, and is ready again when it is back', () => {
    const task = new Task(reporter);
    task.tick();
    task.provisioned('shard-0001', 'ready');
    task.restart();
    task.tick();
    for (let i = 0; i < 2 * settings.provisionTriesMax; i++)
      expect(task.provisioned('shard-0001', 'lost').told).toEqual([]);
    expect(asked(task.tick().effects)).toEqual([[false, 'i']]);
    task.provisioned('shard-0001', 'ready');
    expect(asked(task.tick().effects)).toEqual([]);
  });

  test('a resize of a shard that was ready never makes it', () => {
    const task = new Task(reporter);
    task.tick();
    task.provisioned('shard-0001', 'ready');
    const { effects } = task.command({ kind: 'ResizeShard', shardId: firstShard, datastoreType: 'kv-large' });
    expect(asked(effects)).toEqual([[false, 'i']]);
  });
});

describe('apply: events', () => {
  const task = new Task(2);
  task.tick();

  test('a subscription is written with its place in the topic as version', () => {
    const filter = filterOf(2);
    const { effects } = task.event(filter);
    expect(effects).toEqual([
      {
        kind: 'write',
        shard: 'shard-0001',
        rows: [
          {
            filter,
            clientId: 'c',
            brokerId: 'b',
            qos: 1,
            version: { incarnation: 2, offset: task.offset - 1 },
            gone: false,
            at: 5,
          },
        ],
      },
    ]);
  });

  test('a removal is written as a tombstone', () => {
    expect(task.event(filterOf(2), 'UNSUBSCRIBE').effects).toMatchObject([{ rows: [{ gone: true }] }]);
  });

  test('a row has the options of its subscription where there are any; a removal and a session epoch add none', () => {
    const options = { noLocal: true, retainAsPublished: false, retainHandling: 2, subscriptionIdentifier: 7 };
    const none = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
    const rowOf = ({ effects: [each] }: { effects: Effect[] }) => each?.kind === 'write' && each.rows[0];
    expect(rowOf(task.event(filterOf(2), 'SUBSCRIBE', 'c', options))).toMatchObject({ qos: 1, options });
    for (const [action, more] of [
      ['SUBSCRIBE', none],
      ['SUBSCRIBE', { ...none, sessionEpoch: 9 }],
      ['UNSUBSCRIBE', options],
    ] as const)
      expect(rowOf(task.event(filterOf(2), action, 'c', more))).not.toHaveProperty('options');
    const trie = { action: 'SUBSCRIBE', topicFilter: 'a/+', clientId: 'c', brokerId: 'b', qos: 0, timestamp: 5 };
    const events = [{ ...trie, ...options, offset: 7, incarnation: 2 }];
    const value = { firstLevel: 'a', events };
    expect(rowOf(task.feed({ topic: 'wildcard-subscriptions', value }))).toMatchObject({ filter: 'a/+', options });
  });

  test('a trie filter comes by its own topic, with the offset of its source', () => {
    expect(task.event('a/+').effects).toEqual([]);
    const event = { action: 'SUBSCRIBE', topicFilter: 'a/+', clientId: 'c', brokerId: 'b', qos: 0, timestamp: 5 };
    const events = [40, 41, 42].map((offset) => ({ ...event, offset, incarnation: 2 }));
    const { effects } = task.feed({ topic: 'wildcard-subscriptions', value: { firstLevel: 'a', events } });
    expect(effects).toHaveLength(1);
    expect(effects[0]).toMatchObject({
      shard: 'shard-0002',
      rows: [40, 41, 42].map((offset) => ({ version: { offset } })),
    });
  });

  test('a trie event keeps the incarnation that it was read in; one of an earlier release has that of today', () => {
    const event = { action: 'SUBSCRIBE', topicFilter: 'a/+', clientId: 'c', brokerId: 'b', qos: 0, timestamp: 5 };
    const events = [1, 2, -1].map((incarnation) => ({ ...event, offset: 1_000_000, incarnation }));
    const { effects } = task.feed({ topic: 'wildcard-subscriptions', value: { firstLevel: 'a', events } });
    expect(effects).toMatchObject([
      { rows: [1, 2, 2].map((incarnation) => ({ version: { incarnation, offset: 1_000_000 } })) },
    ]);
  });
});

describe('apply: splits and merges', () => {
  const fresh = (): Task => {
    const task = new Task(0);
    task.tick();
    return task;
  };
  const c = sliceKey('c/0/');
  const halves = [sliceKey('c/0/0'), sliceKey('c/0/1')];
  const pin = sliceKey(`t/${filterOf(0)}`);

  test('a split owns the new slices before it forgets the old one', () => {
    const { effects, told } = fresh().command({ kind: 'SplitSlice', slice: c, into: halves }, 'split');
    expect(
      effects.map((each) => [each.kind, 'owner' in each ? each.owner.slice : 'slice' in each && each.slice]),
    ).toEqual([
      ['own', 'c/0/0'],
      ['own', 'c/0/1'],
      ['disown', 'c/0/'],
    ]);
    expect(told).toEqual([{ kind: 'SliceProgress', commandId: 'split', done: true, reason: '' }]);
  });

  test('a slice carved out of one that stays is covered by its record until it moves', () => {
    const { effects, told } = fresh().command({ kind: 'SplitSlice', slice: c, into: [c, pin] });
    expect(effects).toEqual([]);
    expect(told).toMatchObject([{ done: true }]);
  });

  test('a merge is the way back, and events follow', () => {
    const task = fresh();
    task.command({ kind: 'SplitSlice', slice: c, into: [c, pin] });
    task.command({ kind: 'SplitSlice', slice: c, into: halves });
    task.restart();
    const { effects, told } = task.command({ kind: 'MergeSlices', slices: halves, into: c });
    expect(kinds(effects).slice(-3)).toEqual(['own', 'disown', 'disown']);
    expect(told).toMatchObject([{ done: true }]);
    expect(task.event(filterOf(0)).effects).toMatchObject([{ kind: 'write', shard: 'shard-0001' }]);
  });

  test('no row grows with the number of pins, however long these are', () => {
    const task = fresh();
    const pins = Array.from({ length: 40 }, (_, i) => `${filterOf(task.partition, i * 1_000)}/${'x'.repeat(60_000)}`);
    const own = pins.filter((filter) => partitionOf(filter, PARTITIONS) === task.partition);
    for (const filter of own)
      task.command({ kind: 'SplitSlice', slice: c, into: [c, sliceKey(`t/${filter}`)] }, filter.slice(0, 20));
    expect(own.length).toBeGreaterThan(4);
    const sizes = [...task.rows].map(([, row]) => partitionStates.encode(row).length);
    expect(Math.max(...sizes)).toBeLessThan(64 * 1024);
    task.restart();
    task.tick();
    const { effects } = task.command({ kind: 'MergeSlices', slices: [c, sliceKey(`t/${own[0]}`)], into: c });
    expect(effects).toMatchObject([{ kind: 'disown', shard: firstShard, slice: `t/${own[0]}` }]);
  });

  test('the slices of an earlier release, all in one row, are read, and then have their own', () => {
    const task = fresh();
    task.command({ kind: 'SplitSlice', slice: c, into: [c, pin] });
    const slices = [...task.rows.values()].flatMap((row) =>
      row.kind === 'slice' ? [[row.slice, row.shard, row.epoch]] : [],
    );
    const { kind, partitions, partition, finished, eventTime } = task.rows.get('life') as PartitionState;
    const earlier = { kind, partitions, partition, slices, finished, eventTime };
    for (const key of [...task.rows.keys()]) if (key.startsWith('slice/')) task.rows.delete(key);
    task.rows.set('life', partitionStates.decode(Buffer.from(JSON.stringify(earlier))));
    task.tick();
    task.command({ kind: 'SplitSlice', slice: c, into: halves });
    task.restart();
    task.tick();
    const left = [...task.rows.values()].flatMap((row) => (row.kind === 'slice' ? [row.slice] : []));
    expect(left.sort()).toEqual([pin, ...halves, groupSlice(task.partition)].sort());
  });

  test('the same command twice has one effect, also after a restart', () => {
    const task = fresh();
    task.command({ kind: 'SplitSlice', slice: c, into: halves }, 'once');
    task.restart();
    task.tick();
    expect(task.command({ kind: 'SplitSlice', slice: c, into: halves }, 'once')).toEqual({ effects: [], told: [] });
  });

  test('command ids are forgotten, oldest first', () => {
    const task = fresh();
    for (const id of ['a', 'b']) task.command({ kind: 'RetireShard', shardId: firstShard }, id);
    task.restart();
    task.tick();
    for (const id of ['c', 'd']) task.command({ kind: 'RetireShard', shardId: firstShard }, id);
    expect([...task.rows.keys()].filter((key) => key.startsWith('command/'))).toEqual(
      ['b', 'c', 'd'].map((id) => `command/${id}`),
    );
  });

  for (const { name, body, reason } of [
    {
      name: 'a split of an unknown slice',
      body: { kind: 'SplitSlice', slice: sliceKey('c/0/11'), into: halves },
      reason: 'c/0/11 is not a slice',
    },
    {
      name: 'a split into nonsense',
      body: { kind: 'SplitSlice', slice: c, into: [sliceKey('?'), sliceKey('')] },
      reason: 'c/0/ splits into its two halves alone',
    },
    {
      name: 'a merge of unknown slices',
      body: { kind: 'MergeSlices', slices: halves, into: c },
      reason: 'c/0/0 is not a slice',
    },
    {
      name: 'a merge of nothing',
      body: { kind: 'MergeSlices', slices: [], into: c },
      reason: ' do not make up c/0/',
    },
    {
      name: 'steering a move that never was',
      body: { kind: 'SteerMove', moveId: moveId('m'), slice: c, action: 'SWITCH', rowsPerSecond: 0 },
      reason: 'there is no move m',
    },
  ] as const)
    test(`refused: ${name}`, () => {
      const { effects, told } = fresh().command(body);
      expect(effects).toEqual([]);
      expect(told).toMatchObject([{ kind: 'SliceProgress', done: false, reason }]);
    });

  const moving = (task: Task, to = 'shard-0007', slice = c) =>
    task.command({
      kind: 'MoveSlice',
      moveId: moveId('m'),
      slice,
      from: firstShard,
      to: shardId(to),
      rowsPerSecond: 0,
    });

  for (const { name, before, reason } of [
    { name: 'an unknown slice', before: (task: Task) => moving(task, 'shard-0007', pin), reason: 'is not a slice' },
    {
      name: 'to where it is',
      before: (task: Task) => moving(task, 'shard-0001'),
      reason: 'is on shard-0001 already',
    },
    {
      name: 'from where it is not',
      before: (task: Task) => moving(task, 'shard-0007', sliceKey('w/0/')),
      reason: 'lives on shard-0002, not on shard-0001',
    },
    {
      name: 'one that moves',
      before: (task: Task) => {
        moving(task);
        return task.command({
          kind: 'MoveSlice',
          moveId: moveId('n'),
          slice: c,
          from: firstShard,
          to: shardId('shard-0008'),
          rowsPerSecond: 0,
        });
      },
      reason: 'c/0/ is in a move',
    },
  ])
    test(`a move is refused: ${name}`, () => {
      const [body] = before(fresh()).told;
      expect(body).toMatchObject({ kind: 'MoveProgress', state: 'ABORTED' });
      expect(body).toHaveProperty('reason', expect.stringContaining(reason));
    });

  test('a slice that moves is neither split nor merged, and its shards are not released', () => {
    const task = fresh();
    moving(task);
    expect(task.command({ kind: 'SplitSlice', slice: c, into: [c, pin] }).told).toMatchObject([{ done: false }]);
    for (const shard of ['shard-0001', 'shard-0007'])
      expect(task.command({ kind: 'RetireShard', shardId: shardId(shard) }).told).toMatchObject([{ state: 'FAILED' }]);
  });
});

describe('apply: shards on command', () => {
  const shard = shardId('shard-0042');
  const allocated = (): Task => {
    const task = new Task(0);
    task.tick(5_000);
    const { effects, told } = task.command({ kind: 'AllocateShard', shardId: shard, datastoreType: 'big' });
    expect(effects).toEqual([
      { kind: 'provision', shard, datastoreType: 'big', resize: false, create: true, instanceId: '' },
    ]);
    expect(told).toMatchObject([{ state: 'PROVISIONING' }]);
    return task;
  };

  test('ready is told with the time it took', () => {
    const task = allocated();
    task.tick(7_500);
    expect(task.provisioned(shard, 'ready', 'big').told).toMatchObject([{ state: 'READY', tookMs: 2_500 }]);
  });

  test('a resize asks with the new type, and an answer about the old one is not taken for it', () => {
    const task = allocated();
    task.provisioned(shard, 'ready', 'big');
    const { effects } = task.command({ kind: 'ResizeShard', shardId: shard, datastoreType: 'huge' });
    expect(effects).toEqual([
      { kind: 'provision', shard, datastoreType: 'huge', resize: true, create: false, instanceId: 'i' },
    ]);
    expect(task.provisioned(shard, 'ready', 'big').told).toEqual([]);
    expect(task.provisioned(shard, 'ready', 'huge').told).toMatchObject([{ state: 'RESIZED', datastoreType: 'huge' }]);
  });

  test('it is given up after the stated tries, and can be asked for anew', () => {
    const task = allocated();
    expect(task.provisioned(shard, 'failed', 'big').told).toEqual([]);
    expect(task.provisioned(shard, 'failed', 'big').told).toMatchObject([{ state: 'FAILED' }]);
    expect(task.tick().effects).not.toContainEqual(expect.objectContaining({ shard }));
    task.command({ kind: 'AllocateShard', shardId: shard, datastoreType: 'big' });
    expect(task.provisioned(shard, 'ready', 'big').told).toMatchObject([{ state: 'READY' }]);
  });

  test('an empty shard is released once, and a restart in between releases it again', () => {
    const task = allocated();
    expect(task.command({ kind: 'RetireShard', shardId: shard }).effects).toEqual([{ kind: 'release', shard }]);
    task.restart();
    expect(task.tick().effects).toContainEqual({ kind: 'release', shard });
    expect(task.hear({ kind: 'released', shard, refused: '' }).told).toMatchObject([{ state: 'RELEASED' }]);
    expect(task.hear({ kind: 'released', shard, refused: '' }).told).toEqual([]);
  });

  test('a release that the store refuses leaves the shard as it was, and the planner is told what partitionStates there', () => {
    const task = allocated();
    task.provisioned(shard, 'ready', 'big');
    task.command({ kind: 'RetireShard', shardId: shard });
    expect(task.hear({ kind: 'released', shard, refused: 'c/2/ is owned here' }).told).toMatchObject([
      { state: 'FAILED', datastoreType: 'big', reason: 'not released: c/2/ is owned here' },
    ]);
    expect(task.tick().effects).not.toContainEqual({ kind: 'release', shard });
    task.restart();
    expect(task.tick().effects).toContainEqual(expect.objectContaining({ kind: 'provision', shard }));
  });

  test('a shard that this task never asked for is not its to keep when the store refuses to go', () => {
    const task = allocated();
    const foreign = shardId('shard-0077');
    expect(task.command({ kind: 'RetireShard', shardId: foreign }).effects).toEqual([
      { kind: 'release', shard: foreign },
    ]);
    expect(task.hear({ kind: 'released', shard: foreign, refused: 'c/2/ is owned here' }).told).toMatchObject([
      { state: 'FAILED' },
    ]);
    task.restart();
    expect(task.tick().effects).not.toContainEqual(expect.objectContaining({ shard: foreign }));
  });
});

describe('apply: who commands', () => {
  const pin = sliceKey(`t/${filterOf(3)}`);
  const split = { kind: 'SplitSlice', slice: sliceKey('c/3/'), into: [sliceKey('c/3/'), pin] } as const;
  const known = (): Task => {
    const task = new Task(3);
    task.tick();
    task.command({ kind: 'AllocateShard', shardId: shardId('shard-0042'), datastoreType: 'kv' }, 'first', 9, {
      term: 5,
    });
    return task;
  };

  for (const { name, by, constraint } of [
    { name: 'nobody says who it is', by: { term: 0, planner: '' }, constraint: 'no-identity' },
    { name: 'a planner that was replaced', by: { term: 4 }, constraint: 'old-term' },
    { name: 'another planner in the same term', by: { term: 5, planner: 'q' }, constraint: 'another-planner' },
    { name: 'a term that uses them all up', by: { term: 2 ** 52 }, constraint: 'implausible-term' },
  ])
    test(`a command is refused and told, changes nothing, and takes nobody’s id: ${name}`, () => {
      const task = known();
      task.restart();
      const { effects, told } = task.command(split, 'second', 9, by);
      expect(effects.filter(({ kind }) => kind === 'own')).toEqual([]);
      expect(told).toMatchObject([{ kind: 'CommandRefused', commandId: 'second', constraint, term: 5 }]);
      expect(task.command(split, 'second', 9, { term: 5 }).told).toMatchObject([{ kind: 'SliceProgress', done: true }]);
    });

  test('the next planner is obeyed from its first word on, and the one before no more', () => {
    const task = known();
    expect(task.command(split, 'second', 9, { term: 6, planner: 'q' }).told).toMatchObject([{ done: true }]);
    expect(task.command(split, 'third', 9, { term: 5 }).told).toMatchObject([{ constraint: 'old-term' }]);
  });

  test('commands of an earlier release are obeyed until the first that names its planner', () => {
    const task = new Task(3);
    task.tick();
    expect(task.command(split, 'first', 9, { term: 0, planner: '' }).told).toMatchObject([{ done: true }]);
  });

  test('somebody who foresees the id of a command does not keep it from being obeyed', () => {
    const task = known();
    task.command({ kind: 'RetireShard', shardId: shardId('shard-0099') }, 'second', 9, { term: 5 });
    expect(task.command(split, 'second', 9, { term: 5 }).told).toMatchObject([{ done: true }]);
    expect(task.command(split, 'second', 9, { term: 5 }).told).toEqual([]);
  });
});

describe('apply: commands ahead of the pointer table', () => {
  const split = { kind: 'SplitSlice', slice: sliceKey('c/3/'), into: [sliceKey('c/3/0'), sliceKey('c/3/1')] } as const;
  const told = (pointerEpoch: number, wallTime: number, task: Task) =>
    task.feed({ topic: 'clock', value: { eventTime: 77, wallTime, pointerEpoch } }).told;
  const known = (): Task => {
    const task = new Task(3);
    told(7, 1_000, task);
    return task;
  };

  test('one waits until its epoch was published, over a restart too', () => {
    const task = known();
    expect(task.command(split, 'first', 8).told).toEqual([]);
    told(7, 2_000, task);
    task.restart();
    expect(told(7, 3_000, task)).toEqual([]);
    expect(told(8, 4_000, task)).toMatchObject([{ kind: 'SliceProgress', commandId: 'first', done: true }]);
    expect(told(8, 5_000, task)).toEqual([]);
  });

  test('those that wait are carried out in the order of their topic, also after a restart, which finds rows by key', () => {
    const task = known();
    task.command(split, 'command-9', 8);
    task.command(merge, 'command-10', 8);
    const byKey = [...task.rows].sort(([a], [b]) => (a < b ? -1 : 1));
    task.rows.clear();
    for (const [key, row] of byKey) task.rows.set(key, row);
    task.restart();
    expect(told(8, 4_000, task)).toMatchObject([
      { commandId: 'command-9', done: true },
      { commandId: 'command-10', done: true },
    ]);
  });

  const merge = { kind: 'MergeSlices', slices: split.into, into: split.slice } as const;

  test('after a start those that come wait behind those that wait, and while the table is still read', () => {
    const task = known();
    task.command(split, 'first', 8);
    task.restart();
    expect(task.command(merge, 'second', 9).told).toEqual([]);
    expect(told(TABLE_UNREAD, 1_000_000, task)).toEqual([]);
    expect(task.command(split, 'third', 9).told).toEqual([]);
    expect(told(TABLE_UNREAD, 1_100_000, task), 'nobody gives up').toEqual([]);
    expect(told(9, 1_100_200, task)).toMatchObject([
      { commandId: 'first', done: true },
      { commandId: 'second', done: true },
      { commandId: 'third', done: true },
    ]);
  });

  test('the time of one that comes before the first tick after a start begins with that tick', () => {
    const task = known();
    task.command(split, 'first', 8);
    task.restart();
    task.command(merge, 'second', 9);
    expect(told(8, 1_000_000, task)).toMatchObject([{ commandId: 'first', done: true }]);
    expect(told(8, 1_059_000, task)).toEqual([]);
    expect(told(8, 1_060_000, task)).toMatchObject([{ kind: 'CommandRefused', commandId: 'second' }]);
  });

  test('an epoch that is never published changes nothing, is told, and stands in nobody’s way', () => {
    const task = known();
    task.command(split, 'forged', 2 ** 50);
    expect(task.command({ ...split, slice: split.slice }, 'true', 7).told).toMatchObject([{ done: true }]);
    expect(told(9, 60_000, task)).toEqual([]);
    expect(told(9, 62_000, task)).toMatchObject([
      { kind: 'CommandRefused', commandId: 'forged', constraint: 'epoch-not-published' },
    ]);
    expect(task.rows.get('ahead/forged')).toBeUndefined();
  });

  test('no more than a stated number of them wait', () => {
    const task = known();
    for (let i = 0; i < 100; i++) task.command(split, `forged-${i}`, 2 ** 50);
    expect(told(7, 1_200, task)).toHaveLength(36);
  });
});

describe('apply: sizes', () => {
  const counted = (entries: number): Outcome => ({ kind: 'counted', slice: sliceKey('c/3/'), entries, bytes: 0 });

  test('slices are counted after a start, and again after a quarter of their rows has been written', () => {
    const task = new Task(3);
    expect(kinds(task.tick().effects).filter((kind) => kind === 'count')).toHaveLength(2);
    expect(task.hear(counted(8_000)).told).toMatchObject([{ kind: 'SliceEntries', entries: 8_000 }]);
    for (let i = 0; i < 1_999; i++) task.event(filterOf(3));
    expect(kinds(task.tick().effects)).not.toContain('count');
    task.event(filterOf(3));
    expect(kinds(task.tick().effects)).toContain('count');
    expect(task.hear(counted(8_500)).told).toEqual([]); // Less than a tenth: not told.
    expect(task.hear(counted(9_000)).told).toMatchObject([{ entries: 9_000 }]);
    task.restart();
    expect(kinds(task.tick().effects)).toContain('count');
  });

  test('a slice of millions is counted a bounded piece at a time, and told once', () => {
    const task = new Task(3);
    const counts = () =>
      task.tick().effects.flatMap((each) => (each.kind === 'count' && each.range.slice === 'c/3/' ? [each] : []));
    expect(counts()).toMatchObject([{ limit: 20_000 }]);
    for (let i = 1; i <= 100; i++) {
      expect(task.hear({ ...counted(20_000), rest: `cursor-${i}` } as Outcome).told).toEqual([]);
      expect(counts()).toMatchObject([{ from: `cursor-${i}`, limit: 20_000 }]);
    }
    expect(task.hear(counted(5)).told).toMatchObject([{ kind: 'SliceEntries', entries: 2_000_005 }]);
    expect(counts()).toEqual([]);
  });

  test('a count without an outcome is asked for again after some writes, and one of a changed slice begins anew', () => {
    const task = new Task(3);
    const counts = () =>
      task.tick().effects.flatMap((each) => (each.kind === 'count' && each.range.slice === 'c/3/' ? [each] : []));
    expect(counts()).toHaveLength(1);
    expect(counts()).toEqual([]);
    for (let i = 0; i < 1_000; i++) task.event(filterOf(3));
    expect(counts()).toHaveLength(1);
    task.hear({ ...counted(20_000), rest: 'cursor' } as Outcome);
    const into = [sliceKey('c/3/'), sliceKey(`t/${filterOf(3)}`)];
    task.command({ kind: 'SplitSlice', slice: sliceKey('c/3/'), into });
    const [again] = counts();
    expect(again).not.toHaveProperty('from');
    expect(task.hear(counted(7)).told).toMatchObject([{ entries: 7 }]);
  });

  test('what the stores applied and refused is summed up', () => {
    const task = new Task(3);
    task.tick();
    for (let i = 0; i < 3; i++) task.hear({ kind: 'written', shard: firstShard, applied: 2, stale: 1, foreign: 1 });
    expect(task.rows.get('counts')).toEqual({ kind: 'counts', applied: 6, stale: 3, foreign: 3 });
  });
});
