// Pages of decisions: the newest first, each once, however many come in between.

import { describe, expect, test } from 'vitest';
import { DecisionRing } from '../../api/decision-ring.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';
import { decisionWith } from '../support/decision.ts';
import { fc } from '../support/property.ts';

const decision = (number: number, requestId = ''): Decision =>
  decisionWith({ id: `decision-${number}`, at: eventTime(number), requestId });

/** Offsets have holes, as a log with transactions has. */
const ringOf = (count: number, decisionsMax = 100): DecisionRing => {
  const ring = new DecisionRing(decisionsMax);
  for (let i = 0; i < count; i++) ring.take(decision(i, i % 3 === 0 ? 'asked' : ''), i * 2);
  return ring;
};
const ids = (decisions: readonly Decision[]): number[] => decisions.map(({ at }) => at);
const ALL = { after: undefined, limit: 100, requestId: undefined };

describe('a page', () => {
  test('begins with the newest', () => expect(ids(ringOf(3).page(ALL).decisions)).toEqual([2, 1, 0]));

  test('has no next when nothing is left', () => {
    expect(ringOf(3).page({ ...ALL, limit: 3 }).next).toBeUndefined();
    expect(ringOf(0).page(ALL)).toEqual({ decisions: [], next: undefined });
  });

  test('of a request has its answers alone', () => {
    const page = ringOf(8).page({ ...ALL, limit: 2, requestId: 'asked' });
    expect(ids(page.decisions)).toEqual([6, 3]);
    expect(ids(ringOf(8).page({ after: page.next, limit: 2, requestId: 'asked' }).decisions)).toEqual([0]);
  });

  test('is empty after a decision that is not kept any more', () => {
    expect(ringOf(50, 10).page({ ...ALL, after: '2' })).toEqual({ decisions: [], next: undefined });
  });

  for (const after of ['', 'x', '-1', '1e1', '99999999999999999'])
    test(`after "${after}", which no page gave, is refused`, () =>
      expect(() => ringOf(5).page({ ...ALL, after })).toThrowError(
        expect.objectContaining({ code: 'REQUEST_INVALID' }),
      ));

  for (const { events, after } of [
    { events: 0, after: '0' },
    { events: 5, after: '100' },
  ])
    test(`after ${after} of ${events}, which no page has given yet, is not found`, () =>
      expect(() => ringOf(events).page({ ...ALL, after })).toThrowError(
        expect.objectContaining({ code: 'NOT_FOUND' }),
      ));
});

test('the last ones are kept, and one that comes again is not kept twice', () => {
  const ring = ringOf(30, 10);
  ring.take(decision(29), 58);
  ring.take(null, 60);
  expect(ids(ring.page(ALL).decisions)).toEqual([29, 28, 27, 26, 25, 24, 23, 22, 21, 20]);
});

test('pages show each decision once, newest first, while others come in', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 9 }), (count, limit) => {
      const ring = ringOf(count);
      const seen: number[] = [];
      let after: string | undefined;
      let newer = count;
      do {
        const page = ring.page({ after, limit, requestId: undefined });
        seen.push(...ids(page.decisions));
        after = page.next;
        ring.take(decision(newer), newer++ * 2);
      } while (after !== undefined);
      expect(seen).toEqual(Array.from({ length: count }, (_, i) => count - 1 - i));
    }),
    { seed: 11 },
  );
});
