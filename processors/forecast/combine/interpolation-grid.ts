// Interpolation grid: the steps ahead that the models are asked about when slots are longer than a step. Forecasts for
// the steps between them are interpolated linearly.

/** From this many slots ahead on, only every second slot is a grid point. */
const COARSE_FROM_SLOTS = 4;
const COARSE_SLOTS = 2;

export interface InterpolationGrid {
  /** Steps ahead, ascending. */
  readonly interpolation: readonly number[];
  /**
   * For each step asked for: the index of the grid point at or below it, and how far it is towards the next one, 0 to
   * 1.
   */
  readonly at: readonly number[];
  readonly share: readonly number[];
}

/**
 * Grid points: every step of the first slot, then whole slots, then pairs of slots around the steps asked for. All
 * steps when a slot is one step.
 */
export function interpolationGridOf(ahead: readonly number[], slotSteps: number): InterpolationGrid {
  const spanAt = (steps: number): number => {
    if (slotSteps === 1 || steps <= slotSteps) return 1;
    return steps < COARSE_FROM_SLOTS * slotSteps ? slotSteps : COARSE_SLOTS * slotSteps;
  };
  const below = (steps: number): number => steps - (steps % spanAt(steps));
  const wanted = new Set<number>();
  for (const steps of ahead) {
    wanted.add(below(steps));
    if (below(steps) !== steps) wanted.add(below(steps) + spanAt(steps));
  }
  const interpolation = [...wanted].sort((a, b) => a - b);
  return {
    interpolation: interpolation,
    at: ahead.map((steps) => interpolation.indexOf(below(steps))),
    share: ahead.map((steps) => (steps - below(steps)) / spanAt(steps)),
  };
}
