// Robust ridge regression: coefficients that a few outlying rows do not move. Columns are scaled to mean 0 and spread
// 1, each coefficient is held towards 0 by `shrink` (Hoerl and Kennard, 1970), and rows whose residual is more than
// `HUBER` times the median one are weighted in inverse proportion to it (Huber, 1964, by iteratively reweighted least
// squares).
//
//   L1. The same rows give the same coefficients. A column that never varies has the coefficient 0.
//   L2. Every coefficient is finite if the rows are.

export interface Rows {
  /** `count` rows of `width` columns, one after the other. */
  readonly columns: Float64Array;
  readonly targets: Float64Array;
  readonly count: number;
  readonly width: number;
}

/** In median residuals: of normal residuals one in six is above it. */
const HUBER = 2;
const ROUNDS = 4;
const SPREAD_MIN = 1e-7;

/** Writes `width` coefficients and then the intercept into `into`. */
export function robustRidge(rows: Rows, shrink: number, into: Float64Array): void {
  const { targets, count, width } = rows;
  const { scaled, means, spreads } = standardised(rows);
  const weights = new Float64Array(count).fill(1);
  const misses = new Float64Array(count);
  let coefficients: Float64Array = new Float64Array(width);
  let intercept = 0;
  for (let round = 0; ; round++) {
    ({ coefficients, intercept } = leastSquares(scaled, targets, weights, width, shrink));
    if (round === ROUNDS) break;
    for (let r = 0; r < count; r++) {
      let fitted = intercept;
      const at = r * width;
      for (let j = 0; j < width; j++) fitted += coefficients[j]! * scaled[at + j]!;
      misses[r] = Math.abs(targets[r]! - fitted);
    }
    const usual = Math.max(HUBER * medianOf(misses), 1e-9);
    let sum = 0;
    for (let r = 0; r < count; r++) sum += weights[r] = 1 / Math.max(misses[r]!, usual);
    for (let r = 0; r < count; r++) weights[r]! *= count / sum;
  }
  for (let j = 0; j < width; j++) {
    into[j] = spreads[j]! > SPREAD_MIN ? coefficients[j]! / spreads[j]! : 0;
    intercept -= means[j]! * into[j]!;
  }
  into[width] = intercept;
}

function standardised({ columns, count, width }: Rows) {
  const means = new Float64Array(width);
  const spreads = new Float64Array(width);
  for (let r = 0, at = 0; r < count; r++) for (let j = 0; j < width; j++) means[j]! += columns[at++]!;
  for (let j = 0; j < width; j++) means[j]! /= count;
  for (let r = 0, at = 0; r < count; r++)
    for (let j = 0; j < width; j++) {
      const away = columns[at++]! - means[j]!;
      spreads[j]! += away * away;
    }
  for (let j = 0; j < width; j++) spreads[j] = Math.sqrt(spreads[j]! / count);
  const scaled = new Float64Array(count * width);
  for (let r = 0, at = 0; r < count; r++)
    for (let j = 0; j < width; j++, at++)
      scaled[at] = spreads[j]! > SPREAD_MIN ? (columns[at]! - means[j]!) / spreads[j]! : 0;
  return { scaled, means, spreads };
}

/** Weighted least squares around the weighted means, with `shrink` added to the diagonal. */
function leastSquares(
  scaled: Float64Array,
  targets: Float64Array,
  weights: Float64Array,
  width: number,
  shrink: number,
): { coefficients: Float64Array; intercept: number } {
  const count = weights.length;
  const products = new Float64Array(width * width);
  const moments = new Float64Array(width);
  const means = new Float64Array(width);
  let mean = 0;
  let sum = 0;
  for (let r = 0; r < count; r++) {
    const weight = weights[r]!;
    const at = r * width;
    sum += weight;
    mean += weight * targets[r]!;
    for (let j = 0; j < width; j++) means[j]! += weight * scaled[at + j]!;
  }
  mean /= sum;
  for (let j = 0; j < width; j++) means[j]! /= sum;
  for (let r = 0; r < count; r++) {
    const weight = weights[r]!;
    const at = r * width;
    const target = targets[r]! - mean;
    for (let j = 0; j < width; j++) {
      const weighted = weight * scaled[at + j]!;
      moments[j]! += weighted * target;
      const row = j * width;
      for (let i = 0; i <= j; i++) products[row + i]! += weighted * scaled[at + i]!;
    }
  }
  for (let j = 0; j < width; j++) {
    moments[j]! /= sum;
    for (let i = 0; i <= j; i++) products[j * width + i] = products[j * width + i]! / sum - means[j]! * means[i]!;
    products[j * width + j]! += shrink;
  }
  const coefficients = solved(products, moments, width);
  let intercept = mean;
  for (let j = 0; j < width; j++) intercept -= means[j]! * coefficients[j]!;
  return { coefficients, intercept };
}

/** Solves by Cholesky's method, in the lower half of `matrix`, which is overwritten. */
function solved(matrix: Float64Array, right: Float64Array, width: number): Float64Array {
  for (let j = 0; j < width; j++) {
    let pivot = matrix[j * width + j]!;
    for (let k = 0; k < j; k++) pivot -= matrix[j * width + k]! ** 2;
    pivot = Math.sqrt(Math.max(pivot, 1e-12));
    matrix[j * width + j] = pivot;
    for (let i = j + 1; i < width; i++) {
      let value = matrix[i * width + j]!;
      for (let k = 0; k < j; k++) value -= matrix[i * width + k]! * matrix[j * width + k]!;
      matrix[i * width + j] = value / pivot;
    }
  }
  const x = Float64Array.from(right);
  for (let i = 0; i < width; i++) {
    for (let k = 0; k < i; k++) x[i]! -= matrix[i * width + k]! * x[k]!;
    x[i]! /= matrix[i * width + i]!;
  }
  for (let i = width - 1; i >= 0; i--) {
    for (let k = i + 1; k < width; k++) x[i]! -= matrix[k * width + i]! * x[k]!;
    x[i]! /= matrix[i * width + i]!;
  }
  return x;
}

export function medianOf(values: Float64Array): number {
  const sorted = values.slice().sort();
  return sorted[sorted.length >> 1]!;
}
