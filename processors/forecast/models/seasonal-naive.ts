// Seasonal naive: what was seen a day before. The forecast that every other one has to beat.

import type { Model } from '../model.ts';

export const seasonalNaive: Model = {
  name: 'seasonal-naive',
  stateSize: 0,
  fitEvery: 0,
  ready: (history) =>
    !Number.isNaN(history.yesterday(history.step + 1)) && !Number.isNaN(history.yesterday(history.step + 60)),
  fit() {},
  update() {},
  forecast(history, _state, path) {
    for (let k = 0; k < path.length; k++) path[k] = history.yesterday(history.step + 1 + k);
    // A hole of the day before takes the value in front of it.
    for (let k = 1; k < path.length; k++) if (Number.isNaN(path[k]!)) path[k] = path[k - 1]!;
  },
};
