// Shapes of series by hand: a rate for each step; and what the core of the forecast makes of them.

import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { Forecaster, type ModelSet } from '../../../processors/forecast/forecaster.ts';
import { type Grid, MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import type { HistoryShape } from '../../../processors/forecast/history/history.ts';
import type { Model } from '../../../processors/forecast/model.ts';
import { DEFAULT_MODELS } from '../../../processors/forecast/models/models.ts';
import type { SeriesMemory } from '../../../processors/forecast/series-memory.ts';
import { BinaryReader, BinaryWriter } from '../../../state/binary.ts';

export const DAY_STEPS = 1440;
/** 2024-01-01, in steps. */
export const STEP_0 = 28_401_120;

export type Shape = (step: number) => number;

export const constant: Shape = () => 100;
export const zero: Shape = () => 0;
export const ramp: Shape = (step) => 10 + step;
export const daily: Shape = (step) => 100 + 80 * Math.sin((2 * Math.PI * step) / DAY_STEPS);
/** A wave with a given day, between 100 / e and 100 e. */
export const wave =
  (season: number): Shape =>
  (step) =>
    100 * Math.exp(Math.sin((2 * Math.PI * step) / season));
/** Ten times the rate for ten minutes, at irregular times. */
export const bursts: Shape = (step) => (Math.sin(step / 40) + Math.sin(step / 97) > 1.8 ? 1000 : 20);

/** Evenly spread in [0, 1), by step; a seed repeats it for ever. */
export function uniformFrom(seed: number): Shape {
  return (step) => {
    let h = Math.imul(step + 1 + Math.imul(seed, 7919), 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
  };
}

/** Normal noise of mean 0 and deviation 1, as nearly as twelve uniform numbers give it. */
export function noiseFrom(seed: number): Shape {
  const uniform = uniformFrom(seed);
  return (step) => {
    let sum = 0;
    for (let i = 0; i < 12; i++) sum += uniform(step * 12 + i);
    return sum - 6;
  };
}

export interface Fed {
  readonly forecaster: Forecaster;
  readonly memory: SeriesMemory;
}

/** As the running system keeps a series. */
export const HISTORY_SHAPE: HistoryShape = { nearSteps: 3 * DAY_STEPS, farSlots: 12_000 };

export function fresh(models: ModelSet, grid: Grid = MINUTE_GRID, shape: HistoryShape = HISTORY_SHAPE): Fed {
  const forecaster = new Forecaster(grid, models, shape);
  return { forecaster, memory: forecaster.fresh() };
}

/** Closes the steps from .. to - 1, with every fit that falls due. */
export function feed({ forecaster, memory }: Fed, shape: Shape, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    forecaster.learn(memory, step, shape(step));
  }
}

/** A series from its first step on. */
export function fed(shape: Shape, steps: number, models: ModelSet = DEFAULT_MODELS, grid: Grid = MINUTE_GRID): Fed {
  const each = fresh(models, grid);
  feed(each, shape, 0, steps);
  return each;
}

export function bytesOf({ forecaster, memory }: Fed): Buffer {
  const writer = new BinaryWriter();
  forecaster.writePast(memory, writer);
  forecaster.writeTail(memory, writer, memory.history.end);
  return writer.bytes();
}

/** The series as it is stored and read again: a copy of its own. */
export function readBack(each: Fed): Fed {
  const from = new BinaryReader(bytesOf(each));
  const memory = each.forecaster.readPast(from);
  each.forecaster.readTail(memory, from);
  return { forecaster: each.forecaster, memory };
}

/** The quantiles of each step `ahead`. */
export function quantilesOf({ forecaster, memory }: Fed, ahead: readonly number[]): Float64Array {
  const into = new Float64Array(ahead.length * LEVELS.length);
  forecaster.quantiles(memory, ahead, into);
  return into;
}

export function quantile(fed: Fed, ahead: number, level: (typeof LEVELS)[number]): number {
  return quantilesOf(fed, [ahead])[LEVELS.indexOf(level)]!;
}

/** A model that says what it likes: an oracle, or a liar. `said` is the log of a step, as the history would tell it. */
export const saying = (name: string, said: (step: number, logOf: (rate: number) => number) => number): Model => ({
  name,
  stateSize: () => 0,
  fitEvery: () => 0,
  ready: () => true,
  fit: () => undefined,
  update() {},
  forecast(history, _state, _parameters, ahead, into) {
    for (let i = 0; i < ahead.length; i++) into[i] = said(history.step + ahead[i]!, (rate) => history.logOf(rate));
  },
});
