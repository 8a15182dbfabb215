// A clock that is advanced by hand: for tests, and for runs in simulated time, where a day passes as fast as its events
// are processed.

import type { Clock } from './ports.ts';

interface Sleeper {
  readonly at: number;
  readonly wake: () => void;
}

export class SimulatedClock implements Clock {
  #now: number;
  #sleepers: Sleeper[] = [];
  #someoneSleeps: () => void = () => {};
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
    return new Promise((wake) => {
      this.#sleepers.push({ at: this.#now + ms, wake });
      this.#someoneSleeps();
    });
  }

  /** Waits for `idle`. While somebody sleeps, `idle` would not resolve, so time jumps to the end of each sleep. */
  async settle(idle: Promise<void>): Promise<void> {
    let settled = false;
    const done = idle.then(() => {
      settled = true;
    });
    while (!settled) {
      const sleeping = new Promise<void>((resolve) => {
        this.#someoneSleeps = resolve;
      });
      if (this.#sleepers.length === 0) await Promise.race([done, sleeping]);
      if (!settled && this.#sleepers.length > 0) {
        this.advance(Math.max(0, Math.min(...this.#sleepers.map((sleeper) => sleeper.at)) - this.#now));
      }
    }
    this.#someoneSleeps = () => {};
  }

  /** Advances time and wakes everything that is due, once each: missed repetitions of a tick are not made up for. */
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
