import { expect, test } from 'vitest';
import { optionsOf, packOptions, unpackOptions } from '../../state/subscription-options.ts';
import { fc } from '../support/property.ts';

const OPTIONS = fc.record({
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  retainHandling: fc.integer({ min: 0, max: 2 }),
  subscriptionIdentifier: fc.oneof(fc.constantFrom(0, 1, 268_435_455), fc.integer({ min: 0, max: 268_435_455 })),
});

test('P1: an event with none, or all of them at their defaults, has no options', () => {
  const none = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
  for (const event of [{}, none, { noLocal: undefined, retainHandling: 0 }]) expect(optionsOf(event)).toBeUndefined();
  expect(packOptions(undefined)).toBe(0);
  expect(unpackOptions(0)).toBeUndefined();
});

test('one that is not at its default brings all of them', () => {
  expect(optionsOf({ subscriptionIdentifier: 7 })).toEqual({
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    subscriptionIdentifier: 7,
  });
});

test('what was packed into 32 bits is unpacked', () => {
  fc.assert(
    fc.property(OPTIONS, (each) => {
      const packed = packOptions(optionsOf(each));
      expect(packed >>> 0).toBe(packed);
      expect(unpackOptions(packed)).toEqual(optionsOf(each));
    }),
  );
});
