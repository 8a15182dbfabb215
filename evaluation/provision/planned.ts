// Planned: the planner's own rule for one resource (processors/plan/search/provisioning.ts), with the forecaster's
// forecasts, under the names of its settings. One forecast is used by all of them.
//
//   P1. A decision about a row uses only the rows before it: the forecaster has closed only those.

import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import { Forecaster } from '../../processors/forecast/forecaster.ts';
import { gridOf } from '../../processors/forecast/grid.ts';
import { shapeOfTrace } from '../../processors/forecast/history/history.ts';
import { DEFAULT_MODELS } from '../../processors/forecast/models/models.ts';
import {
  type PlanPolicy,
  planShards,
  rowsNeeded,
  SHORTAGE_RATIOS,
  shardChange,
  shardsDecided,
} from '../../processors/plan/search/provisioning.ts';
import { type Load, needOf, type Outcome, Resource } from './resource.ts';

/** What the forecaster needs to know of a series. */
export interface Seasons {
  readonly season: number;
  readonly longSeason: number;
  /** Steps of its longest forecast. */
  readonly horizon: number;
}

export const SETTING_NAMES: readonly PlanPolicy[] = ['balanced', 'cautious'];

/** Consecutive plans that must agree before a shard is removed. */
const AGREEING_PLANS = 2;
/** Outcomes by the names of the settings; yields the number of rows done, so that the caller can show progress. */
export function* planned(
  load: Load,
  { season, longSeason, horizon }: Seasons,
  settings: readonly PlanPolicy[],
): Generator<number, ReadonlyMap<string, Outcome>> {
  const { values, testStart, stepSeconds, leadRows, shardCapacity: capacity } = load;
  const grid = gridOf({ stepMs: stepSeconds * 1000, horizonSteps: horizon, season, longSeason });
  const forecaster = new Forecaster(grid, DEFAULT_MODELS, shapeOfTrace(grid));
  const memory = forecaster.fresh();
  const runs = settings.map((name) => ({
    name,
    resource: new Resource(load),
    plans: [] as number[],
  }));
  // A change that is decided now takes effect `leadRows` rows after the next row, and the next row is one step ahead.
  const ahead = Array.from({ length: rowsNeeded(leadRows) }, (_, index) => leadRows + 1 + index);
  const quantiles = new Float64Array(ahead.length * LEVELS.length);
  let needs = 0;
  for (let row = 0; row < values.length; row++) {
    if (row >= testStart) {
      forecaster.quantiles(memory, ahead, quantiles);
      for (const run of runs) {
        const { shards } = run.resource;
        const terms = { capacity, orderRows: leadRows, shortagePrice: SHORTAGE_RATIOS[run.name] * (needs / row) };
        const plan = planShards({ levels: LEVELS, quantiles }, terms, shardsDecided(shards));
        run.plans = [...run.plans, plan.shards].slice(-AGREEING_PLANS);
        run.resource.pass(shardChange(run.plans, AGREEING_PLANS, shards));
      }
    }
    needs += needOf(values[row]!, capacity);
    forecaster.learn(memory, row, values[row]!);
    yield row + 1;
  }
  return new Map(runs.map(({ name, resource: { outcome } }) => [name, outcome]));
}
