// Registry patience: retries while the schema registry does not answer; only what needs the registry waits.
//
//   W1. While the registry cannot be asked, the reader of a batch waits, retries and loses nothing; it continues by
//       itself. Only the reader's own end ends the wait.

import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { RecordName } from '../schemas/records.ts';
import type { Clock } from './ports.ts';

/** Pause in addition to those that the codec makes itself. */
const RETRY_MS = 1_000;

export interface Waiting {
  readonly codec: Codec;
  readonly clock: Pick<Clock, 'sleep'>;
  /** True when the answer is no longer needed. */
  readonly isOver: () => boolean;
  /** Called before each pause. */
  readonly told?: (reason: string) => void;
}

/** Prepares the codec for these values. False when `isOver` became true before that. */
export async function preparePatiently(
  { codec, clock, isOver, told }: Waiting,
  record: RecordName,
  values: readonly (Buffer | null)[],
): Promise<boolean> {
  while (!isOver()) {
    try {
      await codec.prepare(record, values);
      return true;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'REGISTRY_UNAVAILABLE') throw error;
      told?.(error.message);
      await clock.sleep(RETRY_MS);
    }
  }
  return false;
}
