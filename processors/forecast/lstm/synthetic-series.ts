// Synthetic series: rates that look like those of topics, for training without real traces. Each is a curve in
// logarithms (a day and a week, moods that last minutes to days, bursts, crowds, shifts, growth), turned into counts or
// measurements with noise.
//
//   S1. The same random numbers give the same series. Nothing is taken from a recorded trace.

import { type Grid, gridOf } from '../grid.ts';

export interface SyntheticSeries {
  readonly family: string;
  readonly grid: Grid;
  readonly rates: Float64Array;
}

type Range = readonly [min: number, max: number];

/** How a family behaves. Heights and deviations are in logarithms. */
interface Family {
  /** Logarithm of the mean rate of a step, before anything else is added. */
  readonly level: Range;
  readonly isCounted: boolean;
  readonly dayWave: Range;
  /** How much lower the two days of the weekend are. */
  readonly weekend: Range;
  /** Deviation of each step by itself. */
  readonly noise: Range;
  /** Deviation of moods that last a few steps, and of moods that last hours to days. */
  readonly mood: Range;
  readonly drift: Range;
  readonly burstsPerDay: Range;
  readonly burstHeight: Range;
  readonly crowdsPerWeek: Range;
  readonly shiftsPerWeek: Range;
  readonly growthPerWeek: Range;
  /** Height of the events that come at fixed minutes of the hour. */
  readonly beat: Range;
}

const NONE: Range = [0, 0];
const QUIET: Family = {
  level: [2, 9],
  isCounted: false,
  dayWave: [0.3, 1.2],
  weekend: [0, 0.6],
  noise: [0.02, 0.12],
  mood: [0.02, 0.15],
  drift: [0.02, 0.15],
  burstsPerDay: NONE,
  burstHeight: NONE,
  crowdsPerWeek: [0, 0.5],
  shiftsPerWeek: NONE,
  growthPerWeek: [-0.05, 0.05],
  beat: NONE,
};

const FAMILIES: Readonly<Record<string, Family>> = {
  waves: QUIET,
  'working week': { ...QUIET, dayWave: [0.6, 1.8], weekend: [0.3, 1.5] },
  'noisy waves': { ...QUIET, noise: [0.1, 0.45], mood: [0.05, 0.3], drift: [0.05, 0.3] },
  nights: { ...QUIET, dayWave: [1.5, 3], mood: [0.1, 0.4], drift: [0.1, 0.4] },
  moody: { ...QUIET, dayWave: [0, 0.4], mood: [0.15, 0.5], drift: [0.1, 0.5] },
  crowds: { ...QUIET, dayWave: [0.3, 1], crowdsPerWeek: [2, 9], mood: [0.05, 0.2], growthPerWeek: [-0.1, 0.4] },
  bursts: {
    ...QUIET,
    level: [1, 6],
    isCounted: true,
    dayWave: [0, 0.6],
    noise: [0.1, 0.4],
    mood: [0.1, 0.4],
    burstsPerDay: [0.3, 5],
    burstHeight: [0.5, 2],
  },
  'flat with bursts': {
    ...QUIET,
    dayWave: [0, 0.1],
    weekend: NONE,
    noise: [0.01, 0.15],
    mood: [0, 0.05],
    drift: [0, 0.1],
    burstsPerDay: [0.2, 4],
    burstHeight: [1, 4],
  },
  counts: {
    ...QUIET,
    level: [-2.5, 2.5],
    isCounted: true,
    mood: [0.1, 0.4],
    burstsPerDay: [0, 2],
    burstHeight: [0.5, 2],
  },
  shifts: { ...QUIET, dayWave: [0, 0.8], shiftsPerWeek: [0.5, 4], noise: [0.02, 0.3] },
  growth: { ...QUIET, growthPerWeek: [-0.4, 0.6] },
  beats: { ...QUIET, beat: [0.2, 1.5], noise: [0.03, 0.2] },
};

interface Shape {
  readonly stepMinutes: number;
  readonly days: number;
  readonly horizons: readonly number[];
  /** How many of ten series have this shape. */
  readonly share: number;
}

/** Steps of minutes to an hour; each series is long enough for a week of history and some weeks after it. */
const SHAPES: readonly Shape[] = [
  { stepMinutes: 1, days: 11, horizons: [240, 1440], share: 2 },
  { stepMinutes: 5, days: 18, horizons: [60, 288], share: 4 },
  { stepMinutes: 30, days: 60, horizons: [48], share: 2 },
  { stepMinutes: 60, days: 80, horizons: [24, 48], share: 2 },
];
const SHAPE_OF = SHAPES.flatMap((shape) => Array.from({ length: shape.share }, () => shape));

const MINUTES_OF_DAY = 1_440;
const HARMONICS = 8;
/** Above this mean a count is drawn as a normal variable: the difference does not matter. */
const POISSON_MAX = 40;
/** Share of measured steps that are outliers, like hiccups of the measuring process. */
const WILD_SHARE = 0.004;
const WILD_TIMES = 6;

/** The families, in the order in which `syntheticSeries` takes turns. */
export const FAMILY_NAMES: readonly string[] = Object.keys(FAMILIES);

/** The `number`th series; families and step lengths take turns. */
export function syntheticSeries(number: number, random: () => number): SyntheticSeries {
  const name = FAMILY_NAMES[number % FAMILY_NAMES.length]!;
  const shape = SHAPE_OF[(number + Math.floor(number / FAMILY_NAMES.length)) % SHAPE_OF.length]!;
  const horizonSteps = shape.horizons[Math.floor(random() * shape.horizons.length)]!;
  const grid = gridOf({ stepMs: shape.stepMinutes * 60_000, horizonSteps });
  return { family: name, grid, rates: ratesOf(FAMILIES[name]!, shape, random) };
}

function ratesOf(family: Family, { stepMinutes, days }: Shape, random: () => number): Float64Array {
  const within = ([min, max]: Range): number => min + random() * (max - min);
  const daySteps = MINUTES_OF_DAY / stepMinutes;
  const steps = days * daySteps;
  const curve = new Float64Array(steps).fill(within(family.level));
  addDays(curve, daySteps, within(family.dayWave), within(family.weekend), random);
  addMood(curve, 2 * 40 ** random(), within(family.mood), random);
  addMood(curve, (240 * 12 ** random()) / stepMinutes, within(family.drift), random);
  const growth = within(family.growthPerWeek) / (7 * daySteps);
  for (let t = 0; t < steps; t++) curve[t]! += growth * t;
  addShifts(curve, (days / 7) * within(family.shiftsPerWeek), random);
  addBursts(curve, days * within(family.burstsPerDay), within(family.burstHeight), 60 / stepMinutes, random);
  addCrowds(curve, (days / 7) * within(family.crowdsPerWeek), 60 / stepMinutes, random);
  addBeat(curve, within(family.beat), 60 / stepMinutes, random);
  // A longer step averages out more noise, but less than independent noise would be, since much of it is not
  // independent.
  const noise = within(family.noise) * Math.min(1, (5 / stepMinutes) ** 0.3);
  return curve.map((log) => {
    const wild = !family.isCounted && random() < WILD_SHARE ? WILD_TIMES : 1;
    const mean = Math.exp(Math.min(log + wild * noise * normal(random), 20));
    return family.isCounted ? countOf(mean, random) : mean;
  });
}

/** Days made of a few waves, each day slightly different, and weekends that are partly a different day. */
function addDays(curve: Float64Array, daySteps: number, height: number, weekend: number, random: () => number): void {
  const working = waveOf(daySteps, height, random);
  const other = waveOf(daySteps, height, random);
  const otherness = Math.min(1, weekend) * random();
  const own = 0.15 * random();
  const weekday = Float64Array.from({ length: 7 }, () => 0.2 * weekend * normal(random));
  const weekendFrom = Math.floor(7 * random());
  let scale = 1;
  let offset = 0;
  for (let t = 0; t < curve.length; t++) {
    const day = Math.floor(t / daySteps) + weekendFrom;
    if (t % daySteps === 0) {
      scale = 1 + own * normal(random);
      offset = 0.5 * own * normal(random) + weekday[day % 7]!;
    }
    const at = t % daySteps;
    const isWeekend = day % 7 < 2;
    const wave = isWeekend ? working[at]! + otherness * (other[at]! - working[at]!) - weekend : working[at]!;
    curve[t]! += scale * wave + offset;
  }
}

function waveOf(daySteps: number, height: number, random: () => number): Float64Array {
  const wave = new Float64Array(daySteps);
  const sharpness = 0.8 + 0.8 * random();
  for (let k = 1; k <= HARMONICS; k++) {
    const size = (height * (k === 1 ? 1 : normal(random))) / k ** sharpness;
    const phase = random();
    for (let t = 0; t < daySteps; t++) wave[t]! += size * Math.cos(2 * Math.PI * ((k * t) / daySteps + phase));
  }
  return wave;
}

/** An Ornstein-Uhlenbeck process (1930): a deviation that wanders and returns to zero within about `steps`. */
function addMood(curve: Float64Array, steps: number, deviation: number, random: () => number): void {
  const kept = Math.exp(-1 / steps);
  const pushed = deviation * Math.sqrt(1 - kept * kept);
  let mood = deviation * normal(random);
  for (let t = 0; t < curve.length; t++) {
    curve[t]! += mood;
    mood = kept * mood + pushed * normal(random);
  }
}

function addShifts(curve: Float64Array, count: number, random: () => number): void {
  for (let n = countOf(count, random); n > 0; n--) {
    const height = 0.7 * normal(random);
    for (let t = Math.floor(random() * curve.length); t < curve.length; t++) curve[t]! += height;
  }
}

/** Bursts: a rise at once or within a few steps, then a slow fall. */
function addBursts(curve: Float64Array, count: number, height: number, hour: number, random: () => number): void {
  for (let n = countOf(count, random); n > 0; n--) {
    const from = Math.floor(random() * curve.length);
    const peak = height * (0.3 + Math.abs(normal(random)));
    const fades = Math.max(0.5, hour * 0.05 * 40 ** random());
    const rises = random() < 0.5 ? 0 : Math.floor(hour * random());
    for (let t = 0; t < rises + 6 * fades && from + t < curve.length; t++)
      curve[from + t]! += t < rises ? (peak * t) / rises : peak * Math.exp(-(t - rises) / fades);
  }
}

/** Crowds: a rise, a plateau of some hours, a fall. */
function addCrowds(curve: Float64Array, count: number, hour: number, random: () => number): void {
  for (let n = countOf(count, random); n > 0; n--) {
    const from = Math.floor(random() * curve.length);
    const height = 0.3 + 1.2 * random();
    const rise = hour * (0.3 + 2 * random());
    const stay = hour * 3 * random();
    const whole = 2 * rise + stay;
    for (let t = 0; t < whole && from + t < curve.length; t++)
      curve[from + t]! += height * Math.min(1, t / rise, (whole - t) / rise);
  }
}

/** A beat: a height at the same minutes of each hour. */
function addBeat(curve: Float64Array, height: number, hour: number, random: () => number): void {
  if (height === 0 || hour < 4) return;
  const beats = Float64Array.from({ length: hour }, () => (random() < 0.25 ? height * (0.5 + random()) : 0));
  for (let t = 0; t < curve.length; t++) curve[t]! += beats[t % hour]!;
}

/** A Poisson variable (Knuth, 1969); above POISSON_MAX, its normal approximation. */
function countOf(mean: number, random: () => number): number {
  if (mean > POISSON_MAX) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random(); product > limit; product *= random()) count++;
  return count;
}

/** A standard normal variable (Box and Muller, 1958). */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
