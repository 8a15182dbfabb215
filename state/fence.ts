// Fence: whose word counts. Each time that the planner's task is taken over, its term grows by one, in the transaction of
// the first thing it says; so in any log the terms of planners that could commit never go down.
//
//   F1. A record of a lower term comes from a planner that is no more.
//   F2. Until the first record that names its planner, those of an earlier release count; after it none without a name.
//   F3. One term has one planner.
//   F4. A term grows by a bounded step, so that no single record uses them up. Whoever learns that a higher one than the
//       planner's counts tells the planner, which goes above it.

/** Who wrote a record; term 0 for nobody. */
export interface Writer {
  readonly term: number;
  readonly planner: string;
}

export const NOBODY: Writer = { term: 0, planner: '' };

/** A planner that is taken over once a second needs thirty years for it. */
export const TERM_STEP_MAX = 1_000_000_000;

export type FenceRefusal = 'no-identity' | 'old-term' | 'another-planner' | 'implausible-term';

/** Why a record of `writer` does not count where `known` is the highest term that was seen; `undefined` when it does. */
export function fenceRefusal(known: Writer, { term, planner }: Writer): FenceRefusal | undefined {
  if (known.term > 0 && term === 0) return 'no-identity'; // F2
  if (term < known.term) return 'old-term'; // F1
  if (term > known.term + TERM_STEP_MAX) return 'implausible-term'; // F4
  return term > 0 && term === known.term && planner !== known.planner ? 'another-planner' : undefined; // F3
}
