// Shards that do not answer: when they are reported, and what is no reason to. Time is moved by hand.

import { beforeEach, describe, expect, test } from 'vitest';
import { ASK_EVERY_MS, SilentShards } from '../../runtime/silent-shards.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { epoch, shardId } from '../../schemas/ids.ts';
import type { ShardEntry } from '../../schemas/records.ts';

const LOST_AFTER_MS = 60_000;
const SHARD = shardId('shard-0001');
const entry = (more: Partial<ShardEntry> = {}): ShardEntry => ({
  ...{ kind: 'ShardEntry', shardId: SHARD, storeKind: 'TRIE', datastoreType: 'trie', instanceId: 'i', address: '' },
  ...{ state: 'READY', epoch: epoch(1) },
  ...more,
});

describe('a shard that is asked again and again', () => {
  let now: number;
  let answers: ErrorCode | 'yes';
  let entries: ShardEntry[];
  let told: string[];
  let shards: SilentShards;
  const round = async (times = 1, afterMs = ASK_EVERY_MS): Promise<void> => {
    for (let i = 0; i < times; i++) {
      now += afterMs;
      await shards.round();
    }
  };
  beforeEach(() => {
    now = 1_000_000;
    answers = 'yes';
    entries = [entry()];
    told = [];
    shards = new SilentShards({
      ask: async () => {
        if (answers !== 'yes') throw new AppError(answers, 'planted');
      },
      shards: () => entries,
      reports: {
        lost: (shard, _reason, isForeign) => void told.push(`${shard} lost${isForeign ? ', foreign' : ''}`),
        found: () => {},
        silent: (shard, reason) => void told.push(`${shard} silent: ${reason}`),
        deny: (shard) => void told.push(`${shard} denied`),
      },
      now: () => now,
      lostAfterMs: LOST_AFTER_MS,
    });
  });

  test('is reported once it has answered nothing for long, and not before', async () => {
    await round(3);
    answers = 'STORE_UNAVAILABLE';
    await round(6);
    expect(told).toEqual([]);
    await round();
    expect(told).toEqual(['shard-0001 silent: it has not answered for 60 s: planted']);
  });

  test('one answer in between begins the time anew', async () => {
    answers = 'STORE_UNAVAILABLE';
    await round(6);
    answers = 'yes';
    await round();
    answers = 'STORE_UNAVAILABLE';
    await round(6);
    expect(told).toEqual([]);
  });

  test('time in which nobody asked is not time in which it gave no answer', async () => {
    answers = 'STORE_UNAVAILABLE';
    await round();
    await round(1, 3_600_000);
    expect(told).toEqual([]);
    await round(1, -3_600_000);
    expect(told).toEqual([]);
  });

  for (const [code, says] of [
    ['SHARD_LOST', 'shard-0001 lost'],
    ['FLEET_MISMATCH', 'shard-0001 lost, foreign'],
  ] as const)
    test(`whose store says ${code} is lost at once, although nobody writes to it`, async () => {
      answers = code;
      await round();
      expect(told).toEqual([says]);
    });

  test('that nobody here has is not lost at once: another process may have it', async () => {
    answers = 'SHARD_UNKNOWN';
    await round(6);
    expect(told).toEqual([]);
    await round();
    expect(told).toEqual(['shard-0001 silent: it has not answered for 60 s: planted']);
  });

  test('that another process calls lost is defended, once each time', async () => {
    entries = [entry({ loss: 'SILENT', epoch: epoch(2) })];
    await round(3);
    expect(told).toEqual(['shard-0001 denied']);
    entries = [entry({ epoch: epoch(3) })];
    await round();
    entries = [entry({ loss: 'LOST', epoch: epoch(4) })];
    await round(2);
    expect(told).toEqual(['shard-0001 denied', 'shard-0001 denied']);
  });

  test('is not asked when it is going, or gone', async () => {
    answers = 'STORE_UNAVAILABLE';
    await round(5);
    entries = [entry({ state: 'DRAINING' })];
    await round(5);
    entries = [];
    await round(5);
    expect(told).toEqual([]);
  });

  test('a round that is under way is not joined by another', async () => {
    let asked = 0;
    let end = (): void => {};
    const slow = new SilentShards({
      ask: () =>
        new Promise<void>((resolve) => {
          asked++;
          end = resolve;
        }),
      shards: () => entries,
      reports: { lost() {}, found() {}, silent() {}, deny() {} },
      now: () => now,
      lostAfterMs: LOST_AFTER_MS,
    });
    const first = slow.round();
    await slow.round();
    expect(asked).toBe(1);
    end();
    await first;
  });
});
