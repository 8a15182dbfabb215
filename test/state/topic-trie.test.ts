import { describe, expect, test } from 'vitest';
import { LEVELS_MAX, matches } from '../../state/topic-filter.ts';
import { TopicTrie } from '../../state/topic-trie.ts';
import { anyFilter, anyTopic, everyTopic } from '../support/arbitrary-topic.ts';
import { fleetTopics } from '../support/fleet-topics.ts';
import { fc } from '../support/property.ts';

const SEED = 20_260_116;

/** The ids that match, ascending. */
function idsFor(trie: TopicTrie, topic: string): number[] {
  const ids: number[] = [];
  const found = trie.match(topic, ids);
  return ids.slice(0, found).sort((a, b) => a - b);
}

/** The same by the plain rule, one filter after the other. */
function scanned(filters: ReadonlyMap<string, number>, topic: string): number[] {
  const ids = [...filters].filter(([filter]) => matches(filter, topic)).map(([, id]) => id);
  return ids.sort((a, b) => a - b);
}

describe('a topic trie', () => {
  test('matches what a linear scan matches, through inserts, removals and inserts again', () => {
    const change = fc.record({ insert: fc.boolean(), filter: anyFilter });
    const run = fc.array(change, { minLength: 1, maxLength: 120 });
    fc.assert(
      fc.property(run, fc.array(anyTopic, { minLength: 1, maxLength: 30 }), fc.integer(), (changes, topics, seed) => {
        const trie = new TopicTrie(seed);
        const held = new Map<string, number>();
        for (const { insert, filter } of changes) {
          const id = held.get(filter);
          expect(trie.find(filter)).toBe(id ?? -1);
          if (insert) held.set(filter, trie.insert(filter));
          else {
            expect(trie.remove(filter)).toBe(id ?? -1);
            held.delete(filter);
          }
          if (insert && id !== undefined) expect(held.get(filter)).toBe(id);
        }
        expect(trie.size).toBe(held.size);
        expect(new Set(held.values()).size).toBe(held.size);
        for (const topic of topics) expect(idsFor(trie, topic)).toEqual(scanned(held, topic));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  test('matches what a linear scan matches when it holds every short filter at once', () => {
    const trie = new TopicTrie();
    const held = new Map<string, number>();
    for (const filter of fc.sample(anyFilter, { seed: SEED, numRuns: 3_000 })) held.set(filter, trie.insert(filter));
    for (const topic of everyTopic.slice(0, 800)) expect(idsFor(trie, topic)).toEqual(scanned(held, topic));
  });

  test('survives wide nodes that grow, shrink and grow again, with every id right', () => {
    const trie = new TopicTrie();
    const wide = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, i) => `fleet/vehicle-${from + i}/+`);
    const ids = new Map(wide(0, 5_000).map((filter) => [filter, trie.insert(filter)]));
    for (const filter of wide(10, 4_990)) {
      expect(trie.remove(filter)).toBe(ids.get(filter));
      ids.delete(filter);
    }
    for (const filter of wide(2_000, 7_000)) ids.set(filter, trie.insert(filter));
    for (let vehicle = 0; vehicle < 7_000; vehicle++) {
      const id = ids.get(`fleet/vehicle-${vehicle}/+`);
      expect(idsFor(trie, `fleet/vehicle-${vehicle}/speed`)).toEqual(id === undefined ? [] : [id]);
    }
  });

  test('keeps names apart that have one hash, or differ in length alone', () => {
    const basis = 0x811c9dc5; // With FNV's own basis as seed, the first two names below have one hash.
    const hashOf = (name: string): number =>
      [...name].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), basis);
    expect(hashOf('costarring')).toBe(hashOf('liquid'));
    const trie = new TopicTrie(basis);
    const names = ['costarring', 'liquid', '', 'a', 'aa', 'é', 'e\u0301', '😀', 'x'.repeat(60_000)];
    const ids = names.map((name) => trie.insert(`${name}/+`));
    for (const [i, name] of names.entries()) expect(idsFor(trie, `${name}/z`)).toEqual([ids[i]]);
  });

  test('goes as deep as a filter may, and lets deeper topics be seen by # alone', () => {
    const trie = new TopicTrie();
    const deepest = `${'a/'.repeat(LEVELS_MAX - 1)}+`;
    const id = trie.insert(deepest);
    const all = trie.insert('#');
    expect(idsFor(trie, `${'a/'.repeat(LEVELS_MAX - 1)}z`)).toEqual([id, all]);
    expect(idsFor(trie, `${'a/'.repeat(LEVELS_MAX)}z`)).toEqual([all]);
    expect(idsFor(trie, '/'.repeat(65_535))).toEqual([all]);
    expect(trie.remove(deepest)).toBe(id);
  });

  test('finds all of the 2^12 filters that a topic of twelve levels can take', () => {
    const trie = new TopicTrie();
    for (let bits = 0; bits < 2 ** 12; bits++) {
      trie.insert(Array.from({ length: 12 }, (_, i) => ((bits >> i) & 1 ? '+' : 'a')).join('/'));
    }
    expect(idsFor(trie, Array(12).fill('a').join('/'))).toEqual(Array.from({ length: 2 ** 12 }, (_, id) => id));
    expect(idsFor(trie, `z/${Array(11).fill('a').join('/')}`).length).toBe(2 ** 11);
  });

  test('uses freed ids again, so that ids stay below the most filters there ever were', () => {
    const trie = new TopicTrie();
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 50; i++) expect(trie.insert(`round-${round}/${i}/+`)).toBeLessThan(50);
      for (let i = 0; i < 50; i++) trie.remove(`round-${round}/${i}/+`);
    }
    expect(trie.size).toBe(0);
  });
});

describe('the memory of a topic trie', () => {
  const { filters, topics } = fleetTopics(50_000, 200, SEED);
  const trie = new TopicTrie();
  const held = new Map(filters.map((filter) => [filter, trie.insert(filter)]));
  const full = trie.bytes;

  test('is under 200 bytes a filter', () => expect(full / filters.length).toBeLessThan(200));

  test('does not grow when all filters go and as many like them come, and all of it is right after', () => {
    for (const filter of filters) trie.remove(filter);
    expect(trie.size).toBe(0);
    for (const topic of topics) expect(idsFor(trie, topic)).toEqual([]);
    for (const filter of filters.toReversed()) held.set(filter, trie.insert(filter));
    expect(trie.bytes).toBeLessThanOrEqual(full * 1.1);
    for (const topic of topics.slice(0, 40)) expect(idsFor(trie, topic)).toEqual(scanned(held, topic));
  });
});
