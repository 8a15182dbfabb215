// Forecast: turns each series' windows into steps of a minute, and each closed step into quantiles of the coming hour and,
// hour by hour, of the day.
//
//   F1. A step closes once: when the task's event time has passed its end and the grace, or when a window two steps
//       later comes. A window that comes after its step has closed is counted in `lateWindows` and changes nothing.
//   F2. A missing window is a zero, for up to `zeroStepsMax` steps in a row. A longer silence is a gap: ticks close the
//       steps of a running series, so such a silence means that the process was down.
//   F3. A forecast made at a step depends on nothing after it.
//   F4. Event time comes from the windows. A tick may run ahead of them by at most `nearMs` (watermark.ts W1), so that
//       a wrong clock closes no step. A series that lies more than one step behind is closed by its own windows while
//       they come in: while a backlog is read, its source may be behind the others, and more of its windows are still
//       to come.
//   F5. Bounded: at most `seriesMax` series and `seriesPerTick` forecasts for a tick; a series that is silent for
//       `forgetSteps` is forgotten, and its forecasts are removed.
//   F6. A NaN or infinity from a model is replaced, counted, and reported in `distrust`.
//   F7. A step closes by the event time of the tick before the current one: windows of one process that carry the same
//       event time may be committed one after the other, and when event time leaps (a replay, a backlog) the grace does
//       not cover that.
//   F8. Costly fits are asked for, the busiest series first and within a budget (fit-queue.ts); the answers are taken
//       when they come. Until then forecasts go on with the parameters fitted before, or with the models that need no
//       fit.

import { AppError } from '../../schemas/errors.ts';
import type { EventTime, SeriesId } from '../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../schemas/records.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { Watermark } from '../../state/watermark.ts';
import { type Emit, type Input, NOTHING, type Rows, type Step, type Table, type Tick } from '../step.ts';
import { LEVELS } from './combine/calibration.ts';
import { FitQueue } from './fit-queue.ts';
import { type FitRequest, type FitResult, fitRequest } from './fits.ts';
import { Forecaster } from './forecaster.ts';
import { MINUTE_GRID } from './grid.ts';
import { shapeOfHours } from './history/history.ts';
import { WarmStart } from './history/warm-start.ts';
import { PastRow, SeriesRow, SIGNALS } from './series-row.ts';
import type { ForecastSettings } from './settings.ts';
import { FAR_STEP_STEPS, type Signal } from './signal.ts';

/** The task's event time: one row of its own in the table. */
interface TimeRow {
  readonly kind: 'time';
  /** Event time, by the ends of the windows read. */
  readonly watermark: Watermark;
  /** The latest event time by which a step may close. */
  time: number;
  // Not stored:
  /** `time` at the last tick: every window up to then has been committed and read by now (F7). */
  heard: number;
  /** How many series the task has; -1 until they have been counted. */
  seriesCount: number;
  readonly queue: FitQueue;
  readonly warmStart: WarmStart;
}

export type Row = SeriesRow | PastRow | TimeRow | StoredRow;
type In = Input<'rates', RateWindow> | Input<'clock', Tick> | Input<'fitted', FitResult>;
type Out = Emit<'forecasts', Forecast> | Emit<'fits', FitRequest>;

export interface ForecastStage {
  readonly keeps: Table<Row>;
  readonly step: Step<In, Row, Out>;
}

/** The stage's step and its table. */
export function forecastWith(settings: ForecastSettings): ForecastStage {
  const shape = shapeOfHours(MINUTE_GRID, settings.historyHours);
  const brain = new Forecaster(MINUTE_GRID, settings.models, shape);
  const context: Context = { settings, brain };
  return {
    keeps: tableOf(settings),
    step(rows, input) {
      if (input.topic === 'rates') return onWindow(rows, input.value, context);
      if (input.topic === 'clock') return onTick(rows, input.value, context);
      return onFitted(rows, input.value, context);
    },
  };
}

interface Context {
  readonly settings: ForecastSettings;
  readonly brain: Forecaster;
}

/** A series row as it was stored. It becomes a `SeriesRow` when its past row has been read too. */
interface StoredRow {
  readonly kind: 'stored';
  readonly bytes: Buffer;
}

const FORMAT = 2;
const TIME = 0;
const SERIES = 1;
const PAST = 2;
/** Key of the time row. No series has an empty name. */
const TIME_KEY = '';
/** Suffix of a past row's key. No topic contains this character. */
const PAST_SUFFIX = '\u0000past';
/** Ticks (about five a second) without a window after which a series counts as idle: two seconds, as in the rates stage. */
const IDLE_TICKS = 10;
/** Age in steps from which a new series of the same prefix may start from this one's state. */
const ELDER_STEPS = 240;
const STEP_MS = MINUTE_GRID.stepMs;

function tableOf(settings: ForecastSettings): Table<Row> {
  return {
    name: 'histories',
    encode(row) {
      if (row.kind === 'stored') return row.bytes;
      const to = new BinaryWriter(4 * 1024).count(FORMAT);
      if (row.kind === 'time') writeTime(to.count(TIME), row);
      else if (row.kind === 'series') row.write(to.count(SERIES));
      else return Buffer.concat([to.count(PAST).bytes(), row.bytes()]);
      return to.bytes();
    },
    decode(bytes) {
      const from = new BinaryReader(bytes);
      const format = from.count();
      if (format !== FORMAT)
        throw new AppError('STORE_FORMAT', `forecast rows of format ${format} cannot be read`, { format });
      const kind = from.count();
      if (kind === SERIES) return { kind: 'stored', bytes };
      if (kind === PAST) return new PastRow(bytes.subarray(2));
      return readTime(from, settings);
    },
  };
}

function onWindow(rows: Rows<Row>, window: RateWindow, context: Context): readonly Out[] {
  const { settings } = context;
  const time = timeOf(rows, settings);
  observe(time, window.windowStart + window.windowMs, settings);
  rows.set(TIME_KEY, time);
  const step = Math.floor(window.windowStart / STEP_MS);
  const row = seriesOf(rows, window.series, context) ?? begun(rows, time, window, context);
  if (row === undefined) return NOTHING; // F5
  rows.set(window.series, row);
  const out: Out[] = [];
  // F4: this series followed an event time that has been taken back.
  if (row.openStep * STEP_MS > time.time + settings.watermark.nearMs) row.jump(step);
  if (step < row.openStep) {
    row.lateWindows++; // F1
    return NOTHING;
  }
  if (step > row.openStep + 1 && closeUpTo(rows, row, step - 1, context, out) === 'gap') row.jump(step); // F1, F2
  row.add(step, window);
  return out;
}

function onTick(rows: Rows<Row>, tick: Tick, context: Context): readonly Out[] {
  const { settings } = context;
  const time = rows.get(TIME_KEY) as TimeRow | undefined;
  if (time === undefined) return NOTHING;
  if (tick.eventTime > time.time && time.watermark.reaches(tick.eventTime, settings.watermark))
    time.time = tick.eventTime; // F4
  const closedBefore = Math.floor((Math.min(time.heard, time.time) - settings.graceMs) / STEP_MS); // F7
  time.heard = time.time;
  const out: Out[] = [];
  let closed = 0;
  for (const [key, each] of rows.entries()) {
    if (each.kind === 'time' || each.kind === 'past') continue;
    const row = each.kind === 'stored' ? seriesOf(rows, key, context)! : each;
    const isIdle = ++row.silentTicks >= IDLE_TICKS;
    if (row.openStep >= closedBefore || (row.openStep < closedBefore - 1 && !isIdle)) continue; // F4
    if (closed++ === settings.seriesPerTick) break; // F5: the next tick goes on.
    if (row.silentSteps >= settings.forgetSteps) {
      forget(rows, time, row, out);
      continue;
    }
    rows.set(key, row);
    closeUpTo(rows, row, closedBefore, context, out);
  }
  if (closed > 0) rows.set(TIME_KEY, time);
  askForFits(rows, time, context, out);
  return out;
}

/** F8: takes the answer of a fit. */
function onFitted(rows: Rows<Row>, result: FitResult, context: Context): readonly Out[] {
  const time = timeOf(rows, context.settings);
  time.queue.answered(fitKey(result.series as SeriesId, result.signal));
  const row = seriesOf(rows, result.series as SeriesId, context);
  const signal = row?.signals[result.signal];
  if (row === undefined || signal === undefined) return NOTHING;
  for (const { model, parameters } of result.fits) {
    const m = context.brain.models.findIndex(({ name }) => name === model);
    if (m >= 0) context.brain.take(signal.memory, m, parameters, result.regime);
  }
  time.queue.learn(signal.memory.history, signal.memory.parameters);
  write(rows, row, true);
  return NOTHING;
}

/** The series' row, read whole from its stored parts; `undefined` when there is none. */
function seriesOf(rows: Rows<Row>, series: string, { brain }: Context): SeriesRow | undefined {
  const row = rows.get(series);
  if (row === undefined || row.kind !== 'stored') return row as SeriesRow | undefined;
  const past = (rows.get(series + PAST_SUFFIX) as PastRow | undefined) ?? new PastRow();
  const from = new BinaryReader(row.bytes);
  from.count(); // The format and
  from.count(); // the kind have been read already.
  const whole = SeriesRow.read(from, brain, past);
  rows.set(series, whole);
  return whole;
}

/** A new series. It begins with its first whole step: a partly counted one would look like a ramp. */
function begun(rows: Rows<Row>, time: TimeRow, window: RateWindow, context: Context): SeriesRow | undefined {
  if (time.seriesCount < 0) {
    time.seriesCount = 0;
    for (const [, row] of rows.entries()) if (row.kind === 'series' || row.kind === 'stored') time.seriesCount++;
  }
  if (time.seriesCount >= context.settings.seriesMax) return undefined;
  time.seriesCount++;
  const row = new SeriesRow(context.brain, window.series, Math.ceil(window.windowStart / STEP_MS));
  const senior = time.warmStart.of(window.series);
  const from = senior === undefined ? undefined : seriesOf(rows, senior, context)?.signals[0];
  if (from !== undefined) context.brain.inherit(row.signals[0].memory, from.memory);
  return row;
}

function forget(rows: Rows<Row>, time: TimeRow, row: SeriesRow, out: Out[]): void {
  rows.delete(row.series);
  rows.delete(row.series + PAST_SUFFIX);
  time.warmStart.forget(row.series);
  if (time.seriesCount > 0) time.seriesCount--;
  for (const signal of SIGNALS) out.push({ topic: 'forecasts', key: `${row.series}|${signal}`, value: null });
}

/** Closes the steps before `next`, and emits the forecast made after the last of them. */
function closeUpTo(rows: Rows<Row>, row: SeriesRow, next: number, context: Context, out: Out[]): 'gap' | undefined {
  const { settings } = context;
  for (let open = 0; open < 2 && row.openStep < next; open++) row.closeStep();
  if (next - row.openStep > settings.zeroStepsMax) {
    row.jump(next); // F2
    write(rows, row);
    return 'gap';
  }
  while (row.openStep < next) row.closeStep();
  write(rows, row);
  const time = timeOf(rows, settings);
  offer(rows, time, row, context);
  // While a backlog is read, forecasts of the past help nobody.
  if (time.time - row.openStep * STEP_MS > 3 * STEP_MS + settings.graceMs) return undefined;
  const silent = row.silentSteps;
  if (silent > settings.idleSteps && silent % settings.idleSteps !== 0) return undefined;
  for (const [index, signal] of row.signals.entries()) {
    if (signal === undefined) continue;
    const value = forecastOf(row, index, signal, settings);
    out.push({ topic: 'forecasts', key: `${row.series}|${value.signal}`, value });
  }
  return undefined;
}

/** Marks the rows of a series that must be written: the past row too when it is due or has changed. */
function write(rows: Rows<Row>, row: SeriesRow, hasPastChanged = false): void {
  rows.set(row.series, row);
  if (row.past.isDue() || hasPastChanged) rows.set(row.series + PAST_SUFFIX, row.past);
}

/** Offers a series to the fit queue when a fit of it is due, and for warm starts when it is old enough. */
function offer(rows: Rows<Row>, time: TimeRow, row: SeriesRow, { settings, brain }: Context): void {
  for (const [index, signal] of row.signals.entries()) {
    if (signal === undefined || signal.mean < settings.fitPerSecondMin) continue;
    if (brain.fitsDue(signal.memory).length === 0) continue;
    time.queue.offer({ key: fitKey(row.series, index), value: signal.mean, step: row.openStep });
  }
  const { age } = row.signals[0].memory.history;
  if (age >= ELDER_STEPS && age % ELDER_STEPS === 0)
    time.warmStart.add(row.series, (series) => rows.get(series) !== undefined);
}

/** F8: asks for the fits that are next in the queue, and serves waiting series from similar ones. */
function askForFits(rows: Rows<Row>, time: TimeRow, context: Context, out: Out[]): void {
  const { brain } = context;
  if (time.queue.waitingCount === 0) return;
  for (const { key } of time.queue.next(Math.floor(time.time / STEP_MS))) {
    const [series, index] = fitOf(key);
    const signal = seriesOf(rows, series, context)?.signals[index];
    if (signal === undefined) continue;
    const models = brain.fitsDue(signal.memory).map((m) => brain.models[m]!.name);
    out.push({
      topic: 'fits',
      key: series,
      value: fitRequest(signal.memory.history, { series, signal: index, models }),
    });
  }
  for (const { key } of time.queue.rest()) {
    const [series, index] = fitOf(key);
    const row = seriesOf(rows, series, context);
    const signal = row?.signals[index];
    const kindred = signal && time.queue.kindred(signal.memory.history);
    if (row === undefined || signal === undefined || kindred === undefined) continue;
    for (const m of brain.fitsDue(signal.memory)) brain.take(signal.memory, m, kindred[m]);
    write(rows, row, true);
  }
}

const fitKey = (series: SeriesId, signal: number): string => `${signal}${series}`;
const fitOf = (key: string): [series: SeriesId, signal: number] => [key.slice(1) as SeriesId, Number(key[0])];

function forecastOf(row: SeriesRow, index: number, signal: Signal, settings: ForecastSettings): Forecast {
  const { history } = signal.memory;
  const { near, far } = signal.quantiles();
  const { leader, weights } = signal.opinion();
  const distrust = signal.distrust(settings.trust);
  const { pattern } = signal;
  return {
    series: row.series,
    signal: SIGNALS[index]!,
    madeAt: ((history.step + 1) * STEP_MS) as EventTime,
    stepMs: STEP_MS,
    levels: LEVELS,
    quantiles: near,
    currentPerSecond: history.last,
    model: leader,
    weights,
    recentError: signal.recentError(),
    dispersion: pattern.dispersion,
    peakToMean: pattern.peakToMean,
    seasonMs: (pattern.seasons[0]?.steps ?? 0) * STEP_MS,
    pattern: pattern.label,
    trusted: distrust === '',
    distrust,
    distinctClients: row.distinctClients,
    bytesPerSecond: row.bytesPerSecond,
    farStepMs: FAR_STEP_STEPS * STEP_MS,
    farQuantiles: far,
    coverage: signal.coverage(),
    stepsSeen: history.age,
    unsubscribeShare: row.unsubscribeShare,
  };
}

const freshTime = (settings: ForecastSettings): TimeRow => ({
  kind: 'time',
  watermark: new Watermark(),
  time: -1,
  heard: -1,
  seriesCount: -1,
  queue: new FitQueue(settings.fitsPerMinute),
  warmStart: new WarmStart(),
});

function timeOf(rows: Rows<Row>, settings: ForecastSettings): TimeRow {
  return (rows.get(TIME_KEY) as TimeRow | undefined) ?? freshTime(settings);
}

function observe(time: TimeRow, end: number, settings: ForecastSettings): void {
  const verdict = time.watermark.hear(end, settings.watermark);
  time.time = verdict === 'restarted' ? end : Math.max(time.time, time.watermark.time);
}

function writeTime(to: BinaryWriter, { watermark, time }: TimeRow): void {
  to.double(watermark.time).double(time).count(Math.abs(watermark.dissent)).double(watermark.dissentTime);
}

/** Reads the time row. An earlier release wrote no `dissentTime`: the count of series behind then starts anew. */
function readTime(from: BinaryReader, settings: ForecastSettings): TimeRow {
  const row = freshTime(settings);
  const { watermark } = row;
  watermark.time = from.double();
  row.time = from.double();
  watermark.dissent = -from.count(); // No series is ahead: event time ahead is believed at once.
  watermark.votes = watermark.time < 0 ? 0 : 1;
  if (!from.isAtEnd) watermark.dissentTime = from.double();
  return row;
}
