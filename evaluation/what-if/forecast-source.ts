// Forecast source: the forecasts of the coming rates: by the forecaster, which has seen only the past, or by an oracle
// that knows the future. Both give the records that the plan stage reads.
//
//   O1. A forecast made at the end of a minute depends on nothing after it, except the oracle's.

import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import { Forecaster } from '../../processors/forecast/forecaster.ts';
import { MINUTE_GRID, NEAR_STEPS } from '../../processors/forecast/grid.ts';
import { shapeOfHours } from '../../processors/forecast/history/history.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { FAR, FAR_STEP_STEPS, Signal } from '../../processors/forecast/signal.ts';
import { type EventTime, eventTime } from '../../schemas/ids.ts';
import type { Forecast } from '../../schemas/records.ts';
import { type CountedSeries, type SyntheticFleet, UNSUBSCRIBE_SHARE } from './fleet.ts';

export interface ForecastSource {
  /** Takes in the rates of a minute. */
  close(minute: number): void;
  /** The forecasts at the end of the minute. Valid after `close`. */
  forecasts(minute: number, madeAt: EventTime): Forecast[];
}

const STEP_MS = MINUTE_GRID.stepMs;
export const forecasterOfMinutes = (): Forecaster => {
  const { models, historyHours } = FORECAST_DEFAULTS;
  return new Forecaster(MINUTE_GRID, models, shapeOfHours(MINUTE_GRID, historyHours));
};

/** The system's own forecaster; every fit is made as soon as it is due. */
export class LearnedForecasts implements ForecastSource {
  readonly #fleet: SyntheticFleet;
  readonly #forecaster = forecasterOfMinutes();
  readonly #signals: readonly { readonly counted: CountedSeries; readonly signal: Signal }[];

  constructor(fleet: SyntheticFleet, counted: readonly CountedSeries[]) {
    this.#fleet = fleet;
    this.#signals = counted.map((each) => ({ counted: each, signal: new Signal(this.#forecaster) }));
  }

  close(minute: number): void {
    for (const { counted, signal } of this.#signals) {
      signal.close(minute, this.#fleet.sum(counted.shares, minute));
      this.#forecaster.fit(signal.memory, this.#forecaster.fitsDue(signal.memory));
    }
  }

  forecasts(_minute: number, madeAt: EventTime): Forecast[] {
    return this.#signals.flatMap(({ counted, signal }) => {
      const distrust = signal.distrust(FORECAST_DEFAULTS.trust);
      const { near, far } = signal.quantiles();
      return ofBothSignals(counted, {
        madeAt,
        levels: LEVELS,
        quantiles: near,
        farQuantiles: far,
        currentPerSecond: signal.memory.history.last,
        distrust,
      });
    });
  }
}

/** The future rates exactly: no forecaster can be better. */
export class PerfectForecasts implements ForecastSource {
  readonly #fleet: SyntheticFleet;
  readonly #counted: readonly CountedSeries[];

  constructor(fleet: SyntheticFleet, counted: readonly CountedSeries[]) {
    this.#fleet = fleet;
    this.#counted = counted;
  }

  close(): void {}

  forecasts(minute: number, madeAt: EventTime): Forecast[] {
    const last = this.#fleet.minutes - 1;
    return this.#counted.flatMap((counted) => {
      const rateAfter = (minutes: number): number => this.#fleet.sum(counted.shares, Math.min(last, minute + minutes));
      return ofBothSignals(counted, {
        madeAt,
        levels: [0.5],
        quantiles: Array.from({ length: NEAR_STEPS }, (_, step) => rateAfter(1 + step)),
        farQuantiles: FAR.map(rateAfter),
        currentPerSecond: rateAfter(0),
        distrust: '',
      });
    });
  }
}

interface Told {
  readonly madeAt: EventTime;
  readonly levels: readonly number[];
  readonly quantiles: readonly number[];
  readonly farQuantiles: readonly number[];
  readonly currentPerSecond: number;
  readonly distrust: string;
}

/** Subscriptions come and go in proportion to messages, so one forecast serves both signals. */
function ofBothSignals({ series, eventsPerMessage }: CountedSeries, told: Told): Forecast[] {
  const publishes: Forecast = {
    ...told,
    series,
    signal: 'PUBLISHES',
    madeAt: eventTime(told.madeAt),
    stepMs: STEP_MS,
    farStepMs: FAR_STEP_STEPS * STEP_MS,
    trusted: told.distrust === '',
    ...UNTOLD,
  };
  if (eventsPerMessage === 0) return [publishes];
  const subscriptions: Forecast = {
    ...publishes,
    signal: 'SUBSCRIPTIONS',
    quantiles: told.quantiles.map((rate) => rate * eventsPerMessage),
    farQuantiles: told.farQuantiles.map((rate) => rate * eventsPerMessage),
    currentPerSecond: told.currentPerSecond * eventsPerMessage,
  };
  return [publishes, subscriptions];
}

/** Fields of a forecast that the planner does not use. */
const UNTOLD = {
  model: '',
  weights: {},
  recentError: -1,
  dispersion: 1,
  peakToMean: 1,
  seasonMs: 0,
  pattern: 'CONSISTENT',
  distinctClients: 0,
  bytesPerSecond: 0,
  coverage: -1,
  stepsSeen: 0,
  unsubscribeShare: UNSUBSCRIBE_SHARE,
} as const;
