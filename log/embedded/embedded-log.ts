// Embedded log: the Log port within this process, over one LevelDB folder, for a fleet without Kafka. Order, atomic commits,
// fencing and compaction work as in Kafka. There is only one process, and the log is the durable copy of everything.
//
//   With `sync` (the default) an append or commit resolves after an fsync; writes that wait together share one. Without `sync`
//   a crash of the process loses nothing, but a power failure may lose the last seconds or, when the disk wrote out of
//   order, leave a log that cannot be opened. The local stores beside it never need to sync: their changelog is in this log.

import { mkdirSync } from 'node:fs';
import { AppError } from '../../schemas/errors.ts';
import { LocalLog } from '../local/local-log.ts';
import { EmbeddedStorage } from './embedded-storage.ts';

export interface EmbeddedLogOptions {
  /** The folder; created when it does not exist. */
  readonly dir: string;
  readonly app: string;
  /** Number of partitions of each topic that has `all`; also the number of tasks of a group that does not gather. */
  readonly partitions: number;
  readonly sync?: boolean;
  readonly now?: () => number;
  /** How often clean-up runs; 0: only when `clean` is called. */
  readonly cleanEveryMs?: number;
  /** How long compaction keeps removals: longer than any reader's absence. */
  readonly tombstoneMs?: number;
  readonly dirtyRatio?: number;
  readonly dirtyBytesMin?: number;
}

const DEFAULTS = {
  sync: true,
  now: Date.now,
  cleanEveryMs: 10_000,
  tombstoneMs: 7 * 24 * 3_600_000,
  dirtyRatio: 0.5, // Kafka's min.cleanable.dirty.ratio: each byte is rewritten about once.
  dirtyBytesMin: 1024 * 1024,
} as const;

export class EmbeddedLog extends LocalLog {
  readonly #storage: EmbeddedStorage;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(storage: EmbeddedStorage, options: Required<EmbeddedLogOptions>) {
    super(storage, {
      app: options.app,
      partitions: options.partitions,
      now: options.now,
      removalsKeptMs: options.tombstoneMs,
      after: (ms, fire) => {
        const timer = setTimeout(fire, ms);
        return () => clearTimeout(timer);
      },
    });
    this.#storage = storage;
    if (options.cleanEveryMs > 0) {
      this.#timer = setInterval(() => void this.clean().catch((error) => this.fail(error)), options.cleanEveryMs);
      this.#timer.unref();
    }
  }

  /** Removes records past their time and compacts partitions with enough new bytes; also runs every `cleanEveryMs`. */
  clean(): Promise<void> {
    return this.#storage.clean();
  }

  /** Compacts a topic now. */
  compact(topic: string): Promise<void> {
    return this.#storage.compact(topic);
  }

  override close(): Promise<void> {
    clearInterval(this.#timer);
    return super.close();
  }
}

/**
 * Opens the log. Throws LOG_UNAVAILABLE when another process has opened it, STORE_CORRUPT or STORE_FORMAT when it
 * cannot be read.
 */
export async function embeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const whole = { ...DEFAULTS, ...options };
  try {
    mkdirSync(whole.dir, { recursive: true });
  } catch (error) {
    throw new AppError('LOG_UNAVAILABLE', `the folder ${whole.dir} cannot be created`, { dir: whole.dir }, error);
  }
  return new EmbeddedLog(await EmbeddedStorage.open(whole), whole);
}
