// Network: the sizes and the arithmetic of the global recurrent model. An LSTM cell (Hochreiter and Schmidhuber, 1997,
// with the forget gate of Gers, Schmidhuber and Cummins, 2000) reads one row of inputs for each closed step. From the
// cell's memory a dense layer computes, for a distance, the coefficient of each term of the forecast (terms.ts).
//
//   N1. All weights lie in one flat array: gates, dense layer, output layer; each row ends with its bias.
//   N2. With a zero output layer every coefficient is zero, and the forecast is its base.
//
// Hot path: plain loops over double arrays, written in place.

/** Number of inputs of each step (inputs.ts) and number of coefficients (terms.ts). */
export const INPUTS = 16;
export const TERMS = 12;
export const HIDDEN = 24;
/** Hidden and cell vector of a series, one behind the other. */
export const MEMORY = 2 * HIDDEN;
/**
 * Rows of the gates: input, forget, candidate and output gate of each cell, four neighbouring rows that are computed
 * together.
 */
export const GATES = 4 * HIDDEN;
export const DENSE = 20;
/** Number of values that describe a distance to the dense layer. */
export const PLACE = 3;

const GATE_ROW = INPUTS + HIDDEN + 1;
export const DENSE_AT = GATES * GATE_ROW;
const DENSE_ROW = HIDDEN + INPUTS + PLACE + 1;
export const OUT_AT = DENSE_AT + DENSE * DENSE_ROW;
const OUT_ROW = DENSE + 1;
/** Number of weights in all. */
export const WEIGHTS = OUT_AT + TERMS * OUT_ROW;

/** Initial bias of the forget gates: an open gate lets a cell remember before it has learned to (Gers et al., 2000). */
const FORGET_BIAS = 1;
/** A distance of this many steps is described by a value of about one. */
const PLACE_STEPS = 64;

/** Initial weights: small and random; the output layer is zero (N2). */
export function freshWeights(random: () => number): Float64Array {
  const weights = new Float64Array(WEIGHTS);
  const fill = (from: number, rows: number, row: number): void => {
    const reach = 1 / Math.sqrt(row);
    for (let r = 0; r < rows; r++)
      for (let j = 0; j < row - 1; j++) weights[from + r * row + j] = reach * (2 * random() - 1);
  };
  fill(0, GATES, GATE_ROW);
  for (let r = 1; r < GATES; r += 4) weights[r * GATE_ROW + GATE_ROW - 1] = FORGET_BIAS;
  fill(DENSE_AT, DENSE, DENSE_ROW);
  return weights;
}

/** Multiplies every coefficient by `share`: 0 leaves only the base. */
export function shrinkCoefficients(weights: Float32Array, share: number): void {
  for (let i = OUT_AT; i < WEIGHTS; i++) weights[i]! *= share;
}

/** Writes the values that describe a distance to the dense layer. */
export function writePlace(ahead: number, season: number, into: Float64Array): void {
  into[0] = Math.log(ahead) / Math.log(PLACE_STEPS);
  into[1] = Math.log(ahead / season) / Math.log(PLACE_STEPS);
  into[2] = 1 / ahead;
}

/**
 * One step of the cell: from the memory at `before` to the one at `after`, which may be the same place. Keeps the
 * gates' values.
 */
export function remember(
  weights: Float64Array,
  inputs: Float64Array,
  inputsAt: number,
  memory: Float64Array,
  before: number,
  after: number,
  gates: Float64Array,
  gatesAt: number,
): void {
  for (let c = 0, row = 0; c < HIDDEN; c++, row += 4 * GATE_ROW) {
    const forgetRow = row + GATE_ROW;
    const candidateRow = forgetRow + GATE_ROW;
    const outputRow = candidateRow + GATE_ROW;
    let input = weights[forgetRow - 1]!;
    let forget = weights[candidateRow - 1]!;
    let candidate = weights[outputRow - 1]!;
    let output = weights[outputRow + GATE_ROW - 1]!;
    for (let j = 0; j < INPUTS; j++) {
      const x = inputs[inputsAt + j]!;
      input += weights[row + j]! * x;
      forget += weights[forgetRow + j]! * x;
      candidate += weights[candidateRow + j]! * x;
      output += weights[outputRow + j]! * x;
    }
    for (let j = 0; j < HIDDEN; j++) {
      const h = memory[before + j]!;
      input += weights[row + INPUTS + j]! * h;
      forget += weights[forgetRow + INPUTS + j]! * h;
      candidate += weights[candidateRow + INPUTS + j]! * h;
      output += weights[outputRow + INPUTS + j]! * h;
    }
    const at = gatesAt + 4 * c;
    gates[at] = sigmoid(input);
    gates[at + 1] = sigmoid(forget);
    gates[at + 2] = Math.tanh(candidate);
    gates[at + 3] = sigmoid(output);
  }
  for (let c = 0; c < HIDDEN; c++) {
    const at = gatesAt + 4 * c;
    const cell = gates[at + 1]! * memory[before + HIDDEN + c]! + gates[at]! * gates[at + 2]!;
    memory[after + HIDDEN + c] = cell;
    memory[after + c] = gates[at + 3]! * Math.tanh(cell);
  }
}

/** The part of the dense layer's sums that comes from memory and inputs: the same for every distance. */
export function writeContext(
  weights: Float64Array,
  inputs: Float64Array,
  inputsAt: number,
  memory: Float64Array,
  memoryAt: number,
  context: Float64Array,
): void {
  for (let r = 0; r < DENSE; r++) {
    const row = DENSE_AT + r * DENSE_ROW;
    let sum = weights[row + DENSE_ROW - 1]!;
    for (let j = 0; j < HIDDEN; j++) sum += weights[row + j]! * memory[memoryAt + j]!;
    for (let j = 0; j < INPUTS; j++) sum += weights[row + HIDDEN + j]! * inputs[inputsAt + j]!;
    context[r] = sum;
  }
}

/** Writes the coefficients of the terms at a distance; keeps the dense layer's values. */
export function writeCoefficients(
  weights: Float64Array,
  context: Float64Array,
  place: Float64Array,
  dense: Float64Array,
  coefficients: Float64Array,
  coefficientsAt: number,
): void {
  for (let r = 0; r < DENSE; r++) {
    const row = DENSE_AT + r * DENSE_ROW + HIDDEN + INPUTS;
    let sum = context[r]!;
    for (let j = 0; j < PLACE; j++) sum += weights[row + j]! * place[j]!;
    dense[r] = Math.tanh(sum);
  }
  for (let k = 0; k < TERMS; k++) {
    const row = OUT_AT + k * OUT_ROW;
    let sum = weights[row + DENSE]!;
    for (let r = 0; r < DENSE; r++) sum += weights[row + r]! * dense[r]!;
    coefficients[coefficientsAt + k] = sum;
  }
}

/**
 * Back-propagates through `writeCoefficients` and `writeContext`: given the slopes of the coefficients of one distance,
 * adds to the gradient of the weights and to that of the hidden vector.
 */
export function decodeBackwards(
  weights: Float64Array,
  coefficientSlopes: Float64Array,
  dense: Float64Array,
  place: Float64Array,
  inputs: Float64Array,
  inputsAt: number,
  memory: Float64Array,
  memoryAt: number,
  gradient: Float64Array,
  hiddenSlopes: Float64Array,
  hiddenSlopesAt: number,
): void {
  for (let r = 0; r < DENSE; r++) {
    let slope = 0;
    for (let k = 0; k < TERMS; k++) {
      const at = OUT_AT + k * OUT_ROW + r;
      slope += weights[at]! * coefficientSlopes[k]!;
      gradient[at]! += coefficientSlopes[k]! * dense[r]!;
    }
    slope *= 1 - dense[r]! * dense[r]!;
    const row = DENSE_AT + r * DENSE_ROW;
    for (let j = 0; j < HIDDEN; j++) {
      gradient[row + j]! += slope * memory[memoryAt + j]!;
      hiddenSlopes[hiddenSlopesAt + j]! += slope * weights[row + j]!;
    }
    for (let j = 0; j < INPUTS; j++) gradient[row + HIDDEN + j]! += slope * inputs[inputsAt + j]!;
    for (let j = 0; j < PLACE; j++) gradient[row + HIDDEN + INPUTS + j]! += slope * place[j]!;
    gradient[row + DENSE_ROW - 1]! += slope;
  }
  for (let k = 0; k < TERMS; k++) gradient[OUT_AT + k * OUT_ROW + DENSE]! += coefficientSlopes[k]!;
}

/**
 * Back-propagates through `remember`: takes the slopes of the memory after it (hidden, then cell), adds to the gradient
 * of the weights, and replaces the slopes by those of the memory before it.
 */
export function rememberBackwards(
  weights: Float64Array,
  inputs: Float64Array,
  inputsAt: number,
  memory: Float64Array,
  before: number,
  after: number,
  gates: Float64Array,
  gatesAt: number,
  slopes: Float64Array,
  gradient: Float64Array,
  sums: Float64Array,
): void {
  for (let c = 0; c < HIDDEN; c++) {
    const at = gatesAt + 4 * c;
    const input = gates[at]!;
    const forget = gates[at + 1]!;
    const candidate = gates[at + 2]!;
    const output = gates[at + 3]!;
    const squashed = Math.tanh(memory[after + HIDDEN + c]!);
    const cellSlope = slopes[HIDDEN + c]! + slopes[c]! * output * (1 - squashed * squashed);
    sums[4 * c] = cellSlope * candidate * input * (1 - input);
    sums[4 * c + 1] = cellSlope * memory[before + HIDDEN + c]! * forget * (1 - forget);
    sums[4 * c + 2] = cellSlope * input * (1 - candidate * candidate);
    sums[4 * c + 3] = slopes[c]! * squashed * output * (1 - output);
    slopes[HIDDEN + c] = cellSlope * forget;
  }
  slopes.fill(0, 0, HIDDEN);
  for (let c = 0, row = 0; c < HIDDEN; c++, row += 4 * GATE_ROW) {
    const forgetRow = row + GATE_ROW;
    const candidateRow = forgetRow + GATE_ROW;
    const outputRow = candidateRow + GATE_ROW;
    const input = sums[4 * c]!;
    const forget = sums[4 * c + 1]!;
    const candidate = sums[4 * c + 2]!;
    const output = sums[4 * c + 3]!;
    for (let j = 0; j < INPUTS; j++) {
      const x = inputs[inputsAt + j]!;
      gradient[row + j]! += input * x;
      gradient[forgetRow + j]! += forget * x;
      gradient[candidateRow + j]! += candidate * x;
      gradient[outputRow + j]! += output * x;
    }
    for (let j = INPUTS; j < INPUTS + HIDDEN; j++) {
      const h = memory[before + j - INPUTS]!;
      gradient[row + j]! += input * h;
      gradient[forgetRow + j]! += forget * h;
      gradient[candidateRow + j]! += candidate * h;
      gradient[outputRow + j]! += output * h;
      slopes[j - INPUTS]! +=
        input * weights[row + j]! +
        forget * weights[forgetRow + j]! +
        candidate * weights[candidateRow + j]! +
        output * weights[outputRow + j]!;
    }
    gradient[forgetRow - 1]! += input;
    gradient[candidateRow - 1]! += forget;
    gradient[outputRow - 1]! += candidate;
    gradient[outputRow + GATE_ROW - 1]! += output;
  }
}

const sigmoid = (sum: number): number => 1 / (1 + Math.exp(-sum));
