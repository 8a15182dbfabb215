// Outbox disk: the few calls of the operating system that an outbox makes, so that a test can fail each of them.

import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

export interface OutboxDisk {
  /** The names of the folder's files. */
  names(): Promise<string[]>;
  /** A new file is empty. */
  open(name: string): Promise<OutboxFile>;
  remove(name: string): Promise<void>;
  /** Makes durable which files there are. */
  sync(): Promise<void>;
}

export interface OutboxFile {
  sizeBytes(): Promise<number>;
  /** As many of the bytes as there are. */
  read(position: number, bytes: number): Promise<Buffer>;
  /** All of the bytes. */
  write(bytes: Buffer, position: number): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Creates the folder when there is none; nobody else may read it. */
export async function outboxDisk(folder: string): Promise<OutboxDisk> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return {
    names: () => readdir(folder),
    open: async (name) => fileOver(await open(join(folder, name), OPEN_OR_CREATE, 0o600)),
    remove: (name) => rm(join(folder, name), { force: true }),
    async sync() {
      const handle = await open(folder, 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    },
  };
}

/** Read and write, created when missing, never emptied. */
const OPEN_OR_CREATE = constants.O_RDWR | constants.O_CREAT;

const fileOver = (handle: FileHandle): OutboxFile => ({
  sizeBytes: async () => (await handle.stat()).size,
  async read(position, bytes) {
    const buffer = Buffer.allocUnsafe(bytes);
    let filled = 0;
    while (filled < bytes) {
      const { bytesRead } = await handle.read(buffer, filled, bytes - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return buffer.subarray(0, filled);
  },
  async write(bytes, position) {
    for (let written = 0; written < bytes.length; )
      written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  },
  truncate: (sizeBytes) => handle.truncate(sizeBytes),
  sync: () => handle.datasync(),
  close: () => handle.close(),
});
