// Process: what runs on one simulated host. Whatever it asks of the world goes through `call`, so that it can be stopped
// between any two steps of it: killed (nothing is ever answered to it again) or paused (all of it goes on later).
//
//   P1. What was asked before the end is carried out or not, as chance has it; who asked never hears of it.
//   P2. While it is cut off from something, what it asks does not get there, or the answer does not get back: one way or the other.

import type { Clock } from '../../runtime/ports.ts';
import { never, type Scheduler } from './scheduler.ts';

/** What is killed at the next such moment. */
export type Moment = 'before a commit' | 'after a commit' | 'before a store call' | 'after a store call';

export type Way = 'there' | 'back';

interface Cut {
  readonly until: number;
  readonly way: Way;
  readonly met: () => void;
}

/** How often somebody who is cut off looks whether that has ended. */
const LOOK_MS = 200;

export class Process {
  readonly name: string;
  /** What its host's clock shows more than the world's. */
  clockAheadMs = 0;
  readonly #scheduler: Scheduler;
  #state: 'up' | 'paused' | 'down' = 'up';
  #goesOn: (() => void)[] = [];
  readonly #cuts = new Map<string, Cut>();
  #trap: { readonly moment: Moment; readonly spring: () => void } | undefined;

  constructor(name: string, scheduler: Scheduler) {
    this.name = name;
    this.#scheduler = scheduler;
  }

  get state(): 'up' | 'paused' | 'down' {
    return this.#state;
  }

  kill(): void {
    this.#state = 'down';
    this.#goesOn = [];
  }

  pause(): void {
    if (this.#state === 'up') this.#state = 'paused';
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'up';
    const waiting = this.#goesOn;
    this.#goesOn = [];
    for (const goOn of waiting) goOn();
  }

  /** P2. `met` is told of each call that the cut hits. */
  cut(from: string, ms: number, way: Way, met: () => void): void {
    this.#cuts.set(from, { until: this.#scheduler.now + ms, way, met });
  }

  /** All that it was cut off from can be reached again. */
  heal(): void {
    this.#cuts.clear();
  }

  /** Which way is cut to any of these; `undefined` for none. */
  isCut(...from: readonly string[]): Way | undefined {
    for (const name of from) {
      const cut = this.#cuts.get(name);
      if (cut === undefined || cut.until <= this.#scheduler.now) continue;
      cut.met();
      return cut.way;
    }
    return undefined;
  }

  /** Resolves once it is not cut off from that, at once where it is not. */
  async whenJoined(to: string): Promise<void> {
    while (this.isCut(to) !== undefined) await this.#scheduler.sleep(LOOK_MS, `cut off ${this.name}`);
  }

  /** `spring` is called when the process next comes to the moment. */
  trap(moment: Moment, spring: () => void): void {
    this.#trap = { moment, spring };
  }

  at(moment: Moment): void {
    if (this.#trap?.moment !== moment || this.#state !== 'up') return;
    const { spring } = this.#trap;
    this.#trap = undefined;
    spring();
  }

  /** Resolves at once, after the pause, or never. */
  live(): Promise<void> | undefined {
    if (this.#state === 'up') return undefined;
    if (this.#state === 'down') return never();
    return new Promise((resolve) => this.#goesOn.push(resolve));
  }

  /** Asks the world for something, which takes some time each way. */
  async call<Result>(label: string, latencyMs: number, work: () => Promise<Result>): Promise<Result> {
    await this.live();
    await this.#scheduler.pause(latencyMs, label);
    await this.live();
    try {
      return await work();
    } finally {
      await this.#scheduler.pause(latencyMs, label);
      await this.live();
    }
  }

  clock(): Clock {
    const scheduler = this.#scheduler;
    return {
      now: () => Math.floor(scheduler.now + this.clockAheadMs),
      every: (ms, tick) => {
        let isOver = false;
        const again = (): void => {
          scheduler.after(ms, `tick ${this.name}`, () => {
            if (isOver || this.#state === 'down') return;
            again();
            if (this.#state === 'up') tick(); // One that was paused is told the time once it goes on.
          });
        };
        again();
        return () => {
          isOver = true;
        };
      },
      sleep: async (ms) => {
        await scheduler.sleep(ms, `sleep ${this.name}`);
        await this.live();
      },
    };
  }
}
