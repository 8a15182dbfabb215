// A forecast model of one's own: the median of the values at the same time on the last days. It needs no fit and keeps
// no state, so it is one function over the history; models that learn are in processors/forecast/models/.
//
//   foreshard backtest TRACE.csv --model examples/own-model.ts     (a compiled .js file, where Node does not run .ts)
//
// scores it on your own rates, beside the default combination and the naive references. In the running system it is
// combined with the other models, at the weight that its errors earn it, in a program that calls `start(config, {
// logger, models: [...] })` of `foreshard/run`. A model works in logarithms, as the history does, and returns only the
// middle of what it expects: quantiles are made from the errors of past forecasts.

import { type Model, stateless, unfitted } from 'foreshard/model';

const DAYS = 5;

const dayMedian: Model = {
  ...unfitted,
  ...stateless,
  name: 'day-median',
  // Until a whole day has been seen it is not used, and the other models forecast.
  ready: (history) => history.end - history.begin >= history.grid.season,
  forecast(history, _state, _parameters, ahead, into) {
    const { season } = history.grid;
    for (let i = 0; i < ahead.length; i++) {
      const step = history.step + ahead[i]!;
      const seen: number[] = [];
      // The same time on earlier days, from the last one that is in the past.
      for (let day = Math.ceil(ahead[i]! / season); seen.length < DAYS; day++) {
        if (step - day * season < history.begin) break;
        seen.push(history.far(step - day * season));
      }
      into[i] = seen.sort((a, b) => a - b)[seen.length >> 1]!;
    }
  },
};

export default dayMedian;
