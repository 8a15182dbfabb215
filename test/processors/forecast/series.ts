// Series by hand: a rate per second for each minute, and what a signal forecast makes of them.

import { LEVELS } from '../../../processors/forecast/calibration.ts';
import { SignalForecast } from '../../../processors/forecast/signal-forecast.ts';

export const DAY_STEPS = 1440;
/** 2024-01-01, in steps. */
export const STEP_0 = 28_401_120;

export type Shape = (step: number) => number;

export const constant: Shape = () => 100;
export const zero: Shape = () => 0;
export const daily: Shape = (step) => 100 + 80 * Math.sin((2 * Math.PI * step) / DAY_STEPS);
export const ramp: Shape = (step) => 10 + step;
/** Ten times the rate for ten minutes, at irregular times. */
export const bursts: Shape = (step) => (Math.sin(step / 40) + Math.sin(step / 97) > 1.8 ? 1000 : 20);
/** Half an hour up, half an hour down. */
export const sawtooth: Shape = (step) => 50 + Math.abs((step % 30) - 15) * 4;

/** Noise that a seed repeats for ever: mean 0, sd about 1. */
export function noiseFrom(seed: number): Shape {
  return (step) => {
    let sum = 0;
    for (let i = 0; i < 12; i++) {
      let h = Math.imul((step + 1) * 12 + i + seed * 7919, 0x9e3779b1);
      h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
      sum += ((h ^ (h >>> 13)) >>> 0) / 2 ** 32;
    }
    return sum - 6;
  };
}

export function fed(shape: Shape, steps: number): SignalForecast {
  const signal = new SignalForecast();
  for (let step = 0; step < steps; step++) signal.close(STEP_0 + step, shape(step));
  return signal;
}

/** The quantile of a level for the step `ahead` of the last one (1 for the next). */
export function quantile(signal: SignalForecast, ahead: number, level: (typeof LEVELS)[number]): number {
  return signal.quantiles()[(ahead - 1) * LEVELS.length + LEVELS.indexOf(level)]!;
}
