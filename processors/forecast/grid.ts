// Grid: the steps that a series is counted in, its seasons, and the distances at which forecasts are made and judged.
// Models know only steps: the same models forecast minutes in the running system, and a trace in whatever steps it has.

export interface Grid {
  readonly stepMs: number;
  /** Steps of the short season: a day. */
  readonly season: number;
  /** Steps of the long season: a week. */
  readonly longSeason: number;
  /** Steps of one slot: the older part of the history is kept by slots. Divides the season. */
  readonly slotSteps: number;
  /** Steps ahead at which models are fitted, weighted and calibrated; between them values are interpolated. */
  readonly distances: readonly number[];
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Long enough to smooth a minute's noise, short enough to keep the shape of a day. */
const SLOT_MS = 5 * MINUTE_MS;
/** Each distance is four times the one before: errors grow with the distance, but ever more slowly. */
const DISTANCE_RATIO = 4;

/** The grid of a series with a step of `stepMs`, forecast up to `horizonSteps` ahead. */
export function gridOf(shape: {
  readonly stepMs: number;
  readonly horizonSteps: number;
  /** By default a day and a week; a week and a year for steps of a day. */
  readonly season?: number;
  readonly longSeason?: number;
}): Grid {
  const { stepMs, horizonSteps } = shape;
  const daySteps = Math.round(DAY_MS / stepMs);
  const season = shape.season ?? (daySteps >= 2 ? daySteps : 7);
  const longSeason = shape.longSeason ?? (daySteps >= 2 ? 7 * season : 52 * season);
  let slotSteps = Math.max(1, Math.floor(SLOT_MS / stepMs));
  while (season % slotSteps !== 0) slotSteps--;
  const distances: number[] = [];
  for (let ahead = 1; ahead < horizonSteps; ahead *= DISTANCE_RATIO) distances.push(Math.round(ahead));
  // The last distance is the horizon; another one just below it would only cost time.
  if (distances.length > 1 && distances.at(-1)! * 1.25 > horizonSteps) distances.pop();
  distances.push(horizonSteps);
  return { stepMs, season, longSeason, slotSteps, distances };
}

/** Grid of the running system: a step is a minute; an hour ahead by minutes, and a day ahead by hours. */
export const NEAR_STEPS = 60;
export const MINUTE_GRID: Grid = {
  ...gridOf({ stepMs: MINUTE_MS, horizonSteps: 1440 }),
  distances: [1, 4, 16, NEAR_STEPS, 240, 1440],
};

/**
 * Where a step lies between two distances: `share` of the way, in logarithms, from distance number `near` to the next.
 */
export interface Place {
  readonly near: number;
  readonly share: number;
}

/**
 * The place of each step ahead up to the last distance, `places[ahead - 1]`; steps beyond it have the last distance's
 * place.
 */
export function placesOf({ distances }: Grid): readonly Place[] {
  const places: Place[] = [];
  let near = 0;
  for (let ahead = 1; ahead <= distances.at(-1)!; ahead++) {
    while (near + 1 < distances.length && distances[near + 1]! <= ahead) near++;
    const next = distances[near + 1];
    const share = next === undefined ? 0 : Math.log(ahead / distances[near]!) / Math.log(next / distances[near]!);
    places.push({ near, share });
  }
  return places;
}
