// Made trace: stands in for a recorded one where that is not at hand: a quiet night, a morning that fills slowly, and an
// afternoon crowd that more than trebles the rate within an hour. One value a minute.

import { randomFrom } from '../../evaluation/random.ts';
import type { Trace } from '../../evaluation/trace.ts';

/** Share by which a minute wanders from the curve. */
const NOISE = 0.02;

export function syntheticTrace(startSeconds: number, minutes: number, crowdFromMinute: number, seed = 1): Trace {
  const random = randomFrom(seed);
  const seconds = Float64Array.from({ length: minutes }, (_, minute) => startSeconds + minute * 60);
  const values = Float64Array.from({ length: minutes }, (_, minute) => {
    const quiet = 15_000 + 20_000 * (minute / Math.max(1, crowdFromMinute)) ** 2;
    const crowd = 70_000 * Math.min(1, Math.max(0, (minute - crowdFromMinute) / 50));
    return Math.round((quiet + crowd) * (1 + NOISE * (2 * random() - 1)));
  });
  return { series: ['requests'], seconds, stepSeconds: 60, values: [values] };
}
