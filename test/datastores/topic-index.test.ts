import { expect, test } from 'vitest';
import { TopicIndex } from '../../datastores/topic-index.ts';
import { filterProblem, matches } from '../../state/topic-filter.ts';
import { fc } from '../support/property.ts';

const level = fc.constantFrom('', 'a', 'b', 'c', '$x');
const topics = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '');
const filters = fc
  .tuple(
    fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }),
    fc.constantFrom('a', '+', '#'),
    fc.constantFrom('', '$share/g/'),
  )
  .map(([levels, last, share]) => `${share}${[...levels, last].join('/')}`)
  .filter((filter) => filterProblem(filter) === undefined);

test('X1: the topics that a filter matches are those that `matches` says, after any puts and removals', () => {
  const change = fc.oneof(
    fc.record({ put: topics }),
    fc.record({ remove: topics }),
    fc.record({ ask: filters }),
    fc.constant({ clear: true }),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60, size: 'max' }), (changes) => {
      const index = new TopicIndex<{ topic: string }>();
      const model = new Set<string>();
      for (const each of changes) {
        if ('put' in each) {
          index.set(each.put, { topic: each.put });
          model.add(each.put);
        } else if ('remove' in each) {
          index.delete(each.remove);
          model.delete(each.remove);
        } else if ('ask' in each) {
          const found = index.matching(each.ask).map(({ topic }) => topic);
          expect(found.sort()).toEqual([...model].filter((topic) => matches(each.ask, topic)).sort());
        } else {
          index.clear();
          model.clear();
        }
        expect(index.size).toBe(model.size);
      }
    }),
  );
});
