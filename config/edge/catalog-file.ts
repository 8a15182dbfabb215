// Reads the catalogue of datastore types: the operator's file, or the example in the package.

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Catalog, catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { AppError } from '../../schemas/errors.ts';
import { packageFile } from '../package-file.ts';

/** `path` empty: the example. Throws CATALOG_INVALID, which names the file, and the line or the field. */
export function readCatalog(path: string): Catalog {
  const file = path === '' ? fileURLToPath(packageFile('catalog/example.json', import.meta.url, existsSync)) : path;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AppError('CATALOG_INVALID', `the catalogue ${file} cannot be read`, { file }, cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError(
      'CATALOG_INVALID',
      `the catalogue ${file} is not JSON: ${(cause as Error).message}`,
      { file },
      cause,
    );
  }
  try {
    return catalogOf(value);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    throw new AppError(error.code, `${file}: ${error.message}`, { ...error.facts, file }, error);
  }
}
