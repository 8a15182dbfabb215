// Seasonal naive: the value of a season before, a day or a week. The reference forecasts that every other model has to
// beat.

import type { Grid } from '../grid.ts';
import { type Model, stateless, unfitted } from '../model.ts';

function seasonalNaive(name: string, periodOf: (grid: Grid) => number): Model {
  return {
    ...unfitted,
    ...stateless,
    name,
    ready: (history) => history.end - history.begin >= periodOf(history.grid),
    forecast(history, _state, _parameters, ahead, into) {
      const period = periodOf(history.grid);
      for (let i = 0; i < ahead.length; i++) {
        const step = history.step + ahead[i]!;
        into[i] = history.far(step - period * Math.ceil(ahead[i]! / period));
      }
    },
  };
}

export const seasonalNaiveDay = seasonalNaive('seasonal-naive-day', (grid) => grid.season);
export const seasonalNaiveWeek = seasonalNaive('seasonal-naive-week', (grid) => grid.longSeason);
