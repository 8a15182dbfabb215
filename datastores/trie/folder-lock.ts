// Folder lock: only one process at a time uses a folder. Node cannot lock a file, and a file with a process id is
// unreliable where ids are reused, as in containers. So the lock is an empty LevelDB beside the data: LevelDB holds a
// kernel lock on its folder, which ends with the process however that ends, and refuses to be opened twice within one
// process too.

import { join } from 'node:path';
import { Level } from 'level';
import { AppError } from '../../schemas/errors.ts';

export interface FolderLock {
  release(): Promise<void>;
}

/** Small buffers: nothing is ever written to it. */
const SMALL_BYTES = 64 * 1024;

/** Throws STORE_UNAVAILABLE when the folder is open already, in this or another process. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const database = new Level(join(folder, 'lock'), { cacheSize: SMALL_BYTES, writeBufferSize: SMALL_BYTES });
  try {
    await database.open();
  } catch (error) {
    throw new AppError(
      'STORE_UNAVAILABLE',
      'the shard cannot be opened: another process may have it',
      { folder },
      error,
    );
  }
  return { release: () => database.close() };
}
