// A clock moved by hand: for tests, and for runs in simulated time, where a day passes as fast as its events are worked.

import type { Clock } from './ports.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

export class SimulatedClock implements Clock {
  #now: number;
  #sleepers: Sleeper[] = [];
  readonly #repeating = new Set<{ next: number; readonly ms: number; readonly tick: () => void }>();

  constructor(start: number) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  every(ms: number, tick: () => void): () => void {
    const entry = { next: this.#now + ms, ms, tick };
    this.#repeating.add(entry);
    return () => this.#repeating.delete(entry);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ at: this.#now + ms, wake }));
  }

  /** Moves time forward and wakes all that is due, once each: a repeating tick is not made up for. */
  advance(ms: number): void {
    this.#now += ms;
    const due = this.#sleepers.filter((sleeper) => sleeper.at <= this.#now);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.at > this.#now);
    for (const sleeper of due) sleeper.wake();
    for (const entry of this.#repeating) {
      if (entry.next > this.#now) continue;
      entry.next = this.#now + entry.ms;
      entry.tick();
    }
  }
}
