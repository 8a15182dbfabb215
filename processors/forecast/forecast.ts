// Forecast: turns each series' windows into steps of a minute, and each closed step into quantiles of the coming hour.
//
//   F1. A step closes once: when the task's event time has passed its end and the grace, or when a window two steps on
//       comes. A later window of it is counted in `lateWindows` and changes nothing.
//   F2. A missing window is a zero, for up to `zeroStepsMax` steps at once; a longer silence, which is one of the process and
//       not of the series (ticks close the steps of a running one), is a gap.
//   F3. A forecast made at a step depends on nothing after it.
//   F4. Time is what the windows say. A tick may run ahead of them by `jumpMs` at most: a wrong clock closes nothing. A
//       series that lies more than a step behind closes by its own windows while they come in: when a log is caught up
//       with, its source may be behind the others, and has more to tell.
//   F5. Bounded: at most `seriesMax` series, `seriesPerTick` forecasts for a tick; a series silent for `forgetSteps` is
//       forgotten, and its forecasts are removed.
//   F6. A model's garbage is replaced, counted, and told in `distrust`.
//   F7. A step closes by the time of the tick before: windows of one process that prove a time together may be committed
//       one after the other, and when time leaps (a replay, a log caught up with) the grace does not cover that.

import { AppError } from '../../schemas/errors.ts';
import type { EventTime } from '../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../schemas/records.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { type Emit, type Input, NOTHING, type Rows, type Step, type Table, type Tick } from '../step.ts';
import { LEVELS } from './calibration.ts';
import { STEP_MS } from './history.ts';
import { SeriesRow, SIGNALS } from './series-row.ts';
import { SignalForecast, type TrustSettings } from './signal-forecast.ts';

export interface ForecastSettings {
  /** How long a step stays open after its end. Longer than the grace of the rates stage, two seconds of idle ticks and a commit. */
  readonly graceMs: number;
  readonly jumpMs: number;
  readonly zeroStepsMax: number;
  readonly seriesMax: number;
  readonly seriesPerTick: number;
  readonly forgetSteps: number;
  /** A series silent for so many steps is told of once in as many steps. */
  readonly idleSteps: number;
  readonly trust: TrustSettings;
}

/** What holds unless the configuration says otherwise. */
export const FORECAST_DEFAULTS: ForecastSettings = {
  graceMs: 10_000,
  jumpMs: 3_600_000,
  zeroStepsMax: 180,
  seriesMax: 20_000,
  seriesPerTick: 500, // Some 50 ms of work; at five ticks a second, 150,000 series a minute.
  forgetSteps: 2 * 1440,
  idleSteps: 60,
  trust: { stepsMin: 60, errorMax: 1.5, shareMax: 1, garbageSteps: 60 },
};

/** The task's event time, as a row of its own. */
interface TimeRow {
  readonly kind: 'time';
  /** The latest end of a window. */
  windowTime: number;
  /** The latest time a step may close by. */
  time: number;
  /** Windows in a row that lie more than `jumpMs` behind. */
  behind: number;
  /** `time` at the last tick: what this time had proved then has been committed and read by now. Not stored. */
  heard: number;
}

export type Row = SeriesRow | TimeRow;
type Out = Emit<'forecasts', Forecast>;

export const histories: Table<Row> = {
  name: 'histories',
  encode(row) {
    const to = new BinaryWriter(6 * 1024).count(FORMAT);
    if (row.kind === 'time') to.count(0).double(row.windowTime).double(row.time).count(row.behind);
    else row.write(to.count(1));
    return to.bytes();
  },
  decode(bytes) {
    const from = new BinaryReader(bytes);
    const format = from.count();
    if (format !== FORMAT)
      throw new AppError('STORE_FORMAT', `forecast rows of format ${format} cannot be read`, { format });
    if (from.count() === 1) return SeriesRow.read(from);
    return { kind: 'time', windowTime: from.double(), time: from.double(), behind: from.count(), heard: -1 };
  },
};

export function forecastWith(
  settings: ForecastSettings,
): Step<Input<'rates', RateWindow> | Input<'clock', Tick>, Row, Out> {
  return (rows, input) =>
    input.topic === 'rates' ? onWindow(rows, input.value, settings) : onTick(rows, input.value, settings);
}

const FORMAT = 1;
/** No series has this name. */
const TIME_KEY = '';
/** So many windows in a row from far behind, and event time was wrong: some ten minutes of one series, or seconds of many. */
const BEHIND_MAX = 60;
/** Ticks (about five a second) without a window after which a series counts as idle: two seconds, as in the rates stage. */
const IDLE_TICKS = 10;

function onWindow(rows: Rows<Row>, window: RateWindow, settings: ForecastSettings): readonly Out[] {
  const time = timeOf(rows);
  observe(time, window.windowStart + window.windowMs, settings);
  rows.set(TIME_KEY, time);
  const step = Math.floor(window.windowStart / STEP_MS);
  let row = rows.get(window.series) as SeriesRow | undefined;
  if (row === undefined) {
    if (rows.size > settings.seriesMax) return NOTHING; // F5
    // A series begins with its first whole step: a part of one would look like a ramp.
    row = new SeriesRow(window.series, Math.ceil(window.windowStart / STEP_MS), [new SignalForecast(), undefined]);
  }
  rows.set(window.series, row);
  const out: Out[] = [];
  // F4: this series followed a clock that has been taken back.
  if (row.openStep * STEP_MS > time.time + settings.jumpMs) row.jump(step);
  if (step < row.openStep) {
    row.lateWindows++; // F1
    return NOTHING;
  }
  if (step > row.openStep + 1 && closeUpTo(rows, row, step - 1, settings, out) === 'gap') row.jump(step); // F1, F2
  row.add(step, window);
  return out;
}

function onTick(rows: Rows<Row>, tick: Tick, settings: ForecastSettings): readonly Out[] {
  const time = rows.get(TIME_KEY) as TimeRow | undefined;
  if (time === undefined) return NOTHING;
  if (tick.eventTime > time.time && tick.eventTime <= time.windowTime + settings.jumpMs) time.time = tick.eventTime; // F4
  const closedBefore = Math.floor((Math.min(time.heard, time.time) - settings.graceMs) / STEP_MS); // F7
  time.heard = time.time;
  const out: Out[] = [];
  let closed = 0;
  for (const [key, row] of rows.entries()) {
    if (row.kind === 'time') continue;
    const isIdle = ++row.silentTicks >= IDLE_TICKS;
    if (row.openStep >= closedBefore || (row.openStep < closedBefore - 1 && !isIdle)) continue; // F4
    if (closed++ === settings.seriesPerTick) break; // F5: the next tick goes on.
    if (row.silentSteps >= settings.forgetSteps) {
      rows.delete(key);
      for (const signal of SIGNALS) out.push({ topic: 'forecasts', key: `${key}|${signal}`, value: null });
      continue;
    }
    rows.set(key, row);
    closeUpTo(rows, row, closedBefore, settings, out);
  }
  if (closed > 0) rows.set(TIME_KEY, time);
  return out;
}

/** Closes the steps before `next`, and tells the forecast after the last of them. */
function closeUpTo(
  rows: Rows<Row>,
  row: SeriesRow,
  next: number,
  settings: ForecastSettings,
  out: Out[],
): 'gap' | undefined {
  for (let open = 0; open < 2 && row.openStep < next; open++) row.closeStep();
  if (next - row.openStep > settings.zeroStepsMax) {
    row.jump(next); // F2
    return 'gap';
  }
  while (row.openStep < next) row.closeStep();
  // While catching up, forecasts of the past help nobody.
  const { time } = timeOf(rows);
  if (time - row.openStep * STEP_MS > 3 * STEP_MS + settings.graceMs) return undefined;
  const silent = row.silentSteps;
  if (silent > settings.idleSteps && silent % settings.idleSteps !== 0) return undefined;
  for (let index = 0; index < SIGNALS.length; index++) {
    const signal = row.signals[index];
    if (signal === undefined) continue;
    out.push({
      topic: 'forecasts',
      key: `${row.series}|${SIGNALS[index]}`,
      value: forecastOf(row, index, signal, settings),
    });
  }
  return undefined;
}

function forecastOf(row: SeriesRow, index: number, signal: SignalForecast, settings: ForecastSettings): Forecast {
  const { history, ensemble } = signal;
  const distrust = signal.distrust(settings.trust);
  return {
    series: row.series,
    signal: SIGNALS[index]!,
    madeAt: ((history.step + 1) * STEP_MS) as EventTime,
    stepMs: STEP_MS,
    levels: LEVELS,
    quantiles: signal.quantiles(),
    currentPerSecond: history.last,
    model: ensemble.leader,
    weights: ensemble.shares(),
    recentError: signal.recentError(),
    ...signal.traits(),
    trusted: distrust === '',
    distrust,
    distinctClients: row.distinctClients,
    bytesPerSecond: row.bytesPerSecond,
  };
}

function timeOf(rows: Rows<Row>): TimeRow {
  return (
    (rows.get(TIME_KEY) as TimeRow | undefined) ?? { kind: 'time', windowTime: -1, time: -1, behind: 0, heard: -1 }
  );
}

function observe(time: TimeRow, end: number, settings: ForecastSettings): void {
  if (end < time.windowTime - settings.jumpMs) {
    if (++time.behind < BEHIND_MAX) return;
    time.windowTime = time.time = end;
  }
  time.behind = 0;
  time.windowTime = Math.max(time.windowTime, end);
  time.time = Math.max(time.time, end);
}
