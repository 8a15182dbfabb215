// Estimate: learns the coefficients of a sum from measurements of the sum: a Kalman filter whose coefficients follow a
// random walk (Ljung and Söderström, Theory and Practice of Recursive Identification, 1983).
//
//   R1. A coefficient starts at its prior and stays within its bounds, whatever is measured.
//   R2. One measurement changes little: a residual is clipped at three deviations, and its noise is raised until it
//       moves no coefficient by more than a tenth of that coefficient's first deviation.
//   R3. Amounts that always occur together are learned as one sum; the sum is divided between their coefficients by
//       their amounts and deviations.

/** The state of an estimate: coefficients, and how uncertain they are. */
export interface Estimate {
  coefficients: number[];
  /** Row-major. */
  covariance: number[];
}

/** Bounds and prior of one coefficient. */
export interface Bounds {
  readonly prior: number;
  readonly least: number;
  readonly most: number;
  /** Standard deviation of the prior; 0: it is known exactly. */
  readonly deviation: number;
}

/**
 * Deviation of a measured share from one minute to the next; generous, since rates and shares are not measured over
 * exactly the same seconds.
 */
const NOISE = 0.05;
/**
 * Drift of a coefficient from sample to sample, as a share of its first deviation: about one deviation in a week of
 * minutes.
 */
const DRIFT = 0.01;
const SURPRISE_MAX = 3;
/** Largest change by one measurement, as a share of a coefficient's first deviation. */
const MOVE_MAX = 0.1;

/** The estimate before anything is measured. */
export function freshEstimate(bounds: readonly Bounds[]): Estimate {
  const size = bounds.length;
  const covariance = Array<number>(size * size).fill(0);
  for (const [i, { deviation }] of bounds.entries()) covariance[i * size + i] = deviation ** 2;
  return { coefficients: bounds.map(({ prior }) => prior), covariance };
}

/** The expected sum: coefficients times amounts. */
export const expectedOf = ({ coefficients }: Estimate, amounts: readonly number[]): number =>
  amounts.reduce((sum, amount, i) => sum + amount * coefficients[i]!, 0);

/** One update of the filter: `measured` = sum of coefficients x amounts, plus noise. */
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
