// Arbitrary topics: filters and topics over few words, so that they meet often, and with every corner of the rule: empty
// levels, `$` levels, `#` after nothing, a word that no filter has.

import { fc } from './property.ts';

const WORDS = ['a', 'b', '', '$s'] as const;
const UNHEARD = 'z'; // In topics alone: what only a wildcard can match.

const filterLevel = fc.constantFrom(...WORDS, '+', '+');

/** A valid filter of 1 to 4 levels, without a share group. */
export const anyFilter: fc.Arbitrary<string> = fc
  .tuple(fc.array(filterLevel, { maxLength: 3 }), fc.constantFrom(...WORDS, '+', '#', '#'))
  .map(([levels, last]) => [...levels, last].join('/'))
  .filter((filter) => filter !== '');

export const anyTopic: fc.Arbitrary<string> = fc
  .array(fc.constantFrom(...WORDS, UNHEARD), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '');

/** Every topic of 1 to 5 of these levels: enough to tell any two filters of `anyFilter` apart. */
export const everyTopic: readonly string[] = topicsUpTo(5).filter((topic) => topic !== '');

function topicsUpTo(levels: number): string[] {
  const words = [...WORDS, UNHEARD];
  if (levels === 1) return words;
  const shorter = topicsUpTo(levels - 1);
  const longest = shorter.filter((topic) => topic.split('/').length === levels - 1);
  return [...shorter, ...longest.flatMap((topic) => words.map((word) => `${topic}/${word}`))];
}
