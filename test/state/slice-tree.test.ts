import { describe, expect, test } from 'vitest';
import type { SliceKey } from '../../schemas/ids.ts';
import {
  filterHash,
  groupSlice,
  hashSlice,
  leadingBits,
  parseSlice,
  partitionOf,
  partitionOfSlice,
  pinSlice,
  placeOf,
  spreadSlice,
} from '../../state/keys.ts';
import { firstSlices, SliceTree } from '../../state/slice-tree.ts';
import { matches } from '../../state/topic-filter.ts';
import { anyFilter, anyTopic } from '../support/arbitrary-topic.ts';
import { fc } from '../support/property.ts';

const SEED = 20_260_118;
const PARTITIONS = 3;

/** True when the slice, taken alone, has room for this subscription: the plain reading of keys.ts. */
function hasRoom(key: SliceKey, filter: string, clientId: string): boolean {
  const slice = parseSlice(key)!;
  const place = placeOf(filter);
  if (slice.kind === 'pin') return slice.filter === filter;
  if (slice.kind === 'spread') return slice.filter === filter && filterHash(clientId) % slice.of === slice.index;
  if (partitionOfSlice(slice, PARTITIONS) !== partitionOf(place.routingKey, PARTITIONS)) return false;
  if (slice.kind === 'group') return place.trie && place.prefix.startsWith(slice.prefix);
  return !place.trie && leadingBits(filterHash(filter), slice.bits.length) === slice.bits;
}

const concrete = anyTopic;
const filter = fc.oneof(
  anyFilter,
  anyFilter.map((inner) => `$share/g/${inner}`),
  concrete,
);
const partition = fc.nat({ max: PARTITIONS - 1 });
// Few of each, so that a later change meets what an earlier one made.
const bits = fc.constantFrom('', '0', '1', '10');
const prefix = fc.constantFrom('', 'a/', 'a/b/', '/', '//', '$s/', 'a/+/');
const carvable = fc.constantFrom('a', 'a/b', '/', 'b', '$s/a', 'a/+', '$share/g/a');

type Change = { readonly from: readonly SliceKey[]; readonly into: readonly SliceKey[] };

const parts = (of: string, n: number): SliceKey[] => Array.from({ length: n }, (_, i) => spreadSlice(of, i, n));

/** Changes that may be right or wrong where they come; many undo each other. */
const change: fc.Arbitrary<Change> = fc
  .oneof(
    fc
      .tuple(partition, bits)
      .map(([p, b]) => ({ from: [hashSlice(p, b)], into: [hashSlice(p, `${b}0`), hashSlice(p, `${b}1`)] })),
    fc.tuple(bits, carvable).map(([b, f]) => {
      const whole = hashSlice(partitionOf(f, PARTITIONS), b);
      return { from: [whole], into: [whole, pinSlice(f)] };
    }),
    fc.tuple(carvable, fc.integer({ min: 1, max: 4 })).map(([f, n]) => ({ from: [pinSlice(f)], into: parts(f, n) })),
    fc.tuple(partition, prefix, prefix).map(([p, outer, inner]) => {
      const whole = groupSlice(p, outer);
      return { from: [whole], into: [whole, groupSlice(p, inner)] };
    }),
    fc.tuple(partition, prefix, carvable).map(([p, outer, f]) => {
      const whole = groupSlice(p, outer);
      return { from: [whole], into: [whole, pinSlice(f)] };
    }),
  )
  .chain(({ from, into }) => fc.constantFrom({ from, into }, { from: into, into: from }));

/** Makes the change if the tree has nothing against it. */
function tryChange(tree: SliceTree, { from, into }: Change): boolean {
  const refusal = from.length === 1 ? tree.splitRefusal(from[0]!, into) : tree.mergeRefusal(from, into[0]!);
  if (refusal !== undefined) return false;
  for (const key of into) tree.add(key); // Adding first is the harder order: old and new are there together for a while.
  for (const key of from) if (!into.includes(key)) tree.remove(key);
  return true;
}

describe('a slice tree', () => {
  test('keeps one slice for every filter through all changes that it does not refuse (T1, T2, T3)', () => {
    const made = { split: 0, carve: 0, merge: 0 };
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 30, maxLength: 150, size: 'max' }),
        fc.array(filter, { minLength: 20, maxLength: 40 }),
        fc.array(concrete, { minLength: 10, maxLength: 20 }),
        fc.constantFrom('c1', 'c2', 'c3'),
        (changes, filters, topics, clientId) => {
          const tree = new SliceTree(PARTITIONS, firstSlices(PARTITIONS));
          for (const each of changes) {
            if (!tryChange(tree, each)) continue;
            if (each.from.length > 1) made.merge++;
            else if (each.into.includes(each.from[0]!)) made.carve++;
            else made.split++;
          }
          for (const each of filters) {
            const held = tree.sliceOf(each, clientId);
            const holders = [...tree.keys()].filter(
              (key) =>
                hasRoom(key, each, clientId) &&
                !tree.carvedOutOf(key).some((carved) => hasRoom(carved, each, clientId)),
            );
            expect(holders).toEqual([held]);
          }
          for (const topic of topics) {
            const asked = tree.slicesForTopic(topic);
            expect(new Set(asked).size).toBe(asked.length);
            for (const each of filters) {
              if (matches(each, topic)) expect(asked).toContain(tree.sliceOf(each, clientId));
            }
            expect(asked).toContain(tree.sliceOf(topic, clientId));
          }
          const again = new SliceTree(PARTITIONS, tree.keys());
          for (const each of filters) expect(again.sliceOf(each, clientId)).toBe(tree.sliceOf(each, clientId));
        },
      ),
      { seed: SEED, numRuns: 400 },
    );
    expect(Math.min(...Object.values(made))).toBeGreaterThan(100); // Else the property was not about much.
  });

  const hot = 'plant/hot';
  const home = partitionOf(hot, PARTITIONS);
  const half = hashSlice(home, leadingBits(filterHash(hot), 1));
  const otherHalf = hashSlice(home, leadingBits(~filterHash(hot) >>> 0, 1));
  const plant = partitionOf('plant', PARTITIONS);
  const tree = new SliceTree(PARTITIONS, [
    ...firstSlices(PARTITIONS).filter((key) => key !== hashSlice(home)),
    half,
    otherHalf,
    groupSlice(plant, 'plant/'),
    groupSlice(plant, 'plant/line/press/'),
  ]);

  for (const { name, from, into, refused } of [
    { name: 'halves a hash slice', from: half, into: [`${half}0`, `${half}1`] },
    { name: 'carves a pin', from: half, into: [half, pinSlice(hot)] },
    {
      name: 'carves a group',
      from: groupSlice(plant, 'plant/'),
      into: [groupSlice(plant, 'plant/'), groupSlice(plant, 'plant/line/')],
    },
    {
      name: 'does not carve a pin out of the wrong half',
      from: otherHalf,
      into: [otherHalf, pinSlice(hot)],
      refused: 'carved',
    },
    {
      name: 'does not pin a wildcard filter',
      from: groupSlice(plant, 'plant/'),
      into: [groupSlice(plant, 'plant/'), pinSlice('plant/+')],
      refused: 'carved',
    },
    { name: 'does not pin what is no filter', from: half, into: [half, pinSlice('')], refused: 'carved' },
    {
      name: 'does not carve a group whose levels are not literal',
      from: groupSlice(plant, 'plant/'),
      into: [groupSlice(plant, 'plant/'), groupSlice(plant, 'plant/+/')],
      refused: 'carved',
    },
    {
      name: 'does not carve a group past the one that holds it',
      from: groupSlice(plant),
      into: [groupSlice(plant), groupSlice(plant, 'plant/line/')],
      refused: 'carved',
    },
    { name: 'does not split what it has not', from: hashSlice(home), into: [half, otherHalf], refused: 'not a slice' },
    { name: 'does not split into what is there', from: half, into: [half, otherHalf], refused: 'already' },
    { name: 'does not split into one half', from: half, into: [`${half}0`], refused: 'halves' },
    { name: 'does not split into nothing', from: half, into: [], refused: 'nothing' },
    { name: 'does not name a slice twice', from: half, into: [`${half}0`, `${half}0`], refused: 'twice' },
    {
      name: 'does not split a group without keeping it',
      from: groupSlice(plant, 'plant/'),
      into: [groupSlice(plant, 'plant/a/')],
      refused: 'without staying',
    },
  ] as readonly { name: string; from: SliceKey; into: readonly string[]; refused?: string }[]) {
    test(name, () => {
      const refusal = tree.splitRefusal(from, into as SliceKey[]);
      if (refused === undefined) expect(refusal).toBeUndefined();
      else expect(refusal).toContain(refused);
    });
  }

  test('does not split a slice of all 32 bits', () => {
    const finest = hashSlice(0, '0'.repeat(32));
    const deep = new SliceTree(1, [finest]);
    expect(deep.splitRefusal(finest, [`${finest}0`, `${finest}1`] as SliceKey[])).toContain('halves');
  });

  for (const { name, from, into, refused } of [
    { name: 'merges two halves', from: [half, otherHalf], into: hashSlice(home) },
    { name: 'merges a group back', from: [groupSlice(plant), groupSlice(plant, 'plant/')], into: groupSlice(plant) },
    {
      name: 'merges nested groups at once',
      from: [groupSlice(plant), groupSlice(plant, 'plant/'), groupSlice(plant, 'plant/line/press/')],
      into: groupSlice(plant),
    },
    {
      name: 'does not merge a group past the one that would hold it',
      from: [groupSlice(plant), groupSlice(plant, 'plant/line/press/')],
      into: groupSlice(plant),
      refused: 'not carved',
    },
    { name: 'does not merge one half alone', from: [half], into: hashSlice(home), refused: 'make up' },
    {
      name: 'does not merge hash slices into another partition',
      from: [half, otherHalf],
      into: hashSlice((home + 1) % PARTITIONS),
      refused: 'already',
    },
    { name: 'does not merge what it has not', from: [pinSlice(hot), half], into: half, refused: 'not a slice' },
    { name: 'does not merge a slice with itself', from: [half], into: half, refused: 'make up' },
  ] as readonly { name: string; from: readonly SliceKey[]; into: SliceKey; refused?: string }[]) {
    test(name, () => {
      const refusal = tree.mergeRefusal(from, into);
      if (refused === undefined) expect(refusal).toBeUndefined();
      else expect(refusal).toContain(refused);
    });
  }

  test('spreads a pinned filter over clients, and over more of them later', () => {
    const spreading = new SliceTree(1, [hashSlice(0), groupSlice(0), pinSlice(hot)]);
    expect(tryChange(spreading, { from: [pinSlice(hot)], into: parts(hot, 2) })).toBe(true);
    expect(spreading.slicesForTopic(hot)).toEqual([...parts(hot, 2), groupSlice(0)]);
    expect(spreading.sliceOf(hot, 'c1')).toBe(spreadSlice(hot, filterHash('c1') % 2, 2));
    expect(spreading.carvedOutOf(hashSlice(0))).toEqual(parts(hot, 2));
    expect(tryChange(spreading, { from: parts(hot, 2), into: [pinSlice(hot)] })).toBe(true);
    expect(tryChange(spreading, { from: [pinSlice(hot)], into: parts(hot, 5) })).toBe(true);
    expect(spreading.sliceOf(hot, 'c1')).toBe(spreadSlice(hot, filterHash('c1') % 5, 5));
    for (const key of parts(hot, 3)) spreading.add(key); // As one who reads that only the last of several changes counts.
    for (const key of parts(hot, 5)) spreading.remove(key);
    expect(spreading.sliceOf(hot, 'c1')).toBe(spreadSlice(hot, filterHash('c1') % 3, 3));
  });

  test('finds groups behind an empty first level', () => {
    const empty = partitionOf('', PARTITIONS);
    const slashes = new SliceTree(PARTITIONS, [...firstSlices(PARTITIONS), groupSlice(empty, '//')]);
    expect(slashes.sliceOf('/+', 'c')).toBe(groupSlice(empty));
    expect(slashes.sliceOf('//+', 'c')).toBe(groupSlice(empty, '//'));
    expect(slashes.slicesForTopic('//a')).toContain(groupSlice(empty, '//'));
  });

  test('answers nothing for a partition that it does not have', () => {
    const none = new SliceTree(PARTITIONS, []);
    expect(none.sliceOf('a', 'c')).toBeUndefined();
    expect(none.sliceOf('a/+', 'c')).toBeUndefined();
    expect(none.slicesForTopic('a')).toEqual([]);
  });
});
