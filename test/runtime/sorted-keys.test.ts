import { expect, test } from 'vitest';
import { SortedKeys } from '../../runtime/sorted-keys.ts';
import { compareUtf8 } from '../../state/utf8.ts';
import { fc } from '../support/property.ts';

test('are those of a sorted list, however they are added and asked for', () => {
  const key = fc.string({ unit: fc.constantFrom('a', 'b', '/', '\u0000', '\ufffd', '😀'), maxLength: 4 });
  const action = fc.record({
    add: fc.array(key, { maxLength: 60 }),
    prefix: key,
    after: fc.option(key, { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 8 }), (actions) => {
      const [keys, model] = [new SortedKeys(), new Set<string>()];
      for (const { add, prefix, after } of actions) {
        for (const each of add) if (!model.has(each) && model.add(each)) keys.add(each);
        const expected = [...model]
          .filter((each) => each.startsWith(prefix) && (after === undefined || compareUtf8(each, after) > 0))
          .sort(compareUtf8);
        expect([...keys.from(prefix, after)]).toEqual(expected);
      }
      keys.clear();
      expect([...keys.from('', undefined)]).toEqual([]);
    }),
  );
});

test('a question looks at few of very many, also while more and more are added', () => {
  let compared = 0;
  const keys = new SortedKeys((a, b) => {
    compared += 1;
    return compareUtf8(a, b);
  });
  const COUNT = 20_000;
  for (let i = 0; i < COUNT; i++) {
    keys.add(`client-${(i * 7_919) % COUNT}/a`);
    for (const _key of keys.from(`client-${i}/`, undefined)) break;
  }
  expect(compared).toBeLessThan(COUNT * 500); // Walking all at each question would be ten thousand for each.
});
