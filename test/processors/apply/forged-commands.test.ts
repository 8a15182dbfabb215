// Commands that no planner has sent, from somebody who knows its name and term: whenever they come, no reader misses a
// subscription or meets one that is gone, and the planner's own move still ends.

import { describe, expect, test } from 'vitest';
import { moveId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command } from '../../../schemas/records.ts';
import { ApplyWorld, MOVE, TARGET } from './apply-world.ts';

const SLICE = sliceKey('c/0/');
const SOURCE = shardId('shard-0001');
const steer = (action: 'SWITCH' | 'RETIRE' | 'ABORT' | 'SHARE' | 'UNSHARE') =>
  ({ kind: 'SteerMove', moveId: MOVE, slice: SLICE, action, rowsPerSecond: 0 }) as const;

const FORGED: readonly { readonly name: string; readonly body: Command['body']; readonly epoch?: number }[] = [
  { name: 'RetireShard of the source', body: { kind: 'RetireShard', shardId: SOURCE } },
  { name: 'RetireShard of the target', body: { kind: 'RetireShard', shardId: TARGET } },
  { name: 'RetireShard of the shard of tries', body: { kind: 'RetireShard', shardId: shardId('shard-0002') } },
  { name: 'AllocateShard of another type', body: { kind: 'AllocateShard', shardId: SOURCE, datastoreType: 'trie' } },
  { name: 'ResizeShard', body: { kind: 'ResizeShard', shardId: SOURCE, datastoreType: 'kv-large' } },
  { name: 'SplitSlice', body: { kind: 'SplitSlice', slice: SLICE, into: [sliceKey('c/0/0'), sliceKey('c/0/1')] } },
  { name: 'SplitSlice of a pin', body: { kind: 'SplitSlice', slice: SLICE, into: [SLICE, sliceKey('t/f1')] } },
  { name: 'MergeSlices', body: { kind: 'MergeSlices', slices: [sliceKey('t/f0'), SLICE], into: SLICE } },
  {
    name: 'MoveSlice of what was carved out',
    body: {
      ...{ kind: 'MoveSlice', moveId: moveId('move-x'), slice: sliceKey('t/f0') },
      ...{ from: SOURCE, to: shardId('shard-0066'), rowsPerSecond: 0 },
    },
  },
  { name: 'SWITCH before the pointer is published', body: steer('SWITCH'), epoch: 6 },
  { name: 'SWITCH of an epoch that nobody reaches', body: steer('SWITCH'), epoch: 2 ** 50 },
  { name: 'RETIRE', body: steer('RETIRE') },
  { name: 'ABORT', body: steer('ABORT') },
  { name: 'UNSHARE', body: steer('UNSHARE'), epoch: 2 ** 50 },
];

describe('a forged command', () => {
  for (const { name, body, epoch } of FORGED)
    test(`${name}, at any moment of a move`, () => {
      const ends = new Set<string>();
      for (let moment = 0; moment < 14; moment++) {
        const world = new ApplyWorld(SLICE, SOURCE, [[SLICE, sliceKey('t/f0')]]);
        for (let i = 0; i < 9; i++) world.subscribe(`f${i % 5}`, `client-${i}`, true);
        world.subscribe('f2', 'client-2', false);
        for (let cycle = 0; cycle < 4; cycle++) world.cycle(4, 'none');
        world.startMove();
        for (let cycle = 0; cycle < 14; cycle++) {
          if (cycle === moment) world.command(body, 'forged', epoch);
          world.subscribe(`f${cycle % 5}`, `late-${cycle}`, true);
          world.cycle(3, 'none');
          world.check();
        }
        world.settle(200);
        ends.add(world.state()!);
      }
      for (const state of ends) expect(name === 'ABORT' ? ['RETIRED', 'ABORTED'] : ['RETIRED']).toContain(state);
    });
});
