// Open an outbox: on the broker's own disk, locked against a second process.

import { isOfDisk } from '../datastores/disk-error.ts';
import { lockFolder } from '../datastores/trie/folder-lock.ts';
import { AppError } from '../schemas/errors.ts';
import { outboxDisk } from './edge/outbox-disk.ts';
import { openOutboxFile } from './edge/outbox-file.ts';
import type { Outbox } from './outbox.ts';
import type { OutboxQueueSettings } from './outbox-queue.ts';

export interface OutboxOptions extends Partial<Pick<OutboxQueueSettings, 'bytesMax' | 'confirm'>> {
  /** Of this broker alone; created when it is not there. */
  readonly folder: string;
  /**
   * True, the default: an event is confirmed when it is on the disk. False: when it is written; then it survives the end
   * of the process, but not a power failure.
   */
  readonly sync?: boolean;
}

const FILE_BYTES_MIN = 64 * 1024;
const FILE_BYTES_MAX = 16 * 1024 * 1024;

/** `owner`: the broker and its fleet. Throws CONFIG_INVALID, OUTBOX_UNAVAILABLE, STORE_CORRUPT or STORE_FORMAT. */
export async function openOutbox(options: OutboxOptions, owner: string, bytesMax: number): Promise<Outbox> {
  const { folder, sync = true } = options;
  const fileBytes = Math.min(FILE_BYTES_MAX, Math.max(FILE_BYTES_MIN, bytesMax / 8));
  try {
    const disk = await outboxDisk(folder);
    const lock = await lockFolder(folder);
    try {
      return await openOutboxFile(disk, { owner, sync, fileBytes, closed: () => lock.release() });
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    const isLocked = error instanceof AppError && error.code === 'STORE_UNAVAILABLE';
    if (!isLocked && !isOfDisk(error)) throw error;
    const why = isLocked ? 'another process may have it' : (error as Error).message;
    throw new AppError('OUTBOX_UNAVAILABLE', `the outbox in ${folder} cannot be opened: ${why}`, { folder }, error);
  }
}
