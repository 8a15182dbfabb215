// The catalogue of bad input against the whole real topology: whatever comes on the two input topics, nothing crashes and
// no partition stops; each record is worked, or is in `dead-letters` as it came, once, with its code; the counts add up.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { mayPublish } from '../../state/topic-filter.ts';
import { BYTES, EVENTS, FILTERS, METRICS, NOT_OURS } from './bad-input/avro-cases.ts';
import type { BadRecord } from './bad-input/bad-record.ts';
import { JSON_CASES } from './bad-input/json-cases.ts';
import { openWorld, type World } from './bad-input/world.ts';

/** In bad-input-floods.test.ts. */
const FLOODS = [37, 38, 59, 68, 69, 70];

function feedAll(what: string, records: readonly BadRecord[], codec: Codec = embeddedCodec()): void {
  describe(what, () => {
    let world: World;
    beforeAll(async () => {
      world = await openWorld(codec);
    });
    afterAll(() => world.close());
    for (const record of records)
      test(`${record.number}: ${record.name} is ${record.expected}`, () => world.feed(record));
  });
}

feedAll('bytes on any topic', BYTES);
feedAll('subscription events', EVENTS);
feedAll('filters and topics', FILTERS);
feedAll('metrics', METRICS);
feedAll('JSON', JSON_CASES, jsonCodec);

test('every number of the catalogue from 1 to 72 is here, in the floods, or said not to be ours and why', () => {
  const fed = [...BYTES, ...EVENTS, ...FILTERS, ...METRICS, ...JSON_CASES].map(({ number }) => number);
  const covered = new Set([...fed, ...FLOODS, ...NOT_OURS.map(({ number }) => number)]);
  expect(Array.from({ length: 72 }, (_, i) => i + 1).filter((number) => !covered.has(number))).toEqual([]);
  for (const { number, reason } of NOT_OURS) {
    expect(fed, `${number}: ${reason}`).not.toContain(number);
    expect(reason.length).toBeGreaterThan(20);
  }
});

test('56: an id of wildcards never widens the rule that it fills in', () => {
  for (const clientId of ['+', '#', 'a/b', '', '$SYS'])
    expect(mayPublish('%c/x', { clientId, username: 'u' }, 'anyone/x'), clientId).toBe(false);
});
