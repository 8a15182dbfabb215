// Planned: the whole planner over a synthetic fleet, minute by minute: it gets forecasts and measurements, and decides.
//
//   P1. At the end of a minute the planner gets the measurements of that minute and none after it; forecasts may know
//       more.
//   P2. It starts with the two shards of genesis, and has `settleMinutes` to grow before anything counts.

import type { Catalog } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS, type PlanSettings } from '../../processors/plan/settings.ts';
import { type EventTime, eventTime, type SliceKey } from '../../schemas/ids.ts';
import type { Account, ServingShard } from './account.ts';
import { Cell, genesisOf } from './cell.ts';
import { type CountedSeries, type SliceWeights, type SyntheticFleet, UNSUBSCRIBE_SHARE } from './fleet.ts';
import type { ForecastSource } from './forecast-source.ts';
import { PACE, STEP_SECONDS, STEPS_PER_MINUTE } from './pace.ts';

export interface PlannedRun {
  readonly fleet: SyntheticFleet;
  readonly counted: readonly CountedSeries[];
  readonly catalog: Catalog;
  readonly forecasts: ForecastSource;
  readonly account: Account;
  /** Time of both clocks at minute 0. */
  readonly startAt: number;
  /** The minute in which the planner starts; before it only the forecasts learn. */
  readonly settleFrom: number;
}

const MINUTE_MS = 60_000;

/** Runs to the end of the fleet's load; yields after each minute. */
export function* runPlanner(run: PlannedRun): Generator<number, Cell> {
  const { fleet, catalog, forecasts, account, startAt, settleFrom } = run;
  for (let minute = 0; minute < settleFrom; minute++) {
    forecasts.close(minute);
    yield minute;
  }
  const { partitions, coefficients } = fleet.settings;
  const settings: PlanSettings = {
    ...PLAN_DEFAULTS,
    coefficients,
    partitions,
    catalog,
    genesis: genesisOf({ catalog }),
  };
  const timeOf = (minute: number): EventTime => eventTime(startAt + minute * MINUTE_MS);
  const cell = new Cell(settings, PACE, account, timeOf(settleFrom));
  const load = new CellLoad(cell, fleet);
  for (let minute = settleFrom; minute < fleet.minutes; minute++) {
    for (let step = 1; step < STEPS_PER_MINUTE; step++) {
      account.step(minute, cell.paid(), load.serving(minute));
      cell.tick(timeOf(minute) + step * STEP_SECONDS * 1000);
    }
    account.step(minute, cell.paid(), load.serving(minute));
    forecasts.close(minute);
    tell(run, cell, minute, timeOf(minute + 1));
    load.measure(minute, timeOf(minute + 1));
    cell.tick(timeOf(minute + 1));
    yield minute;
  }
  return cell;
}

/** Sends the measurements and forecasts of a minute (P1). */
function tell({ fleet, counted, forecasts }: PlannedRun, cell: Cell, minute: number, now: EventTime): void {
  for (const value of forecasts.forecasts(minute, now)) cell.send({ topic: 'forecasts', value });
  for (const { series, shares, eventsPerMessage } of counted) {
    const publishes = fleet.sum(shares, minute) * 60;
    const events = publishes * eventsPerMessage;
    const unsubscribes = events * UNSUBSCRIBE_SHARE;
    const window = { series, source: 0, windowStart: eventTime(now - MINUTE_MS), windowMs: MINUTE_MS };
    const counts = { publishes, subscribes: events - unsubscribes, unsubscribes };
    cell.send({ topic: 'rates', value: { ...window, ...counts, bytes: 0, distinctClients: 0, lateEvents: 0 } });
  }
}

/** The load of a cell's shards; recomputed when the pointer table has changed. */
class CellLoad {
  readonly #cell: Cell;
  readonly #fleet: SyntheticFleet;
  #version = -1;
  #weights: ReadonlyMap<SliceKey, SliceWeights> = new Map();
  #shards: readonly {
    readonly home: ReturnType<Cell['homes']>['shards'][0];
    readonly operations: Float64Array;
  }[] = [];

  constructor(cell: Cell, fleet: SyntheticFleet) {
    this.#cell = cell;
    this.#fleet = fleet;
  }

  serving(minute: number): ServingShard[] {
    this.#refresh();
    return this.#shards.map(({ home, operations }) => ({
      type: home.type,
      perSecond: this.#fleet.sum(operations, minute),
    }));
  }

  measure(minute: number, at: EventTime): void {
    this.#refresh();
    for (const { home, operations } of this.#shards)
      this.#cell.measured(home.shard, this.#fleet.sum(operations, minute) / home.type.operationsPerSecond, at);
  }

  #refresh(): void {
    if (this.#version === this.#cell.version) return;
    this.#version = this.#cell.version;
    const { shards, slices } = this.#cell.homes();
    if (slices.size !== this.#weights.size || [...slices.keys()].some((slice) => !this.#weights.has(slice))) {
      this.#weights = this.#fleet.weights(slices.keys());
      for (const [slice, { entries }] of this.#weights) this.#cell.count(slice, entries);
    }
    const operations = new Map(shards.map(({ shard }) => [shard, this.#fleet.zeros()]));
    for (const [slice, at] of slices) {
      const { operations: asked, lookups } = this.#weights.get(slice)!;
      const elsewhere = 1 - 1 / at.length;
      for (const sum of at.flatMap((shard) => operations.get(shard) ?? []))
        for (let series = 0; series < sum.length; series++)
          sum[series]! += asked[series]! - elsewhere * lookups[series]!;
    }
    this.#shards = shards.map((home) => ({ home, operations: operations.get(home.shard)! }));
  }
}
