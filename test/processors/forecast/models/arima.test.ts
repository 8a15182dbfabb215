import ARIMA from 'arima';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Grid, gridOf } from '../../../../processors/forecast/grid.ts';
import { History } from '../../../../processors/forecast/history/history.ts';
import { NO_PARAMETERS } from '../../../../processors/forecast/model.ts';
import { arima } from '../../../../processors/forecast/models/arima.ts';
import { noiseFrom, type Shape, wave } from '../shapes.ts';

const MINUTES = gridOf({ stepMs: 60_000, horizonSteps: 60 });
const HOURS = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });
const AHEAD = Array.from({ length: 24 }, (_, i) => i + 1);
const NO_STATE = new Float32Array(0);
const TAIL_SHARE = 0.2;

function historyOf(grid: Grid, rates: readonly number[]): History {
  const history = new History(grid, { nearSteps: 3 * grid.season, farSlots: 12_000 });
  for (const [step, rate] of rates.entries()) history.put(step, rate);
  return history;
}

/** x[t] = 1.2 x[t-1] - 0.4 x[t-2] + e[t] + 0.3 e[t-1], as logarithms around 1,000; with a day, beside 0.95 x[t-day]. */
function processOf(steps: number, day = 0, seed = 1): number[] {
  const noise = noiseFrom(seed);
  const logs: number[] = [];
  const at = (step: number): number => logs[step] ?? 0;
  for (let step = 0; step < steps; step++) {
    const short = 1.2 * (at(step - 1) - at(step - 1 - day)) - 0.4 * (at(step - 2) - at(step - 2 - day));
    const long = 1.2 * at(step - 1) - 0.4 * at(step - 2);
    const shock = 0.1 * (noise(step) + 0.3 * noise(step - 1));
    logs.push(day > 0 ? at(step - day) * 0.95 + short + shock : long + shock);
  }
  return logs.map((log) => 1000 * Math.exp(log));
}

function forecast(history: History, parameters: Float32Array): number[] {
  const into = new Float64Array(AHEAD.length);
  arima.forecast(history, NO_STATE, parameters, AHEAD, into, undefined);
  return [...into];
}

/** What the library itself says after a fit to all but the tail, of the newest values, as many as were fitted. */
function librarySays(
  history: History,
  steps: number,
  orders: { p: number; d: number; q: number; s?: number },
): number[] {
  const logs = Array.from({ length: steps }, (_, i) => history.near(history.end - steps + i));
  const fitted = steps - Math.floor(TAIL_SHARE * steps);
  const mean = logs.slice(0, fitted).reduce((sum, log) => sum + log, 0) / fitted;
  const scale = Math.max(...logs.slice(0, fitted).map((log) => Math.abs(log - mean)));
  const library = new ARIMA({ ...orders, method: 2, verbose: false });
  library.train(logs.slice(0, fitted).map((log) => (log - mean) / scale));
  library.ts = new Uint8Array(Float64Array.from(logs.slice(-fitted), (log) => (log - mean) / scale).buffer);
  const [said] = library.predict(AHEAD.length);
  library.destroy();
  return said.map((value) => mean + scale * value);
}

const furthest = (one: readonly number[], other: readonly number[]): number =>
  Math.max(...one.map((value, i) => Math.abs(value - other[i]!)));

afterEach(() => vi.restoreAllMocks());

describe('arima', () => {
  for (const seed of [1, 2, 3, 4, 5])
    test(`without the library, says what the library would of newer values, within a thousandth (seed ${seed})`, () => {
      const rates = processOf(900, 0, seed);
      const history = historyOf(MINUTES, rates);
      const ours = forecast(history, arima.fit(history)!);
      const theirs = [
        { p: 2, d: 1, q: 1 },
        { p: 2, d: 0, q: 1 },
      ].map((orders) => librarySays(history, 900, orders));
      expect(Math.min(...theirs.map((said) => furthest(ours, said)))).toBeLessThan(1e-3);
    });

  test('the same of a process with a season', () => {
    const rates = processOf(900, 24);
    const history = historyOf(HOURS, rates);
    const parameters = arima.fit(history)!;
    expect(parameters.length).toBeGreaterThan(4 * 24);
    const theirs = librarySays(history, 900, { p: 2, d: 0, q: 0, P: 1, D: 1, Q: 0, s: 24 } as never);
    expect(furthest(forecast(history, parameters), theirs)).toBeLessThan(1e-3);
  });

  test('a fit goes on to speak when the series has gone on', () => {
    const rates = processOf(1_000);
    const parameters = arima.fit(historyOf(MINUTES, rates.slice(0, 800)))!;
    let ours = 0;
    let mean = 0;
    let naive = 0;
    for (let at = 800; at < 1_000; at++) {
      const history = historyOf(MINUTES, rates.slice(at - 200, at));
      const truth = Math.log(rates[at]!);
      ours += Math.abs(Math.log(history.rateOf(forecast(history, parameters)[0]!)) - truth);
      mean += Math.abs(Math.log(1000) - truth);
      naive += Math.abs(Math.log(rates[at - 1]!) - truth);
    }
    expect(ours).toBeLessThan(0.97 * naive);
    expect(ours).toBeLessThan(0.85 * mean);
  });

  test('a week is foreseen that the days before do not know: quiet on two days of seven', () => {
    const noise = noiseFrom(3);
    const week: Shape = (step) =>
      wave(24)(step) * (Math.floor(step / 24) % 7 >= 5 ? 0.2 : 1) * Math.exp(0.05 * noise(step));
    const at = 5 * 7 * 24 + 5 * 24; // The first quiet day begins.
    const history = historyOf(
      HOURS,
      Array.from({ length: at }, (_, step) => week(step)),
    );
    const said = forecast(history, arima.fit(history)!).map((log) => history.rateOf(log));
    for (let k = 0; k < 24; k++) expect(Math.abs(said[k]! / week(at + k) - 1)).toBeLessThan(0.4);
  });

  for (const { name, rates } of [
    { name: 'too few samples', rates: processOf(119) },
    { name: 'a constant', rates: new Array<number>(500).fill(100) },
    { name: 'zeros', rates: new Array<number>(500).fill(0) },
  ])
    test(`${name}: nothing is learned`, () => expect(arima.fit(historyOf(MINUTES, rates))).toBeUndefined());

  test('A1, A2: whatever it was fitted to, what it says is finite and not far above what was seen', () => {
    for (const { shape } of [
      { shape: (step: number) => 1.05 ** step },
      { shape: (step: number) => Math.exp(20 * Math.abs(Math.sin(step * step))) },
      { shape: (step: number) => (step % 2) * 1e6 },
      { shape: (step: number) => (step % 50 === 0 ? 1e12 : 0) },
      { shape: (step: number) => (step < 290 ? 1 : 1e9) },
    ]) {
      const history = historyOf(
        HOURS,
        Array.from({ length: 300 }, (_, step) => shape(step)),
      );
      const parameters = arima.fit(history);
      if (parameters === undefined) continue;
      expect(parameters.every(Number.isFinite)).toBe(true);
      for (const log of forecast(history, parameters)) {
        expect(log).toBeGreaterThanOrEqual(0);
        expect(log).toBeLessThanOrEqual(history.peak + 1);
      }
    }
  });

  test('is not ready before a fit, nor after a gap until as many steps were seen as it looks back', () => {
    const history = historyOf(MINUTES, processOf(500));
    const parameters = arima.fit(history)!;
    expect(arima.ready(history, NO_STATE, NO_PARAMETERS)).toBe(false);
    expect(arima.ready(history, NO_STATE, parameters)).toBe(true);
    history.put(600, 1000);
    expect(arima.ready(history, NO_STATE, parameters)).toBe(false);
  });

  test('fits print nothing and give the memory back that they took', () => {
    const printed = [
      vi.spyOn(console, 'log').mockImplementation(() => {}),
      vi.spyOn(console, 'warn').mockImplementation(() => {}),
      vi.spyOn(process.stdout, 'write'),
    ];
    const destroyed = vi.spyOn(ARIMA.prototype, 'destroy');
    const trained = vi.spyOn(ARIMA.prototype, 'train');
    arima.fit(historyOf(HOURS, processOf(500, 24)));
    for (const spy of printed) expect(spy).not.toHaveBeenCalled();
    expect(trained).toHaveBeenCalled();
    expect(destroyed.mock.calls.length).toBe(trained.mock.calls.length);
  });

  test('a library that throws or speaks nonsense leaves nothing learned', () => {
    const history = historyOf(MINUTES, processOf(300));
    for (const said of [Number.NaN, Number.POSITIVE_INFINITY, 1e30]) {
      vi.spyOn(ARIMA.prototype, 'predict').mockImplementation((steps) => [new Array<number>(steps).fill(said), []]);
      const parameters = arima.fit(history);
      if (parameters !== undefined) expect(parameters.every(Number.isFinite)).toBe(true);
    }
    vi.spyOn(ARIMA.prototype, 'train').mockImplementation(() => {
      throw new Error('unreachable');
    });
    expect(arima.fit(history)).toBeUndefined();
  });
});
