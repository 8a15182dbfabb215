// Gathering: what the shards of a route tell, in the time that a look-up has.
//
//   G1. It ends once: when every shard was heard, when its time is over, or, unless parts may be missing, at the first
//       failure. What comes later is not heard.
//   G2. A shard that is away, or has not answered in time, becomes a missing part where that is allowed. Any other
//       failure fails the whole.

import { AppError, type ErrorCode } from '../schemas/errors.ts';
import type { ShardId, SliceKey } from '../schemas/ids.ts';
import type { RouteTarget } from '../state/pointer-table.ts';
import type { Deadline } from './deadlines.ts';

/** A shard that was not heard. */
export interface MissingPart {
  readonly shard: ShardId;
  /** What it was to be asked about. */
  readonly slices: readonly SliceKey[];
  /** Why: STORE_UNAVAILABLE or SHARD_LOST, and the error's message. */
  readonly code: ErrorCode;
  readonly reason: string;
}

const AWAY: ReadonlySet<string> = new Set(['STORE_UNAVAILABLE', 'SHARD_LOST']);

/** True for the failure of a shard that cannot be asked now. */
export const isAway = (error: unknown): error is AppError => error instanceof AppError && AWAY.has(error.code);

export const lateError = (shard: ShardId): AppError =>
  new AppError('STORE_UNAVAILABLE', `${shard} has not answered in the time of the look-up`, { shard });

export class Gathering<Told> implements Deadline {
  readonly until: number;
  readonly missing: MissingPart[] = [];
  readonly #stops: readonly RouteTarget[];
  readonly #mayMiss: boolean;
  readonly #told: (Told | undefined)[];
  readonly #isHeard: boolean[];
  #left: number;
  #ended: ((error?: unknown) => void) | undefined;

  constructor(stops: readonly RouteTarget[], until: number, mayMiss: boolean) {
    this.until = until;
    this.#stops = stops;
    this.#mayMiss = mayMiss;
    this.#told = new Array(stops.length).fill(undefined);
    this.#isHeard = new Array(stops.length).fill(false);
    this.#left = stops.length;
  }

  /** Asks every shard; resolves with what they tell, in their order, without what is missing. */
  from(ask: (stop: RouteTarget) => Promise<Told>): Promise<Told[]> {
    return new Promise((resolve, reject) => {
      this.#ended = (error) => {
        this.#left = 0;
        if (error !== undefined) reject(error);
        else
          resolve(this.missing.length === 0 ? (this.#told as Told[]) : this.#told.filter((each) => each !== undefined));
      };
      for (let i = 0; i < this.#stops.length; i++)
        ask(this.#stops[i]!).then(
          (told) => this.#heard(i, told),
          (error: unknown) => this.#failed(i, error),
        );
    });
  }

  giveUp(): void {
    for (const [i, { shard }] of this.#stops.entries()) this.#failed(i, lateError(shard));
  }

  #heard(i: number, told: Told | undefined): void {
    if (this.#left === 0 || this.#isHeard[i]) return; // G1
    this.#isHeard[i] = true;
    this.#told[i] = told;
    this.#left -= 1;
    if (this.#left === 0) this.#ended!();
  }

  /** G2. */
  #failed(i: number, error: unknown): void {
    if (this.#left === 0 || this.#isHeard[i]) return;
    if (!this.#mayMiss || !isAway(error)) {
      this.#ended!(error);
      return;
    }
    const { shard, pointers } = this.#stops[i]!;
    const slices = pointers.map(({ slice }) => slice);
    this.missing.push({ shard, slices, code: error.code, reason: error.message });
    this.#heard(i, undefined);
  }
}
