// Settings of the forecast stage: what an operator may set, and the other numbers that it uses.

import { fallbacksOf, integer, names, text, type ValuesOf } from '../../schemas/setting.ts';
import { singleEvents, type WatermarkRule } from '../../state/watermark.ts';
import { RATES_SETTINGS } from '../rates/settings.ts';
import type { ModelSet } from './forecaster.ts';
import { DEFAULT_MODELS, MODEL_NAMES } from './models/models.ts';
import type { TrustSettings } from './signal.ts';

export const FORECAST_SETTINGS = {
  historyHours: integer(24 * 15, { min: 1, max: 24 * 400, unit: 'hours' }, 'History kept for each series.'),
  models: names(
    MODEL_NAMES,
    [],
    `Models to combine, separated by commas; empty uses the default ones. Available: ${MODEL_NAMES.join(', ')}.`,
  ),
  lstmWeightsPath: text(
    '',
    'Weights of the model lstm, as `foreshard train` writes them; empty uses the built-in ones.',
  ),
  fitsPerMinute: integer(
    60, // Some two seconds of a thread; enough for 25,000 signals, three fits a day each.
    { min: 0, max: 10_000, unit: 'fits' },
    'Model fits per minute and partition, the busiest series first; 0 uses only models that need no fit.',
  ),
};

export interface ForecastSettings {
  /** How long a step stays open after its end (`graceAfter`). */
  readonly graceMs: number;
  /** The rule of event time for the windows read. */
  readonly watermark: WatermarkRule;
  readonly zeroStepsMax: number;
  readonly seriesMax: number;
  readonly seriesPerTick: number;
  readonly forgetSteps: number;
  /** The forecast of a series that is silent for this many steps is published only once in as many steps. */
  readonly idleSteps: number;
  readonly trust: TrustSettings;
  /** The models that are combined. */
  readonly models: ModelSet;
  readonly historyHours: number;
  /** For one task, per minute of event time. */
  readonly fitsPerMinute: number;
  /** A series with a lower mean rate gets no fit of its own. */
  readonly fitPerSecondMin: number;
}

/** After the rates stage's grace, the longest time until a window can be read: two seconds of idle ticks, and two commits. */
const WINDOW_DELAY_MS = 8_000;

/** The grace of a step whose windows close `rateGraceMs` after their end: less would close steps before late windows come. */
export const graceAfter = (rateGraceMs: number): number => rateGraceMs + WINDOW_DELAY_MS;

/** The stage's settings, from what was configured and the models made from it. */
export function forecastSettings(
  given: Pick<ValuesOf<typeof FORECAST_SETTINGS>, 'historyHours' | 'fitsPerMinute'>,
  models: ModelSet,
  rateGraceMs: number,
): ForecastSettings {
  return {
    graceMs: graceAfter(rateGraceMs),
    // Event time far ahead is believed at once: the rates stage has checked it (rates.ts R3). After this many windows in a
    // row from far behind, event time is taken to be wrong: some ten minutes of one series, or seconds of many.
    watermark: { ...singleEvents(1), behindInRow: 60 },
    zeroStepsMax: 180,
    seriesMax: 20_000,
    seriesPerTick: 500, // Some 50 ms of work; at five ticks a second, 150,000 series a minute.
    forgetSteps: 2 * 1440,
    idleSteps: 60,
    trust: { stepsMin: 60, errorMax: 1.5, shareMax: 0.8, coverageMin: 0.5, garbageSteps: 60 },
    models,
    historyHours: given.historyHours,
    fitsPerMinute: given.fitsPerMinute,
    fitPerSecondMin: 1 / 60,
  };
}

/** The settings when nothing is configured. */
export const FORECAST_DEFAULTS: ForecastSettings = forecastSettings(
  fallbacksOf(FORECAST_SETTINGS),
  DEFAULT_MODELS,
  RATES_SETTINGS.rateGraceMs.fallback,
);
