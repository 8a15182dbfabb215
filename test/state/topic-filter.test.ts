import { describe, expect, test } from 'vitest';
import {
  covers,
  filterProblem,
  intersect,
  LEVELS_MAX,
  matches,
  mayPublish,
  maySubscribe,
  overlaps,
  topicProblem,
  union,
} from '../../state/topic-filter.ts';
import { anyFilter, everyTopic } from '../support/arbitrary-topic.ts';
import { fc } from '../support/property.ts';

const SEED = 20_260_115;

describe('a topic filter', () => {
  for (const [filter, why] of [
    ['plant/line-1/temperature', 'plain levels'],
    ['+', 'a plus alone'],
    ['#', 'a hash alone'],
    ['/', 'two empty levels'],
    ['/+/#', 'an empty first level'],
    ['plant/+/', 'an empty last level'],
    ['$SYS/broker/#', 'a leading $'],
    ['$share/readers/plant/#', 'a share group'],
    ['$share/readers//', 'a shared filter of two empty levels'],
    ['$share/readers/$share/x', 'a shared filter that is itself named $share'],
    ['$share', 'a bare $share, which the spec does not reserve'],
    ['$SHARE/readers', '$SHARE, since case counts'],
    ['$shared/readers', 'a level that only begins like $share'],
    ['plant line/über/温度/😀', 'any Unicode text'],
    ['plant\u0001\u007f\u0085\uffff', 'control characters and noncharacters, which a broker let pass'],
    ['\ufeffplant', 'a byte order mark, as text'],
    ['plant.*/a>/b|c/[d]{2}$', 'marks of other pattern languages, as text'],
    ['a/'.repeat(LEVELS_MAX - 1), `${LEVELS_MAX} levels`],
    [`$share/g/${'a/'.repeat(LEVELS_MAX - 1)}`, `${LEVELS_MAX} levels behind a share group`],
    ['x'.repeat(65_535), '65,535 bytes'],
    ['é'.repeat(32_767), '65,534 bytes in 2-byte characters'],
    ['😀'.repeat(16_383), '65,532 bytes in 4-byte characters'],
  ] as const) {
    test(`may have ${why}`, () => expect(filterProblem(filter)).toBeUndefined());
  }

  for (const [filter, problem] of [
    ['', 'empty'],
    ['plant#', 'alone'],
    ['#plant', 'alone'],
    ['plant+/x', 'alone'],
    ['plant/+x', 'alone'],
    ['plant/++', 'alone'],
    ['plant/+#', 'alone'],
    ['##', 'alone'],
    ['#/', 'last level'],
    ['plant/#/x', 'last level'],
    ['plant\u0000', 'U+0000'],
    ['plant/\ud800', 'surrogate'],
    ['plant/\ud800x', 'surrogate'],
    ['\udc00/plant', 'surrogate'],
    ['\udc00\ud800', 'surrogate'],
    ['$share/', 'needs a filter'],
    ['$share/readers', 'needs a filter'],
    ['$share/readers/', 'empty'],
    ['$share//plant', 'needs a group'],
    ['$share/read+ers/plant', 'group'],
    ['$share/#/plant', 'group'],
    ['$share/rea\u0000ders/plant', 'U+0000'],
    ['$share/\udfff/plant', 'surrogate'],
    ['$share/readers/plant#', 'alone'],
    ['a/'.repeat(LEVELS_MAX), 'levels'],
    [`$share/g/${'+/'.repeat(LEVELS_MAX)}`, 'levels'],
    ['/'.repeat(65_535), 'levels'],
    ['x'.repeat(65_536), 'bytes'],
    ['é'.repeat(32_768), 'bytes'],
    ['温'.repeat(21_846), 'bytes'],
    ['😀'.repeat(16_384), 'bytes'],
  ] as const) {
    test(`${shown(filter)} is refused: ${problem}`, () => expect(filterProblem(filter)).toContain(problem));
  }
});

describe('a topic to publish to', () => {
  for (const topic of ['a', '/', 'a//b/', '$SYS/x', ' ', '/'.repeat(65_535), 'a/\u0001', '$share/g/a']) {
    test(`${shown(topic)} is accepted`, () => expect(topicProblem(topic)).toBeUndefined());
  }
  for (const topic of ['', 'a/+', '#', 'a+b', 'a\u0000', '\ud83d', 'x'.repeat(65_536)]) {
    test(`${shown(topic)} is refused`, () => expect(topicProblem(topic)).toBeTypeOf('string'));
  }
});

describe('a match', () => {
  for (const [filter, topic, expected] of [
    ['plant/+/speed', 'plant/press/speed', true],
    ['plant/+/speed', 'plant//speed', true],
    ['plant/+/speed', 'plant/speed', false],
    ['plant/#', 'plant', true],
    ['plant/#', 'plant/', true],
    ['plant/#', 'planting', false],
    ['plant/+/#', 'plant/press', true],
    ['plant/+/#', 'plant', false],
    ['#', '/', true],
    ['+/+', '/', true],
    ['+', '/', false],
    ['+/', 'plant/', true],
    ['plant', 'Plant', false],
    ['caf\u00e9', 'cafe\u0301', false],
    ['#', '$SYS/uptime', false],
    ['+/uptime', '$SYS/uptime', false],
    ['$SYS/+', '$SYS/uptime', true],
    ['plant/+', 'plant/$SYS', true],
    ['$share/readers/plant/+', 'plant/press', true],
    ['$share/readers/#', '$SYS/uptime', false],
    ['$share/readers/plant', '$share/readers/plant', false],
  ] as const) {
    test(`${filter} ${expected ? 'matches' : 'does not match'} ${topic}`, () =>
      expect(matches(filter, topic)).toBe(expected));
  }
});

describe('filters compared', () => {
  test('cover, overlap and intersect say what matching topic by topic says', () => {
    fc.assert(
      fc.property(anyFilter, anyFilter, (first, second) => {
        const inFirst = everyTopic.filter((topic) => matches(first, topic));
        const inSecond = everyTopic.filter((topic) => matches(second, topic));
        const inBoth = inFirst.filter((topic) => matches(second, topic));
        expect(covers(first, second)).toBe(inSecond.every((topic) => matches(first, topic)));
        expect(overlaps(first, second)).toBe(inBoth.length > 0);
        const both = intersect(first, second);
        if (both !== undefined) expect(everyTopic.filter((topic) => matches(both, topic))).toEqual(inBoth);
      }),
      { seed: SEED, numRuns: 600 },
    );
  });

  test('a union keeps the topics of all and has no filter that another covers', () => {
    fc.assert(
      fc.property(fc.array(anyFilter, { maxLength: 8 }), (filters) => {
        const kept = union(filters);
        for (const topic of everyTopic) {
          expect(kept.some((filter) => matches(filter, topic))).toBe(filters.some((filter) => matches(filter, topic)));
        }
        for (const filter of kept) {
          expect(filters).toContain(filter);
          expect(kept.filter((other) => covers(other, filter))).toEqual([filter]);
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });
});

describe('an access rule', () => {
  const press = { clientId: 'press-7', username: 'ada' };
  for (const { pattern, identity, topic, expected } of [
    { pattern: 'plant/%c/#', identity: press, topic: 'plant/press-7/speed', expected: true },
    { pattern: 'plant/%c/#', identity: press, topic: 'plant/press-8/speed', expected: false },
    { pattern: '%u/%c', identity: press, topic: 'ada/press-7', expected: true },
    { pattern: 'x%u', identity: press, topic: 'xada', expected: false },
    { pattern: '%c/#', identity: { ...press, clientId: '+' }, topic: 'anything/at/all', expected: false },
    { pattern: '%c/#', identity: { ...press, clientId: '#' }, topic: 'anything', expected: false },
    { pattern: '%c', identity: { ...press, clientId: 'a/b' }, topic: 'a/b', expected: false },
    { pattern: '%c/#', identity: { ...press, clientId: '$SYS' }, topic: '$SYS/uptime', expected: false },
    { pattern: 'plant/%c', identity: { ...press, clientId: '' }, topic: 'plant/', expected: false },
    { pattern: '%c', identity: { ...press, clientId: '%u' }, topic: 'ada', expected: false },
  ]) {
    test(`${pattern} for ${JSON.stringify(identity)} ${expected ? 'allows' : 'refuses'} ${topic}`, () => {
      expect(mayPublish(pattern, identity, topic)).toBe(expected);
      expect(maySubscribe(pattern, identity, topic)).toBe(expected);
    });
  }

  for (const { pattern, filter, expected } of [
    { pattern: 'plant/#', filter: 'plant/+', expected: true },
    { pattern: 'plant/#', filter: '$share/readers/plant/+', expected: true },
    { pattern: 'plant/#', filter: '#', expected: false },
    { pattern: 'plant/+', filter: 'plant/#', expected: false },
    { pattern: '#', filter: '$SYS/#', expected: false },
  ]) {
    test(`${pattern} ${expected ? 'allows' : 'refuses'} a subscription to ${filter}`, () =>
      expect(maySubscribe(pattern, press, filter)).toBe(expected));
  }
});

function shown(text: string): string {
  const start = JSON.stringify(text.slice(0, 30));
  return text.length > 30 ? `${start}... of ${text.length} characters` : start;
}
