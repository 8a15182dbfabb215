import { expect, test } from 'vitest';
import { sweeping } from '../../app/main.ts';
import type { Clock } from '../../runtime/ports.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import type { EventTime } from '../../schemas/ids.ts';

const HOUR_MS = 3_600_000;

for (const { name, eventTime, now, sweeps } of [
  { name: 'events are as far as the clock', eventTime: 50 * HOUR_MS, now: 50 * HOUR_MS, sweeps: [26 * HOUR_MS] },
  {
    name: 'events lag behind: their tombstones stay',
    eventTime: 30 * HOUR_MS,
    now: 50 * HOUR_MS,
    sweeps: [6 * HOUR_MS],
  },
  { name: 'a client is ahead: the clock counts', eventTime: 99 * HOUR_MS, now: 50 * HOUR_MS, sweeps: [26 * HOUR_MS] },
  { name: 'nothing has come in yet', eventTime: 0, now: 50 * HOUR_MS, sweeps: [] },
])
  test(`tombstones are swept by the earlier of event time and clock: ${name}`, async () => {
    const asked: EventTime[] = [];
    let tick = (): void => {};
    const clock: Clock = {
      now: () => now,
      every: (_, given) => {
        tick = given;
        return () => {};
      },
      sleep: async () => {},
    };
    const sweep = async (before: EventTime): Promise<number> => asked.push(before);
    sweeping({ sweep }, { eventTime }, clock, silentLogger, 24 * HOUR_MS);
    tick();
    expect(asked).toEqual(sweeps);
  });
