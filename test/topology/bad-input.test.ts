// The catalogue of bad input against the whole real topology: whatever comes on the two input topics, nothing crashes and
// no partition stops; each record is worked, or is in `dead-letters` as it came, once, with its code; the counts add up.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { BYTES, EVENTS, FILTERS, METRICS, NOT_OURS } from './bad-input/avro-cases.ts';
import type { BadRecord } from './bad-input/bad-record.ts';
import { openWorld, type World } from './bad-input/world.ts';

function feedAll(what: string, records: readonly BadRecord[], codec = embeddedCodec()): void {
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
