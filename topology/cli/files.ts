// Files that a command reads and writes: what goes wrong is told with the file's name and a code.

import { readFileSync, writeFileSync } from 'node:fs';
import { AppError } from '../../schemas/errors.ts';

/** A whole text file; `code` when it cannot be read. */
export function textIn(file: string, code: 'PROTOCOL_INVALID' | 'TRACE_INVALID'): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code;
    throw new AppError(code, `${file} cannot be read: ${reason}`, { file }, cause);
  }
}

export const write = (file: string, text: string): void => attempt(file, () => writeFileSync(file, text));

/** OUTPUT_UNWRITABLE when the action on this file fails. */
export function attempt(file: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code;
    throw new AppError('OUTPUT_UNWRITABLE', `${file} cannot be written: ${reason}`, { file }, cause);
  }
}
