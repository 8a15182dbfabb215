// Replay: subscription events of a synthetic fleet that follow the rates of a trace. For `foreshard replay`, benchmarks
// and system tests. Pure.
//
//   Y1. Exactly `events` events come out, distributed over the trace in proportion to its values.
//   Y2. The same trace, fleet settings and options give the same events.

import { AppError } from '../schemas/errors.ts';
import { type EventTime, eventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import type { Fleet } from './fleet.ts';
import type { Trace } from './trace.ts';

export interface ReplayOptions {
  /** The source of the events; it stores the live subscriptions. */
  readonly fleet: Fleet;
  /** Total number of events. */
  readonly events: number;
  /** Name of the series; by default the first one. */
  readonly series?: string;
  /** Rows [from, to) of the trace; 0 is the first. */
  readonly from?: number;
  readonly to?: number;
  /** Event time at which the first row begins; by default its time in the trace. */
  readonly startAt?: EventTime;
}

export interface ReplayStep {
  /** Start of the step; its events lie within `ms` from it. */
  readonly time: EventTime;
  readonly ms: number;
  readonly events: readonly SubscriptionEvent[];
}

/** Longest step: that of a rate window, so that the windows of a replay have the rates of the trace. */
export const REPLAY_STEP_MS = 10_000;

/** Throws TRACE_INVALID when the series or the rows are not in the trace, or nothing happens in them. */
export function replayEvents(trace: Trace, options: ReplayOptions): Iterable<ReplayStep> {
  const { from, to, values } = rowsOf(trace, options);
  const total = values.slice(from, to).reduce((sum, value) => sum + value, 0);
  if (!(total > 0))
    throw new AppError('TRACE_INVALID', `rows ${from} to ${to} of the trace are all zero`, { from, to });
  return stepsOf(trace, options, { from, to, values, total });
}

/** When the replayed rows begin and end, in the trace's time. */
export function replaySpan(
  trace: Trace,
  options: Pick<ReplayOptions, 'series' | 'from' | 'to'>,
): { readonly startAt: EventTime; readonly ms: number } {
  const { from, to } = rowsOf(trace, options);
  return { startAt: eventTime(trace.seconds[from]! * 1_000), ms: (to - from) * trace.stepSeconds * 1_000 };
}

interface Rows {
  readonly from: number;
  readonly to: number;
  readonly values: Float64Array;
}

function rowsOf(trace: Trace, options: Pick<ReplayOptions, 'series' | 'from' | 'to'>): Rows {
  const series = options.series ?? trace.series[0]!;
  const values = trace.values[trace.series.indexOf(series)];
  if (values === undefined)
    throw new AppError('TRACE_INVALID', `the trace has no series ${series}; it has ${trace.series.join(', ')}`, {
      series,
    });
  const from = options.from ?? 0;
  const to = options.to ?? values.length;
  if (!(from >= 0 && from < to && to <= values.length))
    throw new AppError('TRACE_INVALID', `the trace has rows 0 to ${values.length}, not ${from} to ${to}`, { from, to });
  return { from, to, values };
}

function* stepsOf(
  trace: Trace,
  { fleet, events: wanted, startAt }: ReplayOptions,
  { from, to, values, total }: Rows & { readonly total: number },
): Generator<ReplayStep> {
  const rowMs = trace.stepSeconds * 1_000;
  const parts = Math.max(1, Math.ceil(rowMs / REPLAY_STEP_MS));
  const shiftMs = startAt === undefined ? 0 : startAt - trace.seconds[from]! * 1_000;
  let sum = 0;
  let done = 0;
  for (let row = from; row < to; row++) {
    for (let part = 0; part < parts; part++) {
      const isLast = row === to - 1 && part === parts - 1;
      sum += values[row]! / parts;
      // The events due so far, less those that came out: rounding errors never add up (Y1).
      const due = isLast ? wanted : Math.min(wanted, Math.floor((sum / total) * wanted + 1e-9));
      const count = due - done;
      const begin = trace.seconds[row]! * 1_000 + shiftMs + (part * rowMs) / parts;
      const events: SubscriptionEvent[] = [];
      for (let each = 0; each < count; each++)
        events.push(fleet.next(eventTime(Math.floor(begin + ((each + 0.5) * rowMs) / parts / count))));
      done = due;
      yield { time: eventTime(Math.floor(begin)), ms: rowMs / parts, events };
    }
  }
}
