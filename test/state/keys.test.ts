import { describe, expect, test } from 'vitest';
import {
  filterHash,
  groupSlice,
  hashSlice,
  isTrieSlice,
  leadingBits,
  murmur2,
  parseSlice,
  partitionOf,
  partitionOfSlice,
  pinSlice,
  placeOf,
  spreadSlice,
} from '../../state/keys.ts';
import { innerFilter } from '../../state/topic-filter.ts';
import { anyFilter, anyTopic } from '../support/arbitrary-topic.ts';
import { fc } from '../support/property.ts';

const SEED = 20_260_117;

describe('murmur2', () => {
  // The values that Kafka's own tests assert (UtilsTest.testMurmur2).
  for (const [text, hash] of [
    ['21', -973_932_308],
    ['foobar', -790_332_482],
    ['a-little-bit-long-string', -985_981_536],
    ['a-little-bit-longer-string', -1_486_304_829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58_897_971],
    ['abc', 479_470_107],
  ] as const) {
    test(`of ${text} is what Kafka computes`, () => expect(murmur2(Buffer.from(text))).toBe(hash));
  }
});

describe('the partition of a key', () => {
  test('is the hash without its sign, modulo partitions', () => {
    expect(partitionOf('abc', 16)).toBe(479_470_107 % 16);
    expect(partitionOf('21', 16)).toBe((-973_932_308 & 0x7fff_ffff) % 16);
  });

  test('is the same for a text and its UTF-8 bytes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.integer({ min: 1, max: 1_000 }),
        (text, partitions) => {
          expect(partitionOf(text, partitions)).toBe(partitionOf(Buffer.from(text, 'utf8'), partitions));
        },
      ),
      { seed: SEED },
    );
  });
});

describe('the second hash', () => {
  test('never changes (values of another implementation)', () => {
    expect(['', 'a', 'plant/line-1/speed', 'über/温度'].map(filterHash)).toEqual([
      2_872_998_923, 444_641_715, 2_226_463_307, 434_029_535,
    ]);
  });

  test('fills sixteen slices evenly, also within one partition', () => {
    const counts = new Array<number>(16).fill(0);
    let total = 0;
    for (let device = 0; device < 64_000; device++) {
      const filter = `site/s1/device/d${device}/speed`;
      if (partitionOf(filter, 8) !== 3) continue;
      counts[Number.parseInt(leadingBits(filterHash(filter), 4), 2)]!++;
      total++;
    }
    for (const count of counts) expect(Math.abs(count - total / 16)).toBeLessThan(5 * Math.sqrt(total / 16));
  });

  for (const [hash, count, bits] of [
    [0xffff_ffff, 0, ''],
    [0x8000_0000, 1, '1'],
    [0x2000_0000, 4, '0010'],
    [1, 32, `${'0'.repeat(31)}1`],
  ] as const) {
    test(`${hash} begins with the ${count} bits '${bits}'`, () => expect(leadingBits(hash, count)).toBe(bits));
  }
});

describe('the place of a filter', () => {
  for (const [filter, place] of [
    ['plant/speed', { trie: false, inner: 'plant/speed', prefix: '', routingKey: 'plant/speed' }],
    ['plant/+/speed', { trie: true, inner: 'plant/+/speed', prefix: 'plant/', routingKey: 'plant' }],
    ['plant/line/#', { trie: true, inner: 'plant/line/#', prefix: 'plant/line/', routingKey: 'plant' }],
    ['#', { trie: true, inner: '#', prefix: '', routingKey: '#' }],
    ['+/speed', { trie: true, inner: '+/speed', prefix: '', routingKey: '#' }],
    ['/+', { trie: true, inner: '/+', prefix: '/', routingKey: '' }],
    ['$share/g/plant/speed', { trie: true, inner: 'plant/speed', prefix: 'plant/', routingKey: 'plant' }],
    ['$share/g/plant', { trie: true, inner: 'plant', prefix: '', routingKey: '#' }],
    ['$share/g/plant/#', { trie: true, inner: 'plant/#', prefix: 'plant/', routingKey: 'plant' }],
    ['$SYS/#', { trie: true, inner: '$SYS/#', prefix: '$SYS/', routingKey: '$SYS' }],
    ['$share', { trie: false, inner: '$share', prefix: '', routingKey: '$share' }],
  ] as const) {
    test(`of ${filter}`, () => expect(placeOf(filter)).toEqual(place));
  }

  test('has the same inner filter as topic-filter.ts', () => {
    fc.assert(
      fc.property(anyFilter, fc.boolean(), (filter, shared) => {
        const whole = shared ? `$share/g/${filter}` : filter;
        expect(placeOf(whole).inner).toBe(innerFilter(whole));
      }),
      { seed: SEED },
    );
  });
});

describe('a slice key', () => {
  for (const { key, slice, partition } of [
    { key: hashSlice(7), slice: { kind: 'hash', partition: 7, bits: '' }, partition: 7 },
    { key: hashSlice(7, '01'), slice: { kind: 'hash', partition: 7, bits: '01' }, partition: 7 },
    { key: pinSlice('a//b'), slice: { kind: 'pin', filter: 'a//b' }, partition: partitionOf('a//b', 16) },
    {
      key: spreadSlice('/a', 2, 3),
      slice: { kind: 'spread', filter: '/a', index: 2, of: 3 },
      partition: partitionOf('/a', 16),
    },
    { key: groupSlice(3), slice: { kind: 'group', partition: 3, prefix: '' }, partition: 3 },
    { key: groupSlice(3, '/a/'), slice: { kind: 'group', partition: 3, prefix: '/a/' }, partition: 3 },
  ] as const) {
    test(`${key} comes apart and has one partition (K1)`, () => {
      expect(parseSlice(key)).toEqual(slice);
      expect(partitionOfSlice(slice, 16)).toBe(partition);
      expect(isTrieSlice(key)).toBe(slice.kind === 'group');
    });
  }

  for (const key of [
    '',
    'c',
    'c/',
    'c/x/',
    'c/1',
    'c/1/2',
    `c/1/${'0'.repeat(33)}`,
    's/3of3/a',
    's/1/a',
    'w/1/a',
    'x/1/',
    'w//',
  ]) {
    test(`'${key}' is none`, () => expect(parseSlice(key)).toBeUndefined());
  }

  test('of a pin or part gives its filter back, whatever it is', () => {
    fc.assert(
      fc.property(anyTopic, fc.nat({ max: 9 }), (filter, index) => {
        expect(parseSlice(pinSlice(filter))).toEqual({ kind: 'pin', filter });
        expect(parseSlice(spreadSlice(filter, index, 10))).toEqual({ kind: 'spread', filter, index, of: 10 });
      }),
      { seed: SEED },
    );
  });
});
