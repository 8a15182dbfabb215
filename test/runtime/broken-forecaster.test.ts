// I13: whatever a forecaster says, nobody is missed, every record is accounted for, and the caps hold.

import { expect, test } from 'vitest';
import { randomFrom } from '../../evaluation/random.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import type { Decision, Forecast } from '../../schemas/records.ts';
import { decisions, forecasts } from '../../topology/topics.ts';
import { saying } from '../processors/forecast/shapes.ts';
import { openWorld } from './bad-input/world.ts';

const MINUTES = 75;
const SEED = 5;
/** Beyond what the log units of any rate reach. */
const HUGE = 1e308;

const random = randomFrom(SEED);
for (const { name, said } of [
  { name: 'NaN', said: () => Number.NaN },
  { name: 'infinity', said: () => Number.POSITIVE_INFINITY },
  { name: 'negatives', said: () => -5 },
  { name: 'as much as it can', said: () => HUGE },
  { name: `noise (seed ${SEED})`, said: () => 15 * random() ** 3 },
])
  test(`I13: a forecaster that says ${name} loses no subscription, no record and no cap`, async () => {
    const world = await openWorld(embeddedCodec(), { models: [saying('broken', said)], ramp: '' });
    const live = new Set<string>();
    for (let minute = 0; minute < MINUTES; minute++) {
      const topics = Array.from({ length: 8 }, (_, i) => `fleet/${(minute * 3 + i) % 40}/state`);
      await world.feedGood([
        ...topics.map((topic) => world.event(topic, { clientId: `client-${minute}` })),
        ...(minute % 3 === 2 ? [world.event(topics[0]!, { clientId: `client-${minute}`, action: 'UNSUBSCRIBE' })] : []),
        ...topics.map((topic) => world.traffic(topic, { publishes: 500 + 50 * minute })),
      ]);
      for (const topic of topics) live.add(`${topic} client-${minute}`);
      if (minute % 3 === 2) live.delete(`${topics[0]} client-${minute}`);
      for (let tick = 0; tick < 3; tick++) await world.run.advance(20_000);
    }

    for (let topic = 0; topic < 40; topic++) {
      const filter = `fleet/${topic}/state`;
      const expected = [...live].filter((each) => each.startsWith(`${filter} `)).map((each) => each.split(' ')[1]);
      expect((await world.clientsOf(filter)).sort()).toEqual(expected.sort());
    }
    const told = world.run.read(forecasts).map(({ value }) => value as Forecast | null);
    expect(told.length).toBeGreaterThan(MINUTES);
    const wrong = told.flatMap((forecast) => [...(forecast?.quantiles ?? []), ...(forecast?.farQuantiles ?? [])]);
    expect(wrong.filter((rate) => !(rate >= 0 && rate <= 1e12))).toEqual([]);
    const allocated = world.run.read(decisions).filter(({ value }) => (value as Decision).kind === 'ALLOCATE');
    expect(allocated.length).toBeLessThanOrEqual(PLAN_DEFAULTS.shardsPerHourMax * Math.ceil(MINUTES / 60));
    await world.close(); // Which checks that every record is accounted for (I15).
  });
