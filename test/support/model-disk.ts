// Model disk: the files of an outbox in memory, with what is on the disk for good beside what was only written. It can
// be cut at any of its operations, and says what such an end leaves.
//
//   D1. The operation at which it is cut is carried out in part: a write has written its first bytes. Everything after
//       it fails.
//   D2. After the end of a process everything that was written is there. After a power failure, of what was not synced
//       any part may be there: of each write its first bytes, with zeros before them where an earlier write is missing;
//       new files may be gone and removed ones back.

import type { OutboxDisk, OutboxFile } from '../../broker/edge/outbox-disk.ts';

interface ModelFile {
  content: Buffer;
  synced: Buffer;
  /** Since the last sync. */
  writes: { readonly at: number; readonly bytes: Buffer }[];
}

export type Ending = 'killed' | 'power failure';

export class ModelDisk implements OutboxDisk {
  /** Operations so far that change something. */
  operations = 0;
  readonly #random: () => number;
  readonly #files: Map<string, ModelFile>;
  /** The folder as it is for good. */
  #synced: Map<string, ModelFile>;
  #cutAt = Number.POSITIVE_INFINITY;
  #failAt = Number.POSITIVE_INFINITY;

  constructor(random: () => number, files = new Map<string, ModelFile>()) {
    this.#random = random;
    this.#files = files;
    this.#synced = new Map(files);
  }

  /** The operation after so many more is the last one. */
  cutAfter(operations: number): void {
    this.#cutAt = this.operations + operations;
  }

  /** The disk refuses the operation after so many more. */
  failAfter(operations: number): void {
    this.#failAt = this.operations + operations;
  }

  get isCut(): boolean {
    return this.operations > this.#cutAt;
  }

  get namesNow(): string[] {
    return [...this.#files.keys()].sort();
  }

  contentOf(name: string): Buffer {
    return this.#files.get(name)!.content;
  }

  /** Damages a file behind its owner's back. */
  damage(name: string, content: Buffer): void {
    Object.assign(this.#files.get(name)!, { content, synced: content, writes: [] });
  }

  /** What the next process finds (D2). */
  after(ending: Ending): ModelDisk {
    const all = ending === 'killed' ? this.#files : this.#afterPowerFailure();
    const left = [...all].map(
      ([name, { content }]) => [name, { content, synced: content, writes: [] }] as [string, ModelFile],
    );
    return new ModelDisk(this.#random, new Map(left));
  }

  async names(): Promise<string[]> {
    return this.namesNow;
  }

  async open(name: string): Promise<OutboxFile> {
    if (!this.#files.has(name))
      this.#change(() => this.#files.set(name, { content: Buffer.alloc(0), synced: Buffer.alloc(0), writes: [] }));
    const file = this.#files.get(name)!;
    return {
      sizeBytes: async () => file.content.length,
      read: async (position, bytes) => Buffer.from(file.content.subarray(position, position + bytes)),
      write: async (bytes, position) =>
        this.#change((share) => {
          const some = bytes.subarray(0, Math.floor(bytes.length * share));
          file.content = written(file.content, some, position);
          file.writes.push({ at: position, bytes: Buffer.from(some) });
        }),
      truncate: async (sizeBytes) =>
        this.#change(() => {
          file.content = file.content.subarray(0, sizeBytes);
          file.synced = file.synced.subarray(0, sizeBytes);
          file.writes = file.writes.map(({ at, bytes }) => ({
            at,
            bytes: bytes.subarray(0, Math.max(0, sizeBytes - at)),
          }));
        }),
      sync: async () =>
        this.#change((share) => {
          if (share < 1) return;
          file.synced = file.content;
          file.writes = [];
        }),
      close: async () => {},
    };
  }

  async remove(name: string): Promise<void> {
    this.#change(() => this.#files.delete(name));
  }

  async sync(): Promise<void> {
    this.#change((share) => {
      if (share === 1) this.#synced = new Map(this.#files);
    });
  }

  /** `work` gets the share that is carried out. */
  #change(work: (share: number) => void): void {
    this.operations += 1;
    if (this.operations > this.#cutAt) {
      if (this.operations === this.#cutAt + 1) work(this.#random());
      throw new Error('the process has ended');
    }
    if (this.operations === this.#failAt + 1) {
      work(this.#random());
      throw Object.assign(new Error('no space left'), { syscall: 'write' });
    }
    work(1);
  }

  #afterPowerFailure(): Map<string, ModelFile> {
    const isLucky = (): boolean => this.#random() < 0.5;
    const left = new Map([...this.#synced].filter(([name]) => this.#files.has(name) || isLucky()));
    for (const [name, file] of this.#files) if (this.#synced.has(name) || isLucky()) left.set(name, file);
    return new Map(
      [...left].map(([name, file]) => {
        let content = file.synced;
        for (const { at, bytes } of file.writes)
          if (isLucky())
            content = written(
              content,
              isLucky() ? bytes : bytes.subarray(0, Math.floor(bytes.length * this.#random())),
              at,
            );
        return [name, { ...file, content }];
      }),
    );
  }
}

function written(content: Buffer, bytes: Buffer, at: number): Buffer {
  const result = Buffer.alloc(Math.max(content.length, at + bytes.length));
  content.copy(result);
  bytes.copy(result, at);
  return result;
}
