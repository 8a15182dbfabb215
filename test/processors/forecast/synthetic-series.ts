// Made series: rates by step, each from a seed, so that every failure can be played again.

import { randomFrom } from '../../../evaluation/random.ts';
import { gridOf, MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { History } from '../../../processors/forecast/history/history.ts';

export type Rates = (step: number) => number;
export type Synthetic = (seed: number, season: number) => Rates;

export const MINUTES = MINUTE_GRID;
export const FIVE_MINUTES = gridOf({ stepMs: 300_000, horizonSteps: 288 });

/** Standard normal numbers (Box and Muller, 1958). */
export function normalFrom(seed: number): () => number {
  const random = randomFrom(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Events of one step at a mean of `mean`, independent of each other. */
export function poissonFrom(seed: number, mean: number): () => number {
  const random = randomFrom(seed);
  const none = Math.exp(-mean);
  return () => {
    let events = 0;
    for (let left = random(); left > none; left *= random()) events++;
    return events;
  };
}

/** 1 plus `height` at the top of a wave of `steps`. */
export const wave = (step: number, steps: number, height: number): number =>
  1 + height * Math.sin((2 * Math.PI * step) / steps);

/** A level that follows itself with `kept` of its distance from the mean: 1 is a random walk. */
export const redNoise =
  (kept: number, size: number): Synthetic =>
  (seed) => {
    const normal = normalFrom(seed);
    let log = 0;
    return () => {
      log = kept * log + size * normal();
      return 100 * Math.exp(log);
    };
  };

/** The history of so many steps; steps of `left` are not put. */
export function historyOf(rates: Rates, steps: number, grid = MINUTES, left: (step: number) => boolean = () => false) {
  const history = new History(grid, { nearSteps: 3 * grid.season, farSlots: 4_032 });
  for (let step = 0; step < steps; step++) {
    const rate = Math.max(0, rates(step));
    if (!left(step)) history.put(step, rate);
  }
  return history;
}
