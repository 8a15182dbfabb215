// Fence: whose records are accepted. Each time the planner's task is taken over, its term grows by one, in the
// transaction of its first record; so in any log the terms of planners that could commit never decrease.
//
//   F1. A record of a lower term comes from a planner that has been replaced.
//   F2. Until the first record that names its planner, records without a name (of an earlier release) are accepted;
//       after it, none.
//   F3. One term has one planner.
//   F4. A term grows by a bounded step, so that no single record can use up all terms. A reader that has seen a higher
//       term than the planner's tells the planner, which then continues above it.

/** Who wrote a record; term 0: not stated. */
export interface Writer {
  readonly term: number;
  readonly planner: string;
}

export const NOBODY: Writer = { term: 0, planner: '' };

/** A planner that is taken over once a second needs thirty years to use up this step. */
export const TERM_STEP_MAX = 1_000_000_000;

export type FenceRefusal = 'no-identity' | 'old-term' | 'another-planner' | 'implausible-term';

/**
 * Why a record of `writer` is refused when `known` has the highest term seen so far; `undefined` when it is accepted.
 */
export function fenceRefusal(known: Writer, { term, planner }: Writer): FenceRefusal | undefined {
  if (known.term > 0 && term === 0) return 'no-identity'; // F2
  if (term < known.term) return 'old-term'; // F1
  if (term > known.term + TERM_STEP_MAX) return 'implausible-term'; // F4
  return term > 0 && term === known.term && planner !== known.planner ? 'another-planner' : undefined; // F3
}
