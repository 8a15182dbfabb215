// Files that a command reads and writes: errors name the file and have a code.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { AppError } from '../schemas/errors.ts';

type Unreadable = 'PROTOCOL_INVALID' | 'TRACE_INVALID';

/** A whole text file; `code` when it cannot be read. */
export const textIn = (file: string, code: Unreadable): string => reading(file, code, () => readFileSync(file, 'utf8'));

/** Runs the action on a file; throws an error with this code when it fails. */
export function reading<T>(file: string, code: Unreadable, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new AppError(code, `${file} cannot be read: ${reasonOf(cause)}`, { file }, cause);
  }
}

/** Checks, before the work begins, that the file can be written at the end. */
export const claim = (file: string): void => attempt(file, () => closeSync(openSync(file, 'a')));

export const write = (file: string, text: string): void => attempt(file, () => writeFileSync(file, text));

/** Runs the action on a file; throws OUTPUT_UNWRITABLE when it fails. */
export function attempt(file: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    throw new AppError('OUTPUT_UNWRITABLE', `${file} cannot be written: ${reasonOf(cause)}`, { file }, cause);
  }
}

const reasonOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException).code;
