// Patient effects: performs effects, retrying for as long as a shard's store does not answer, and reports which task
// waits for which store. Only the end of the task ends the wait (task.ts K7).

import { AppError } from '../schemas/errors.ts';
import type { Partition } from '../schemas/ids.ts';
import type { Effect, Outcome } from '../state/effects.ts';
import type { Clock, Effects } from './ports.ts';
import type { Logger, Meter } from './telemetry.ts';

/** A task that waits for a shard's store. */
export interface Waiting {
  readonly task: string;
  readonly group: string;
  readonly partition: Partition;
  /** The shard whose store does not answer; '' when the failure does not name it. */
  readonly shard: string;
  /** When the first attempt began, by the clock port. */
  readonly since: number;
  readonly reason: string;
}

export interface PatientEffectsParts {
  readonly task: { readonly name: string; readonly group: string; readonly partition: Partition };
  readonly ports: {
    readonly effects: Effects;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly meter: Meter;
  };
  /** First pause before a repetition; doubles up to 64 times this. */
  readonly retryMs: number;
  /** Called when an attempt begins. */
  readonly attempted: () => void;
}

export class PatientEffects {
  readonly #parts: PatientEffectsParts;
  #abandoned = false;
  #waiting: Waiting | undefined;
  #stopWaiting: () => void = () => {};

  constructor(parts: PatientEffectsParts) {
    this.#parts = parts;
  }

  /** The store that is waited for; `undefined` when none. */
  get waiting(): Waiting | undefined {
    return this.#waiting;
  }

  /** Resolves with the outcomes when all effects are performed; with none once the task is abandoned. */
  async perform(effects: readonly Effect[]): Promise<readonly Outcome[]> {
    const { task, ports, retryMs, attempted } = this.#parts;
    const { effects: stores, clock, logger, meter } = ports;
    const since = clock.now();
    let pauseMs = retryMs;
    try {
      while (!this.#abandoned) {
        try {
          attempted();
          return (await this.#unlessAbandoned(stores.perform(effects, () => clock.now() - since))) ?? [];
        } catch (error) {
          if (!(error instanceof AppError) || error.code !== 'STORE_UNAVAILABLE') throw error;
          this.#waiting = this.#waitingFor(error, since);
          meter.add('foreshard_effect_retries_total', 1);
          logger.warn(
            { task: task.name, pauseMs, reason: error.message, ...error.facts },
            `${storeTrouble(error)}; this partition waits for it, and nothing is lost`,
          );
          await this.#unlessAbandoned(clock.sleep(pauseMs));
          pauseMs = Math.min(pauseMs * 2, retryMs * 64);
        }
      }
      return [];
    } finally {
      this.#waiting = undefined;
    }
  }

  /** Stops waiting permanently. */
  abandon(): void {
    this.#abandoned = true;
    this.#stopWaiting();
  }

  #waitingFor(error: AppError, since: number): Waiting {
    const { name, group, partition } = this.#parts.task;
    const { shard } = error.facts as { readonly shard?: string };
    return { task: name, group, partition, shard: shard ?? '', since, reason: error.message };
  }

  /** The result of the work; `undefined` once the task is abandoned, whatever the work does after that (task.ts K7). */
  async #unlessAbandoned<Result>(work: Promise<Result>): Promise<Result | undefined> {
    try {
      return await new Promise<Result | undefined>((resolve, reject) => {
        this.#stopWaiting = () => resolve(undefined);
        work.then(resolve, reject);
      });
    } finally {
      this.#stopWaiting = () => {};
    }
  }
}

/** The trouble in words, by the code that the store gave (datastores/perform.ts P2). */
function storeTrouble({ facts }: AppError): string {
  switch (facts.code) {
    case 'FLEET_MISMATCH':
      return 'a shard’s store belongs to another fleet';
    case 'SHARD_LOST':
      return 'a shard’s store has lost its data';
    case 'SHARD_UNKNOWN':
      return 'a shard’s store is not there';
    default:
      return 'a shard’s store does not answer';
  }
}
