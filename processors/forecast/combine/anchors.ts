// Anchors: the steps ahead that are really forecast when slots are longer than a step; those between lie on straight lines.

/** From so many slots ahead on, every second slot is an anchor. */
const COARSE_FROM_SLOTS = 4;
const COARSE_SLOTS = 2;

export interface Anchors {
  /** Steps ahead, ascending. */
  readonly anchors: readonly number[];
  /** For each step asked for, the anchor at or below it, and how far it is to the next one, 0 to 1. */
  readonly at: readonly number[];
  readonly share: readonly number[];
}

/** Every step of the first slot, then whole slots, then pairs of them around those asked for; all steps without slots. */
export function anchorsOf(ahead: readonly number[], slotSteps: number): Anchors {
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
  const anchors = [...wanted].sort((a, b) => a - b);
  return {
    anchors,
    at: ahead.map((steps) => anchors.indexOf(below(steps))),
    share: ahead.map((steps) => (steps - below(steps)) / spanAt(steps)),
  };
}
