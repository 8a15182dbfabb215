// LSTM weights file: the trained weights of the global LSTM, and a description of their training: one JSON object with
// the fields of `FILE`. It contains no date and no path, so that the same training writes the same bytes.

import { type Static, Type } from 'typebox';
import { type LstmWeights, weightsProblem } from '../processors/forecast/models/lstm.ts';
import { checked } from '../schemas/checked.ts';
import { AppError } from '../schemas/errors.ts';

/** Changes with the network's shape or inputs: weights of another format cannot be used. */
export const WEIGHTS_FORMAT = 'foreshard-lstm-1';

/** The description of the weights: a short model card. */
export interface WeightsCard {
  /** What they were trained on. */
  readonly data: string;
  readonly seed: number;
  /** How it was trained and judged. */
  readonly protocol: string;
  /** Validation errors, in usual errors of the rule that needs no learning: 1 is as good as that rule. */
  readonly scores: { readonly before: number; readonly after: number };
}

const FILE = Type.Object({
  format: Type.Literal(WEIGHTS_FORMAT),
  data: Type.String(),
  seed: Type.Number(),
  protocol: Type.String(),
  scores: Type.Object({ before: Type.Number(), after: Type.Number() }),
  /** 32-bit floats, little-endian, as base64. */
  weights: Type.String(),
});
type WeightsFile = Static<typeof FILE>;

export interface CardedWeights {
  readonly card: WeightsCard;
  readonly weights: LstmWeights;
}

export function weightsText({ data, seed, protocol, scores }: WeightsCard, weights: LstmWeights): string {
  const bytes = new DataView(new ArrayBuffer(4 * weights.length));
  for (const [i, weight] of weights.entries()) bytes.setFloat32(4 * i, weight, true);
  const file: WeightsFile = {
    format: WEIGHTS_FORMAT,
    data,
    seed,
    protocol,
    scores,
    weights: Buffer.from(bytes.buffer).toString('base64'),
  };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

/** Throws WEIGHTS_INVALID, which names the file and the problem. */
export function parseWeights(text: string, file: string): CardedWeights {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(file, `it is not JSON: ${(cause as Error).message}`, cause);
  }
  const { data, seed, protocol, scores, weights } = checked(FILE, value, ({ path, text }) =>
    invalid(file, `${path} ${text}`),
  );
  const bytes = Buffer.from(weights, 'base64');
  const numbers = new Float32Array(Math.floor(bytes.length / 4));
  for (let i = 0; i < numbers.length; i++) numbers[i] = bytes.readFloatLE(4 * i);
  const problem = weightsProblem(numbers);
  if (problem !== undefined) throw invalid(file, problem);
  return { card: { data, seed, protocol, scores: { before: scores.before, after: scores.after } }, weights: numbers };
}

const invalid = (file: string, problem: string, cause?: unknown): AppError =>
  new AppError('WEIGHTS_INVALID', `the LSTM weights in ${file} cannot be used: ${problem}`, { file }, cause);
