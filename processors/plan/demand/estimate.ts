// Estimate: coefficients of a sum, learned from what the sum was measured to be. A Kalman filter whose coefficients walk at
// random (Ljung and Söderström, Theory and Practice of Recursive Identification, 1983).
//
//   R1. A coefficient begins at what is said of it, and stays within stated bounds: whatever is measured.
//   R2. One measurement changes little: what is far from the expected counts as far as three deviations, and is taken to
//       be so noisy that it moves no coefficient by more than a tenth of its first deviation.
//   R3. What always comes together is learned as one sum. Which of them it was is not guessed: each has its part of it by
//       its amount and its deviation.

/** A state of knowledge: coefficients, and how uncertain they are. */
export interface Estimate {
  coefficients: number[];
  /** Row-major. */
  covariance: number[];
}

/** Of one coefficient. */
export interface Bounds {
  readonly prior: number;
  readonly least: number;
  readonly most: number;
  /** How far off the prior may be: one deviation. 0: it is known. */
  readonly deviation: number;
}

/** Of a measured share, from one minute to the next; generous, as rates and shares are not of the very same seconds. */
const NOISE = 0.05;
/** Of a coefficient's first deviation, from sample to sample: about one in a week of minutes. */
const DRIFT = 0.01;
const SURPRISE_MAX = 3;
/** Of a coefficient's first deviation, by one measurement. */
const MOVE_MAX = 0.1;

/** Before anything is measured. */
export function freshEstimate(bounds: readonly Bounds[]): Estimate {
  const size = bounds.length;
  const covariance = Array<number>(size * size).fill(0);
  for (const [i, { deviation }] of bounds.entries()) covariance[i * size + i] = deviation ** 2;
  return { coefficients: bounds.map(({ prior }) => prior), covariance };
}

/** What the sum of coefficients x amounts is expected to be. */
export const expectedOf = ({ coefficients }: Estimate, amounts: readonly number[]): number =>
  amounts.reduce((sum, amount, i) => sum + amount * coefficients[i]!, 0);

/** One step of the filter: `measured` = sum of coefficients x amounts, and noise. */
export function learnFrom(
  estimate: Estimate,
  amounts: readonly number[],
  measured: number,
  bounds: readonly Bounds[],
): void {
  const { coefficients, covariance } = estimate;
  const size = coefficients.length;
  for (const [i, { deviation }] of bounds.entries()) {
    const at = i * size + i;
    covariance[at] = Math.min(covariance[at]! + (DRIFT * deviation) ** 2, deviation ** 2);
  }
  const spread = amounts.map((_, i) => amounts.reduce((sum, amount, j) => sum + covariance[i * size + j]! * amount, 0));
  const usual = amounts.reduce((sum, amount, i) => sum + amount * spread[i]!, NOISE ** 2);
  const limit = SURPRISE_MAX * Math.sqrt(usual);
  const surprise = Math.min(limit, Math.max(-limit, measured - expectedOf(estimate, amounts)));
  const moves = bounds.map(({ deviation }, i) =>
    deviation > 0 ? Math.abs(spread[i]! * surprise) / (MOVE_MAX * deviation) : 0,
  );
  const variance = Math.max(usual, ...moves);
  for (let i = 0; i < size; i++) {
    const { least, most } = bounds[i]!;
    const learned = coefficients[i]! + (spread[i]! / variance) * surprise;
    coefficients[i] = Math.min(most, Math.max(least, learned)); // R1
    for (let j = 0; j < size; j++) covariance[i * size + j]! -= (spread[i]! * spread[j]!) / variance;
  }
}
