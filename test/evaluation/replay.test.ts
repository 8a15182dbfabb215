import { describe, expect, test } from 'vitest';
import { DEFAULT_FLEET, Fleet } from '../../evaluation/fleet.ts';
import { type ReplayOptions, replayEvents, replaySpan } from '../../evaluation/replay.ts';
import { parseTrace } from '../../evaluation/trace.ts';
import { eventTime } from '../../schemas/ids.ts';

const T = 1_700_000_000;
const trace = parseTrace(
  `t,calm,busy\n${[1, 0, 3].map((value, row) => `${T + row * 60},5,${value}`).join('\n')}\n`,
  'trace.csv',
);
const fleet = () => new Fleet({ ...DEFAULT_FLEET, filters: 50, clients: 100 });
const steps = (options: Partial<ReplayOptions> = {}) => [
  ...replayEvents(trace, { fleet: fleet(), events: 400, ...options }),
];

describe('replay', () => {
  test('exactly as many events come out as were asked for, whatever the rounding', () => {
    for (const events of [1, 2, 7, 399, 400, 1_001])
      for (const series of ['calm', 'busy'])
        expect(steps({ events, series }).reduce((sum, step) => sum + step.events.length, 0)).toBe(events);
  });

  test('they follow the trace: a row of three times the value has three times the events', () => {
    const byRow = [0, 0, 0];
    for (const { time, events } of steps({ series: 'busy' }))
      byRow[Math.floor((time / 1000 - T) / 60)]! += events.length;
    expect(byRow).toEqual([100, 0, 300]);
  });

  test('each event lies within its step, and time never goes back', () => {
    let before = 0;
    for (const { time, ms, events } of steps()) {
      for (const { timestamp } of events) {
        expect(timestamp).toBeGreaterThanOrEqual(Math.max(before, time));
        expect(timestamp).toBeLessThan(time + ms);
        before = timestamp;
      }
    }
    expect(before).toBeGreaterThan(0);
  });

  test('the trace can be shifted, as a whole', () => {
    const startAt = eventTime(1_800_000_000_000);
    expect(steps({ startAt }).map(({ time }) => time - startAt)).toEqual(steps().map(({ time }) => time - T * 1000));
  });

  test('rows are cut out by number', () => {
    expect(replaySpan(trace, { from: 1, to: 3 })).toEqual({ startAt: (T + 60) * 1000, ms: 120_000 });
    expect(steps({ from: 2 })[0]!.time).toBe((T + 120) * 1000);
    expect(steps({ from: 2 })).toHaveLength(6);
  });

  test('the same options give the same events', () => {
    expect(steps()).toEqual(steps());
  });

  for (const { name, options, message } of [
    { name: 'a series that is not there', options: { series: 'none' }, message: 'no series none; it has calm, busy' },
    { name: 'rows past the end', options: { to: 4 }, message: 'rows 0 to 3, not 0 to 4' },
    { name: 'rows the wrong way round', options: { from: 2, to: 1 }, message: 'not 2 to 1' },
    { name: 'rows in which nothing happens', options: { series: 'busy', from: 1, to: 2 }, message: 'all zero' },
  ])
    test(`${name} is refused before the first event`, () => {
      expect(() => replayEvents(trace, { fleet: fleet(), events: 1, ...options })).toThrow(
        expect.objectContaining({ code: 'TRACE_INVALID', message: expect.stringContaining(message) }),
      );
    });
});
