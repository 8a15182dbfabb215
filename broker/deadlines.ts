// Deadlines: gives up what takes too long. One timer for everything that is under way; it runs only while something is,
// so a question costs no timer of its own.

import type { Clock } from '../runtime/ports.ts';

/** What has to be over at a time. */
export interface Deadline {
  readonly until: number;
  readonly giveUp: () => void;
}

export class Deadlines {
  readonly #clock: Pick<Clock, 'now' | 'every'>;
  readonly #tickMs: number;
  readonly #running = new Set<Deadline>();
  #stop: (() => void) | undefined;

  /** Looks every `tickMs`: something is given up at most so much later than it should. */
  constructor(clock: Pick<Clock, 'now' | 'every'>, tickMs: number) {
    this.#clock = clock;
    this.#tickMs = tickMs;
  }

  /** Calls its `giveUp` once it is due, unless `end` was called before. */
  begin(deadline: Deadline): void {
    this.#running.add(deadline);
    this.#stop ??= this.#clock.every(this.#tickMs, () => this.#tick());
  }

  end(deadline: Deadline): void {
    this.#running.delete(deadline);
  }

  /** What comes of `work`, or `late` when nothing has at the time `until`. */
  within<Result>(work: Promise<Result>, until: number, late: () => Error): Promise<Result> {
    return new Promise((resolve, reject) => {
      const deadline: Deadline = { until, giveUp: () => reject(late()) };
      this.begin(deadline);
      work.finally(() => this.end(deadline)).then(resolve, reject);
    });
  }

  #tick(): void {
    if (this.#running.size === 0) {
      this.#stop?.();
      this.#stop = undefined;
      return;
    }
    const now = this.#clock.now();
    for (const deadline of this.#running)
      if (deadline.until <= now) {
        this.#running.delete(deadline);
        deadline.giveUp();
      }
  }
}
