import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver, type ShardWatch } from '../../datastores/perform.ts';
import type { Provisioner, ShardStore } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, moveId, type ShardId, shardId } from '../../schemas/ids.ts';
import type { Cursor, Effect, Outcome } from '../../state/effects.ts';
import { hashSlice, pinSlice } from '../../state/keys.ts';
import { type Fault, type FaultyStore, faultyStore } from '../support/faulty-store.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { erased, OPTIONS, optionsAt, owned, row } from './shard-store-suite.ts';

const FROM = shardId('shard-0001');
const TO = shardId('shard-0002');
const MOVE = moveId('move-1');
const COMING = owned(hashSlice(0), 1, 'receiving');
const WHOLE = { slice: hashSlice(0), except: [] };
const MOVED = { state: 'moved', epoch: epoch(2) } as const;
const SETTINGS = { rowsPerWrite: 3, partitions: 1, kindOf: () => 'KEY_VALUE' as const };

describe('performing effects', () => {
  let folder: TempFolder;
  let shards: Provisioner;
  beforeEach(async () => {
    folder = await tempFolder();
    shards = localShards(folder.path, 1);
    await shards.ensure(FROM, 'kv', false);
    await shards.ensure(TO, 'kv', false);
    await (await shards.store(FROM)).own(owned(hashSlice(0)));
  });
  afterEach(async () => {
    await shards.close();
    await folder.remove();
  });

  /** The same shards, with faults planted in one of them. */
  function withFaults(shard: ShardId, faults: readonly Fault[]): { provisioner: Provisioner; fired: () => number } {
    let faulty: FaultyStore | undefined;
    const provisioner: Provisioner = {
      ensure: (...given) => shards.ensure(...given),
      async store(asked) {
        const store = await shards.store(asked);
        if (asked !== shard) return store;
        faulty ??= faultyStore(store, faults);
        return faulty;
      },
      release: (asked) => shards.release(asked),
      sweep: (before) => shards.sweep(before),
      close: () => shards.close(),
    };
    return { provisioner, fired: () => faulty?.fired ?? 0 };
  }

  const rowsOf = async (shard: ShardId) => (await (await shards.store(shard)).scan(WHOLE, undefined, 100)).rows;
  const rows = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((client, i) =>
    row(`t/${i % 3}`, client, i, { gone: i === 2, ...optionsAt(i) }),
  );

  test('each kind of effect has its outcome, in order; a move’s own too, other ones and disown have none', async () => {
    const effects: Effect[] = [
      {
        kind: 'provision',
        shard: shardId('shard-0003'),
        datastoreType: 'trie',
        resize: false,
        create: true,
        instanceId: '',
      },
      { kind: 'own', shard: FROM, owner: owned(hashSlice(0)) },
      { kind: 'write', shard: FROM, rows },
      { kind: 'count', shard: FROM, range: WHOLE, limit: 100 },
      { kind: 'own', shard: TO, owner: COMING, move: MOVE },
      { kind: 'copy', move: MOVE, from: FROM, to: TO, range: WHOLE, cursor: undefined, limit: 100 },
      { kind: 'compare', move: MOVE, from: FROM, to: TO, range: WHOLE, cursor: undefined, limit: 100 },
      { kind: 'own', shard: FROM, owner: owned(hashSlice(0), 2, 'moved') },
      { kind: 'erase', move: MOVE, shard: FROM, range: WHOLE, limit: 7, right: MOVED },
      { kind: 'erase', move: MOVE, shard: FROM, range: WHOLE, limit: 7, right: MOVED },
      { kind: 'erase', move: MOVE, shard: TO, range: WHOLE, limit: 7, right: MOVED },
      { kind: 'disown', shard: FROM, slice: hashSlice(0), right: { state: 'moved', epoch: epoch(2) } },
      { kind: 'release', shard: shardId('shard-0003') },
      { kind: 'release', shard: shardId('shard-0003') },
    ];
    const outcomes = await effectsOver(shards, SETTINGS).perform(effects);
    const cursor = expect.any(String);
    expect(outcomes).toEqual([
      {
        kind: 'provisioned',
        shard: 'shard-0003',
        datastoreType: 'trie',
        state: 'ready',
        storeKind: 'TRIE',
        instanceId: cursor,
        address: '',
        reason: '',
      },
      { kind: 'written', shard: FROM, applied: 7, stale: 0 },
      { kind: 'counted', slice: hashSlice(0), entries: 6, bytes: 6 * (32 + 3 + 1 + 8) },
      { kind: 'owned', move: MOVE, shard: TO, slice: hashSlice(0), state: 'receiving' },
      { kind: 'copied', move: MOVE, rows: 7, bytes: 7 * (32 + 3 + 1 + 8), cursor, done: true },
      { kind: 'compared', move: MOVE, rows: 7, equal: true, cursor, done: true },
      { kind: 'erased', move: MOVE, shard: FROM, rows: 7, done: false, refused: false },
      { kind: 'erased', move: MOVE, shard: FROM, rows: 0, done: true, refused: false },
      { kind: 'erased', move: MOVE, shard: TO, rows: 0, done: true, refused: true },
      { kind: 'released', shard: 'shard-0003', refused: '' },
      { kind: 'released', shard: 'shard-0003', refused: '' },
    ] satisfies unknown[]);
    expect(await (await shards.store(FROM)).owners()).toEqual([]);
  });

  test('adjacent writes become one batch for each shard and move', async () => {
    const sizes: string[] = [];
    for (const shard of [FROM, TO]) {
      const store = await shards.store(shard);
      const write = store.write.bind(store);
      store.write = (given) => {
        sizes.push(`${shard} ${given.length}`);
        return write(given);
      };
    }
    const outcomes = await effectsOver(shards, SETTINGS).perform([
      { kind: 'write', shard: FROM, rows: rows.slice(0, 2) },
      { kind: 'write', shard: TO, rows: rows.slice(0, 1), move: MOVE },
      { kind: 'write', shard: FROM, rows: rows.slice(2, 5) },
      { kind: 'own', shard: FROM, owner: owned(hashSlice(0)) },
      { kind: 'write', shard: FROM, rows: rows.slice(4) },
    ]);
    expect(sizes.sort()).toEqual([`${FROM} 2`, `${FROM} 3`, `${FROM} 3`, `${TO} 1`]);
    expect(outcomes).toEqual([
      { kind: 'written', shard: FROM, applied: 5, stale: 0 },
      { kind: 'written', shard: TO, applied: 1, stale: 0 },
      { kind: 'written', shard: FROM, applied: 2, stale: 1 },
    ]);
  });

  test('a copy in pieces, resumed by its cursor, is equal to its source', async () => {
    const effects = effectsOver(shards, SETTINGS);
    await effects.perform([
      { kind: 'write', shard: FROM, rows },
      { kind: 'own', shard: TO, owner: COMING, move: MOVE },
    ]);
    const range = { slice: hashSlice(0), except: [pinSlice('t/1')] };
    const piece = async (kind: 'copy' | 'compare', cursor: Cursor | undefined): Promise<Outcome> =>
      (await effects.perform([{ kind, move: MOVE, from: FROM, to: TO, range, cursor, limit: 2 }]))[0]!;
    for (const kind of ['copy', 'compare'] as const) {
      let rowsDone = 0;
      for (let cursor: Cursor | undefined; ; ) {
        const outcome = await piece(kind, cursor);
        if (outcome.kind !== 'copied' && outcome.kind !== 'compared') throw new Error(outcome.kind);
        if (outcome.kind === 'compared') expect(outcome.equal).toBe(true);
        rowsDone += outcome.rows;
        if (outcome.done) break;
        cursor = outcome.cursor;
      }
      expect(rowsDone).toBe(5);
    }
    expect((await rowsOf(TO)).some((each) => each.filter === 't/1')).toBe(false);
  });

  for (const { name, spoil } of [
    {
      name: 'a missing row',
      spoil: async (to: ShardStore) => {
        await erased(to, WHOLE, 1);
        await to.own(owned(hashSlice(0), 1_001));
      },
    },
    { name: 'that a look-up would not find the rows', spoil: (to: ShardStore) => to.disown(hashSlice(0), COMING) },
    { name: 'a row too many in between', spoil: (to: ShardStore) => to.write([row('t/0', 'aa', 1)]) },
    {
      name: 'a row too many at the end',
      spoil: (to: ShardStore) => to.write([row('t/0', 'zz', 1), row('t/1', 'zz', 1), row('t/2', 'zz', 1)]),
    },
    { name: 'a newer version', spoil: (to: ShardStore) => to.write([row('t/0', 'a', 50)]) },
  ])
    test(`comparing finds ${name} at the target`, async () => {
      const effects = effectsOver(shards, SETTINGS);
      await effects.perform([
        { kind: 'write', shard: FROM, rows },
        { kind: 'write', shard: TO, rows, move: MOVE },
        { kind: 'own', shard: TO, owner: COMING, move: MOVE },
      ]);
      await spoil(await shards.store(TO));
      const equal: boolean[] = [];
      for (let cursor: Cursor | undefined, done = false; !done; ) {
        const [outcome] = await effects.perform([
          { kind: 'compare', move: MOVE, from: FROM, to: TO, range: WHOLE, cursor, limit: 3 },
        ]);
        if (outcome?.kind !== 'compared') throw new Error(outcome?.kind);
        equal.push(outcome.equal);
        ({ cursor, done } = outcome);
      }
      expect(equal).toContain(false);
    });

  for (const { name, effect, method } of [
    { name: 'a write to its target', method: 'write', effect: { kind: 'write', shard: TO, rows, move: MOVE } },
    {
      name: 'owning at its target',
      method: 'own',
      effect: { kind: 'own', shard: TO, owner: owned(hashSlice(0), 2, 'receiving'), move: MOVE },
    },
    {
      name: 'a copy',
      method: 'write',
      effect: { kind: 'copy', move: MOVE, from: FROM, to: TO, range: WHOLE, cursor: undefined, limit: 9 },
    },
    {
      name: 'a comparison',
      method: 'digest',
      effect: { kind: 'compare', move: MOVE, from: FROM, to: TO, range: WHOLE, cursor: undefined, limit: 9 },
    },
    {
      name: 'an erasure',
      method: 'erase',
      effect: { kind: 'erase', move: MOVE, shard: TO, range: WHOLE, limit: 9, right: MOVED },
    },
  ] as const)
    test(`a move’s ${name} that fails is an outcome, and the rest goes on`, async () => {
      await (await shards.store(FROM)).write(rows);
      const { provisioner, fired } = withFaults(TO, [{ method, call: 1, when: 'before' }]);
      const outcomes = await effectsOver(provisioner, SETTINGS).perform([
        effect,
        { kind: 'count', shard: FROM, range: WHOLE, limit: 100 },
      ]);
      expect(fired()).toBe(1);
      expect(outcomes).toMatchObject([
        { kind: 'failed', move: MOVE, effect: effect.kind },
        { kind: 'counted', entries: 6 },
      ]);
    });

  for (const { says, record, code, heard } of [
    { says: 'nothing', record: owned(hashSlice(0, '0')), code: 'SHARD_LOST', heard: [FROM] },
    { says: 'that it has moved', record: owned(hashSlice(0), 2, 'moved'), code: 'STORE_UNAVAILABLE', heard: [] },
  ])
    test(`nothing is copied from, or equal to, a source whose records say ${says} of the slice`, async () => {
      const source = await shards.store(FROM);
      await source.disown(hashSlice(0), { state: 'owned', epoch: epoch(1) });
      await source.own(record);
      await (await shards.store(TO)).own(COMING);
      const lost: ShardId[] = [];
      const watch: ShardWatch = { lost: (shard) => lost.push(shard), found() {} };
      for (const kind of ['copy', 'compare'] as const)
        expect(
          await effectsOver(shards, { ...SETTINGS, watch }).perform([
            { kind, move: MOVE, from: FROM, to: TO, range: WHOLE, cursor: undefined, limit: 9 },
          ]),
        ).toMatchObject([{ kind: 'failed', effect: kind, reason: expect.stringMatching(new RegExp(`^${code}`)) }]);
      expect([...new Set(lost)]).toEqual(heard);
    });

  test('what was carved out and has no record yet is copied as the slice around it says', async () => {
    await (await shards.store(FROM)).write(rows);
    const range = { slice: pinSlice('t/0'), except: [] };
    await (await shards.store(TO)).own(owned(range.slice, 1, 'receiving'));
    const effect = { move: MOVE, from: FROM, to: TO, range, cursor: undefined, limit: 9 };
    expect(
      await effectsOver(shards, SETTINGS).perform([
        { kind: 'copy', ...effect },
        { kind: 'compare', ...effect },
      ]),
    ).toMatchObject([
      { kind: 'copied', rows: 3 },
      { kind: 'compared', equal: true },
    ]);
  });

  for (const when of ['before', 'half', 'after'] as const)
    for (const call of [1, 2, 3])
      test(`a write to an owner that fails (${when}, call ${call}) rejects, and the repetition completes it`, async () => {
        const { provisioner, fired } = withFaults(FROM, [{ method: 'write', call, when }]);
        const effects = effectsOver(provisioner, SETTINGS);
        const batch: Effect[] = [
          { kind: 'write', shard: FROM, rows },
          { kind: 'write', shard: TO, rows, move: MOVE },
        ];
        await expect(effects.perform(batch)).rejects.toMatchObject({
          code: 'STORE_UNAVAILABLE',
          facts: { shard: FROM },
        });
        expect(fired()).toBe(1);
        await effects.perform(batch);
        expect(await rowsOf(FROM)).toHaveLength(rows.length);
        expect(await rowsOf(TO)).toEqual(await rowsOf(FROM));
      });

  for (const { name, effect } of [
    { name: 'own', effect: { kind: 'own', shard: FROM, owner: owned(hashSlice(0)) } },
  ] as const)
    test(`an owner’s ${name} that fails rejects`, async () => {
      const { provisioner } = withFaults(FROM, [{ method: name, call: 1, when: 'before' }]);
      await expect(effectsOver(provisioner, SETTINGS).perform([effect])).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
      });
    });

  test('P6: a count that fails holds nothing: it has no outcome, and what else was asked is done', async () => {
    const { provisioner, fired } = withFaults(FROM, [{ method: 'count', call: 1, when: 'before' }]);
    const outcomes = await effectsOver(provisioner, SETTINGS).perform([
      { kind: 'count', shard: FROM, range: WHOLE, limit: 100 },
      { kind: 'write', shard: FROM, rows },
    ]);
    expect(fired()).toBe(1);
    expect(outcomes).toMatchObject([{ kind: 'written', applied: rows.length }]);
  });

  test('a server of an earlier release that refuses a row is waited for, as one that is away', async () => {
    const store = await shards.store(FROM);
    let isOld = true;
    const write: ShardStore['write'] = async (some) => {
      if (isOld && some.some(({ options }) => options !== undefined))
        throw new AppError('REQUEST_INVALID', 'body/rows/0 must match a schema in anyOf');
      return store.write(some);
    };
    const { provisioner } = withFaults(FROM, []);
    const effects = effectsOver({ ...provisioner, store: async () => ({ write }) as never }, SETTINGS);
    const batch: Effect[] = [{ kind: 'write', shard: FROM, rows }];
    await expect(effects.perform(batch)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      facts: { shard: FROM, code: 'REQUEST_INVALID' },
    });
    isOld = false;
    expect(await effects.perform(batch)).toMatchObject([{ applied: rows.length }]);
    expect((await rowsOf(FROM)).map(({ options }) => options)).toEqual(expect.arrayContaining([...OPTIONS, undefined]));
  });

  test('a shard that is unknown rejects as unavailable, and says why', async () => {
    const unknown = shardId('shard-0404');
    await expect(
      effectsOver(shards, SETTINGS).perform([{ kind: 'write', shard: unknown, rows }]),
    ).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      facts: { shard: unknown, code: 'SHARD_UNKNOWN' },
    });
  });

  test('a store that is not the instance that the pointer table names takes nothing, from the first contact on', async () => {
    const { instanceId } = await shards.store(FROM);
    const write = (instance: string) =>
      effectsOver(shards, { ...SETTINGS, instanceOf: () => instance }).perform([{ kind: 'write', shard: FROM, rows }]);
    await expect(write('another')).rejects.toMatchObject({ facts: { shard: FROM, code: 'SHARD_LOST' } });
    expect(await rowsOf(FROM)).toEqual([]);
    for (const known of [instanceId, '']) await write(known);
    expect(await rowsOf(FROM)).toHaveLength(rows.length);
  });

  for (const { name, effect, failed } of [
    {
      name: 'a held write',
      effect: { kind: 'write', shard: TO, rows, move: MOVE, holdMs: Number.POSITIVE_INFINITY },
      failed: { kind: 'failed', move: MOVE, effect: 'write', shard: TO, lost: true },
    },
    {
      name: 'a write that is to wait only for a shard that has its data',
      effect: { kind: 'write', shard: TO, rows, away: 'lost' },
      failed: { kind: 'unwritten', shard: TO, isLost: true },
    },
    { name: 'an owner record', effect: { kind: 'own', shard: TO, owner: owned(hashSlice(0), 2) }, failed: undefined },
    {
      name: 'forgetting an owner record',
      effect: { kind: 'disown', shard: TO, slice: hashSlice(0), right: { state: 'owned', epoch: epoch(2) } },
      failed: undefined,
    },
  ] as const)
    test(`nobody waits for a shard that has lost its data: ${name}`, async () => {
      const { instanceId } = await shards.store(TO);
      await shards.release(TO);
      for (const lose of [
        { instanceOf: () => instanceId }, // Nobody has it.
        { instanceOf: () => 'another' }, // Another is there.
      ]) {
        const outcomes = await effectsOver(shards, { ...SETTINGS, ...lose }).perform([effect]);
        expect(outcomes).toMatchObject(failed === undefined ? [] : [failed]);
        await shards.ensure(TO, 'kv', false);
      }
      const away = withFaults(TO, [{ method: effect.kind, call: 1, when: 'before' }]).provisioner;
      await expect(effectsOver(away, SETTINGS).perform([effect])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });

  test('nobody waits for a shard that the pointer table calls lost, when it does not answer', async () => {
    const write = { kind: 'write', shard: TO, rows, away: 'lost' } as const;
    const away = withFaults(
      TO,
      [1, 2].map((call) => ({ method: 'write', call, when: 'before' })),
    ).provisioner;
    const heard: string[] = [];
    const watch: ShardWatch = { lost: (shard) => heard.push(shard), found: () => {} };
    let isGivenUp = false;
    const effects = effectsOver(away, { ...SETTINGS, watch, isGivenUp: (shard) => isGivenUp && shard === TO });
    await expect(effects.perform([write])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    isGivenUp = true;
    expect(await effects.perform([write])).toMatchObject([{ kind: 'unwritten', isLost: true }]);
    expect(heard).toEqual([]); // It is known: nothing new is told of it.
    expect(await effects.perform([write])).toMatchObject([{ kind: 'written' }]); // It is back.
  });

  test('an owner record waits for a shard that nobody has made yet', async () => {
    const own = { kind: 'own', shard: shardId('shard-0009'), owner: owned(hashSlice(0)) } as const;
    await expect(effectsOver(shards, SETTINGS).perform([own])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  test('an owner record that a later one stands before changes nothing and is no failure', async () => {
    await (await shards.store(TO)).own(owned(hashSlice(0), 9));
    const outcomes = await effectsOver(shards, SETTINGS).perform([
      { kind: 'own', shard: TO, owner: owned(hashSlice(0), 3, 'receiving'), move: MOVE },
    ]);
    expect(outcomes).toEqual([{ kind: 'owned', move: MOVE, shard: TO, slice: hashSlice(0), state: 'receiving' }]);
    expect((await (await shards.store(TO)).owners())[0]?.epoch).toBe(epoch(9));
  });

  for (const { code, create, state } of [
    { code: 'STORE_UNAVAILABLE', create: true, state: 'pending' },
    { code: 'STORE_UNAVAILABLE', create: false, state: 'pending' },
    { code: 'SHARD_INVALID', create: true, state: 'failed' },
    { code: 'STORE_CORRUPT', create: false, state: 'lost' },
  ] as const)
    test(`a provisioner that answers ${code} leaves a shard ${create ? 'that is new' : 'that was ready'} ${state}`, async () => {
      const provisioner: Provisioner = {
        ensure: () => Promise.reject(new AppError(code, 'planted')),
        store: (shard) => shards.store(shard),
        release: (shard) => shards.release(shard),
        sweep: (before) => shards.sweep(before),
        close: async () => {},
      };
      const outcomes = await effectsOver(provisioner, SETTINGS).perform([
        { kind: 'provision', shard: TO, datastoreType: 'kv', resize: false, create, instanceId: '' },
      ]);
      expect(outcomes).toMatchObject([{ kind: 'provisioned', state, storeKind: 'KEY_VALUE', reason: 'planted' }]);
    });

  test('a shard that is lost is told to the watch, whichever side of a move it is, and so is one that is there', async () => {
    const heard: string[] = [];
    const watch: ShardWatch = {
      lost: (shard) => heard.push(`${shard} lost`),
      found: (shard, afterStart) => heard.push(`${shard} found${afterStart ? ' after a start' : ''}`),
    };
    const effects = effectsOver(shards, { ...SETTINGS, watch });
    const gone = shardId('shard-0404');
    const [, back] = await effects.perform([
      { kind: 'provision', shard: gone, datastoreType: 'kv', resize: false, create: false, instanceId: 'i' },
      { kind: 'provision', shard: FROM, datastoreType: 'kv', resize: false, create: false, instanceId: '' },
      { kind: 'copy', move: MOVE, from: gone, to: TO, range: WHOLE, cursor: undefined, limit: 9 },
      { kind: 'write', shard: gone, rows, move: MOVE },
      { kind: 'count', shard: TO, range: WHOLE, limit: 100 },
    ]);
    expect(back).toMatchObject({ state: 'ready' });
    await expect(effects.perform([{ kind: 'write', shard: gone, rows }])).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
    });
    expect(heard).toEqual([
      `${gone} lost`,
      `${FROM} found after a start`,
      `${gone} lost`,
      `${gone} lost`,
      `${TO} found`,
      `${gone} lost`,
    ]);
  });

  test('a bug is not an outcome', async () => {
    const provisioner: Provisioner = {
      ensure: () => Promise.reject(new Error('bug')),
      store: () => Promise.reject(new Error('bug')),
      release: async () => undefined,
      sweep: async () => 0,
      close: async () => {},
    };
    const effects = effectsOver(provisioner, SETTINGS);
    await expect(effects.perform([{ kind: 'write', shard: TO, rows, move: MOVE }])).rejects.toThrow(/^bug$/);
    await expect(
      effects.perform([
        { kind: 'provision', shard: TO, datastoreType: 'kv', resize: false, create: true, instanceId: '' },
      ]),
    ).rejects.toThrow(/^bug$/);
  });
});
