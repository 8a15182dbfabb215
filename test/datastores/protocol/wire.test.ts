import { Type } from 'typebox';
import { Check } from 'typebox/value';
import { describe, expect, test } from 'vitest';
import { ANSWERS, REQUESTS, rowOf, wireRow } from '../../../datastores/protocol/wire.ts';
import { OPTIONS, row } from '../shard-store-suite.ts';

const count = Type.Integer({ minimum: 0 });
const places = [
  Type.String(),
  Type.String(),
  Type.String(),
  count,
  count,
  count,
  Type.Boolean(),
  Type.Number(),
] as const;
const version = Type.Tuple([count, count]);
const removals = Type.Array(Type.Tuple([Type.String(), count, count, Type.Number()]));
/** A row as servers and clients of before there were options know it. */
const OLD_ROW = Type.Union([
  Type.Tuple([...places]),
  Type.Tuple([
    ...places,
    Type.Object({ since: Type.Optional(version), others: Type.Optional(removals) }, { additionalProperties: false }),
  ]),
]);

const [options] = OPTIONS as readonly [(typeof OPTIONS)[number]];
const sent = (more: object = {}): unknown => JSON.parse(JSON.stringify(wireRow(row('a', 'c', 1, more))));
const isTaken = (wire: unknown): boolean => Check(REQUESTS.write, { rows: [wire] });

describe('rows with options on the wire', () => {
  test('a release that does not know of options takes no row with them, and every other', () => {
    expect(Check(OLD_ROW, sent({ options }))).toBe(false);
    expect(Check(OLD_ROW, sent())).toBe(true);
    expect(Check(OLD_ROW, sent({ gone: true, since: { incarnation: 1, offset: 0 } }))).toBe(true);
  });

  test('a row of such a release is taken, and has none', () => {
    const old = ['a', 'c', 'broker-1', 1, 1, 1, false, 1_001];
    expect(isTaken(old)).toBe(true);
    expect(rowOf(old as never)).toStrictEqual(row('a', 'c', 1));
  });

  for (const { name, change } of [
    { name: 'a retain handling of 3', change: { retainHandling: 3 } },
    { name: 'an identifier of 29 bits', change: { subscriptionIdentifier: 268_435_456 } },
    { name: 'an identifier below none', change: { subscriptionIdentifier: -1 } },
    { name: 'an option that nobody knows', change: { retainForever: true } },
    { name: 'an option left out', change: { noLocal: undefined } },
  ])
    test(`${name} is refused`, () => {
      expect(isTaken(sent({ options }))).toBe(true);
      expect(isTaken(sent({ options: { ...options, ...change } }))).toBe(false);
    });

  test('options that are all at their defaults are none', () => {
    const none = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
    expect(rowOf(sent({ options: none }) as never)).toStrictEqual(row('a', 'c', 1));
  });

  test('an answer may say more of a subscriber than is known', () => {
    const subscriber = {
      filter: 'a',
      clientId: 'c',
      brokerId: 'b',
      qos: 1,
      options: { ...options, later: 1 },
      more: 2,
    };
    expect(Check(ANSWERS.lookup, [{ kind: 'found', subscribers: [subscriber] }])).toBe(true);
  });
});
