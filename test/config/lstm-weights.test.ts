import { describe, expect, test } from 'vitest';
import { readWeights } from '../../config/edge/weights-file.ts';
import { parseWeights, type WeightsCard, weightsText } from '../../config/lstm-weights.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { freshWeights } from '../../processors/forecast/lstm/network.ts';
import { AppError } from '../../schemas/errors.ts';

const CARD: WeightsCard = { data: '2 made series', seed: 7, protocol: 'one round', scores: { before: 1, after: 0.9 } };
const WEIGHTS = Float32Array.from(freshWeights(randomFrom(7)));
const TEXT = weightsText(CARD, WEIGHTS);

const changed = (change: Record<string, unknown>): string => JSON.stringify({ ...JSON.parse(TEXT), ...change });
const bytesOf = (weights: Float32Array): string => Buffer.from(weights.buffer).toString('base64');

describe('LSTM weights file', () => {
  test('what was written is read, to the last bit', () => {
    expect(parseWeights(TEXT, 'w.json')).toEqual({ card: CARD, weights: WEIGHTS });
  });

  for (const { name, text, says } of [
    { name: 'no JSON', text: '{', says: 'it is not JSON' },
    { name: 'no object', text: '7', says: 'format is missing' },
    {
      name: 'another format',
      text: changed({ format: 'foreshard-lstm-0' }),
      says: 'format must be "foreshard-lstm-1"',
    },
    { name: 'no seed', text: changed({ seed: null }), says: 'seed must be a number' },
    { name: 'no scores', text: changed({ scores: { before: 1 } }), says: 'scores.after is missing' },
    { name: 'no weights', text: changed({ weights: undefined }), says: 'weights is missing' },
    { name: 'half the weights', text: changed({ weights: bytesOf(WEIGHTS.slice(0, 100)) }), says: 'not 100' },
    {
      name: 'a weight that is no number',
      text: changed({ weights: bytesOf(WEIGHTS.slice().fill(Number.NaN, 3, 4)) }),
      says: 'weight 3 is not a finite number',
    },
    {
      name: 'an infinite weight',
      text: changed({ weights: bytesOf(WEIGHTS.slice().fill(Number.NEGATIVE_INFINITY, 0, 1)) }),
      says: 'weight 0 is not a finite number',
    },
  ])
    test(`${name} is refused, naming the file`, () => {
      expect(() => parseWeights(text, 'w.json')).toThrow(AppError);
      expect(() => parseWeights(text, 'w.json')).toThrow('the LSTM weights in w.json cannot be used');
      expect(() => parseWeights(text, 'w.json')).toThrow(says);
    });

  test('a file that is not there is refused, naming it', () => {
    expect(() => readWeights('/nowhere/w.json')).toThrow('/nowhere/w.json cannot be read');
  });

  test('the shipped weights are those of the made series alone, and better than untrained', () => {
    const { card } = readWeights('');
    expect(card.data).toMatch(/^\d+ made series$/);
    expect(card.scores.after).toBeLessThan(card.scores.before);
  });
});
