import { describe, expect, test } from 'vitest';
import { type Bucket, Ladder } from '../../../evaluation/what-if/ladder.ts';
import { SizedShards } from '../../../evaluation/what-if/sized.ts';
import { KV } from './synthetic.ts';

/** Two copies at once, 10 rows a second, each row read twice: a bucket of 50 takes 10 s. */
const PACE = { rowsPerSecond: 10, shortMs: 10_000, links: 2, bytesPerEntry: 200 };
const BUCKETS: Bucket[] = Array.from({ length: 8 }, () => ({ operations: Float64Array.of(1), entries: 50 }));
const LADDER = new Ladder(BUCKETS, KV, Float64Array.of(1));

function shardsOf(count: number): {
  shards: SizedShards;
  bought: () => number;
  moved: () => number;
  loads: () => number[];
} {
  let bought = 0;
  let keys = 0;
  const shards = new SizedShards(LADDER, count, PACE, {
    provisioned: () => bought++,
    moved: (moved) => {
      keys += moved;
    },
  });
  const loads = () => shards.serving((operations) => operations[0]!).map(({ perSecond }) => perSecond);
  return { shards, bought: () => bought, moved: () => keys, loads };
}

describe('sized shards', () => {
  test('a new shard is paid at once, and takes its buckets over when it is there', () => {
    const { shards, bought, moved, loads } = shardsOf(1);
    shards.order(2, 0);
    expect([shards.paid().length, bought(), loads()]).toEqual([2, 1, [8]]);
    shards.tick(60_000); // It is there; the first two buckets take another ten seconds.
    expect(loads()).toEqual([8]);
    shards.tick(70_000);
    expect([loads(), shards.isChanging]).toEqual([[6, 2], true]);
    shards.tick(80_000);
    expect([loads(), shards.isChanging, moved()]).toEqual([[4, 4], false, 200]);
  });

  test('a shard that goes is paid until its last bucket has left', () => {
    const { shards, loads } = shardsOf(2);
    shards.order(1, 0);
    shards.tick(10_000);
    expect([shards.paid().length, loads()]).toEqual([2, [6, 2]]);
    shards.tick(20_000);
    expect([shards.paid().length, loads()]).toEqual([1, [8]]);
  });

  test('while a change goes on, no other begins', () => {
    const { shards, bought } = shardsOf(1);
    shards.order(2, 0);
    shards.order(4, 10_000);
    expect([shards.count, bought()]).toEqual([2, 1]);
  });

  test('to have as many as there are changes nothing', () => {
    const { shards, bought } = shardsOf(3);
    shards.order(3, 0);
    expect([shards.isChanging, bought()]).toEqual([false, 0]);
  });
});
