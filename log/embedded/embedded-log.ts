// Embedded log: the Log port in this process, over one LevelDB folder, for a fleet that has no Kafka. Order, atomic commits,
// fencing and compaction are those of Kafka; there is one process, and the log itself is the durable copy of everything.
//
//   With `sync` (the default) an append or commit resolves after an fsync; those that wait together share one. Without it
//   a crash of the process loses nothing, and a power failure may cost the last seconds or, where the disk wrote out of
//   order, leave a log that refuses to open. The local stores beside it never need to sync: the changelog is here.

import { mkdirSync } from 'node:fs';
import { AppError } from '../../schemas/errors.ts';
import { LocalLog } from '../local/local-log.ts';
import { EmbeddedStorage } from './embedded-storage.ts';

export interface EmbeddedLogOptions {
  /** The folder, made when missing. */
  readonly dir: string;
  readonly app: string;
  /** Of each topic that has `all` partitions; the number of tasks of a group that does not gather. */
  readonly partitions: number;
  readonly sync?: boolean;
  readonly now?: () => number;
  /** How often clean-up looks for something to do; 0 leaves it to `clean`. */
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

  /** Removes what is past its time and compacts what is dirty enough; runs by itself every `cleanEveryMs`. */
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

/** Opens the log. Throws LOG_UNAVAILABLE when another process has it, STORE_CORRUPT or STORE_FORMAT when it cannot be read. */
export async function embeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const whole = { ...DEFAULTS, ...options };
  try {
    mkdirSync(whole.dir, { recursive: true });
  } catch (error) {
    throw new AppError('LOG_UNAVAILABLE', `the folder ${whole.dir} cannot be created`, { dir: whole.dir }, error);
  }
  return new EmbeddedLog(await EmbeddedStorage.open(whole), whole);
}
