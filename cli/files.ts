// Files that a command reads and writes: what goes wrong is told with the file's name and a code.

import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { AppError } from '../schemas/errors.ts';

type Unreadable = 'PROTOCOL_INVALID' | 'TRACE_INVALID';

/** A whole text file; `code` when it cannot be read. */
export const textIn = (file: string, code: Unreadable): string => reading(file, code, () => readFileSync(file, 'utf8'));

/** `code` when looking at this file fails. */
export function reading<T>(file: string, code: Unreadable, action: () => T): T {
  try {
    return action();
  } catch (cause) {
    throw new AppError(code, `${file} cannot be read: ${reasonOf(cause)}`, { file }, cause);
  }
}

/** Makes sure, before the work begins, that the file can be written to in the end. */
export const claim = (file: string): void => attempt(file, () => closeSync(openSync(file, 'a')));

export const write = (file: string, text: string): void => attempt(file, () => writeFileSync(file, text));

/** OUTPUT_UNWRITABLE when the action on this file fails. */
export function attempt(file: string, action: () => void): void {
  try {
    action();
  } catch (cause) {
    throw new AppError('OUTPUT_UNWRITABLE', `${file} cannot be written: ${reasonOf(cause)}`, { file }, cause);
  }
}

const reasonOf = (cause: unknown): string | undefined => (cause as NodeJS.ErrnoException).code;
