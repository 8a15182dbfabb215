// Reads the weights of the global LSTM: the operator's file, or those in the package.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../schemas/errors.ts';
import { type CardedWeights, parseWeights } from '../lstm-weights.ts';
import { packageFile } from '../package-file.ts';

/** `path` empty: the weights in the package. Throws WEIGHTS_INVALID, which names the file. */
export function readWeights(path: string): CardedWeights {
  const file = path === '' ? fileURLToPath(packageFile('weights/lstm.json', import.meta.url, existsSync)) : path;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AppError('WEIGHTS_INVALID', `the LSTM weights in ${file} cannot be read`, { file }, cause);
  }
  return parseWeights(text, file);
}
