// Away: what waits for a shard is written to all that its slice lives at by then (A5), and forgotten only as far as it was
// written (A6).

import { beforeEach, describe, expect, test } from 'vitest';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import {
  keysOfUnwritten,
  onAwayTick,
  onDrained,
  onUnwritten,
  pageOfDrained,
  pagesOfTick,
  spill,
} from '../../../processors/apply/away.ts';
import type { Out } from '../../../processors/apply/out.ts';
import { PartitionState, type Row } from '../../../processors/apply/partition-state.ts';
import { type KeptRow, subscriptionTable } from '../../../processors/apply/subscriptions.ts';
import type { Rows } from '../../../processors/step.ts';
import { RowTable } from '../../../runtime/row-table.ts';
import { AppError } from '../../../schemas/errors.ts';
import { epoch, eventTime, moveId, type ShardId, shardId } from '../../../schemas/ids.ts';
import type { Effect, SubscriptionRow } from '../../../state/effects.ts';
import { FIRST_CONCRETE_SHARD as FIRST } from '../../../state/genesis.ts';
import { hashSlice } from '../../../state/keys.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const SLICE = hashSlice(0);
const OTHER = shardId('shard-0009');
const SETTINGS = { spillRowsMax: 100 };

const row = (offset: number, gone = false): SubscriptionRow => ({
  ...{ filter: 'a', clientId: 'c', brokerId: 'b', qos: 0, gone, at: eventTime(offset) },
  version: { incarnation: 0, offset },
});

let rows: Rows<Row>;
let state: PartitionState;
let kept: MemoryDisk<KeptRow>;
beforeEach(() => {
  rows = new RowTable({ name: 't', encode: () => Buffer.alloc(0), decode: () => undefined }) as unknown as Rows<Row>;
  state = PartitionState.first(1, 0);
  kept = new MemoryDisk(subscriptionTable);
});

const wait = (each: SubscriptionRow): void => spill(rows, state, kept, FIRST, each, SETTINGS, []);
const writesIn = (out: readonly Out[]): { shard: string; offsets: number[]; move: string | undefined }[] =>
  out
    .flatMap((each) => (each.topic === 'effects' ? [each.value as Effect] : []))
    .flatMap((each) =>
      each.kind === 'write'
        ? [{ shard: each.shard, offsets: each.rows.map(({ version }) => version.offset), move: each.move }]
        : [],
    );
/** The shard is asked. */
const asked = (): readonly Out[] => {
  kept.need({ pages: pagesOfTick(state, 10_000) });
  return onAwayTick(rows, state, kept, 10_000);
};
/** It has written what it was asked to write. */
const written = (): readonly Out[] => {
  kept.need({ pages: pageOfDrained(state, FIRST) });
  return onDrained(rows, state, kept, FIRST);
};

describe('what waits for a shard', () => {
  test('what comes while the shard is being given what waited is not forgotten with it', () => {
    wait(row(1));
    expect(writesIn(asked())).toMatchObject([{ shard: FIRST, offsets: [1] }]);
    wait({ ...row(2, true), since: { incarnation: 0, offset: 1 } }); // Before the shard has answered.
    written();
    expect(writesIn(asked())).toMatchObject([{ shard: FIRST, offsets: [2] }]);
    written();
    expect(kept.keys).toEqual([]);
  });

  test('a removal that says nothing of a subscription does not take the place of one that ends it', () => {
    wait({ ...row(2, true), since: { incarnation: 0, offset: 1 } });
    wait({ ...row(3, true), brokerId: 'former' });
    expect(writesIn(asked())).toMatchObject([{ shard: FIRST, offsets: [2, 3] }]);
    written();
    expect(kept.keys).toEqual([]);
  });

  test('a row whose write failed does not take the place of a newer one that waits (A7)', () => {
    const failed = (each: SubscriptionRow): void => {
      const outcome = {
        kind: 'unwritten',
        shard: FIRST,
        rows: [each],
        isDrain: false,
        isLost: false,
        reason: '',
      } as const;
      kept.need({ keys: keysOfUnwritten(outcome) });
      onUnwritten(rows, state, kept, outcome, SETTINGS);
    };
    wait({ ...row(2, true), since: { incarnation: 0, offset: 1 } });
    failed(row(1));
    expect(writesIn(asked())).toMatchObject([{ shard: FIRST, offsets: [2] }]);
    failed(row(3));
    written();
    expect(writesIn(asked())).toMatchObject([{ shard: FIRST, offsets: [3] }]);
  });

  test('while its slice moves it goes to both shards: it was not there to be copied', () => {
    wait(row(1));
    const move = moveId('move-1');
    state.homeOf(SLICE).second = { shard: OTHER, move };
    expect(writesIn(asked())).toEqual([
      { shard: OTHER, offsets: [1], move },
      { shard: FIRST, offsets: [1], move: undefined },
    ]);
  });

  test('after its slice was switched it goes to the new owner too', () => {
    wait(row(1));
    const home = state.homeOf(SLICE);
    state.rehome(SLICE, OTHER, epoch(2));
    home.second = { shard: FIRST, move: moveId('move-1') };
    expect(writesIn(asked())).toMatchObject([
      { shard: OTHER, offsets: [1] },
      { shard: FIRST, offsets: [1] },
    ]);
  });

  test('after its slice has moved away it goes to the new owner alone', () => {
    wait(row(1));
    state.rehome(SLICE, OTHER, epoch(2));
    expect(writesIn(asked())).toMatchObject([{ shard: OTHER, offsets: [1] }]);
    expect(kept.keys).toEqual([]);
  });
});

test('what waited does not come back on a shard that was rebuilt after its removal', async () => {
  const away = new Set<ShardId>();
  const THIRD = shardId('shard-0010');
  const through = (shards: Provisioner): Provisioner =>
    new Proxy(shards, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return async (shard: ShardId, ...given: unknown[]) => {
          if (away.has(shard)) throw new AppError('STORE_UNAVAILABLE', `planted: ${shard} is away`, { shard });
          return value.call(target, shard, ...given);
        };
      },
    });
  const task = await ApplyOnStores.start({ checkRowsPerSecond: 0 }, through, true);
  const rebuild = async (id: string, from: ShardId, to: ShardId, at: number): Promise<void> => {
    const body = { kind: 'MoveSlice', moveId: moveId(id), slice: SLICE, from, to, rowsPerSecond: 0 } as const;
    await task.command({ ...body, source: 'TABLE' }, at - 1);
    await task.tick(8);
    await task.steer(id, SLICE, 'SWITCH', at);
  };
  const retired = async (id: string, at: number): Promise<void> => {
    await task.tick(2);
    await task.steer(id, SLICE, 'RETIRE', at);
    await task.tick(2);
    expect(task.progressOf(id)).toMatchObject({ state: 'RETIRED' });
  };
  const live = async (shard: ShardId): Promise<string[]> => {
    const range = { slice: SLICE, except: [] };
    const { rows: found } = await (await task.shards.store(shard)).scan(range, undefined, 100);
    return found.flatMap(({ clientId, gone }) => (gone ? [] : clientId)).sort();
  };
  try {
    await task.allocate(OTHER, THIRD);
    away.add(FIRST);
    for (const client of ['stays', 'goes']) await task.event('SUBSCRIBE', 'a', client, 'b');
    await rebuild('move-1', FIRST, OTHER, 4);
    expect(await live(OTHER)).toEqual(['goes', 'stays']);
    await task.event('UNSUBSCRIBE', 'a', 'goes', 'b'); // Before what waits for the first has been written elsewhere.
    away.add(OTHER);
    await retired('move-1', 4);
    await rebuild('move-2', OTHER, THIRD, 6);
    await retired('move-2', 6);
    expect(await live(THIRD)).toEqual(['stays']);
    away.clear();
    await task.tick(400);
    expect(await live(THIRD)).toEqual(['stays']);
  } finally {
    await task.close();
  }
});
