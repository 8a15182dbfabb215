// Reads the weights of the global LSTM: the user's file, or those that come with the package.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../schemas/errors.ts';
import { type CardedWeights, parseWeights } from '../lstm-weights.ts';

/** `path` empty: the shipped ones. Throws WEIGHTS_INVALID naming the file. */
export function readWeights(path: string): CardedWeights {
  const file = path === '' ? shippedFile() : path;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AppError('WEIGHTS_INVALID', `the LSTM weights in ${file} cannot be read`, { file }, cause);
  }
  return parseWeights(text, file);
}

/** Beside package.json, which is two folders up from the sources and three from the build. */
function shippedFile(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && folder !== dirname(folder)) folder = dirname(folder);
  return join(folder, 'weights', 'lstm.json');
}
