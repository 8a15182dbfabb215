// Shrink: a smaller case that goes wrong in the same way: fewer faults, then fewer events. Other faults and fewer events
// make another run of the same seed, so it is tried and not deduced.

import { FAULT_NAMES, type FaultName } from './faults.ts';
import type { Invariant } from './oracle.ts';
import { type Case, type Mutation, type Result, simulate } from './world.ts';

const EVENTS_MIN = 10;

export interface Shrunk {
  readonly case: Case;
  readonly result: Result;
  readonly tries: number;
}

export async function shrink(given: Case, result: Result, mutation?: Mutation, triesMax = 60): Promise<Shrunk> {
  let best = { case: given, result, tries: 0 };
  const invariant = result.breach!.invariant;
  const without = new Set<FaultName>(given.without ?? []);
  let tries = 0;
  const isBetter = async (smaller: Case): Promise<boolean> => {
    tries++;
    const found = await simulate(smaller, mutation);
    if (!isSame(found, invariant)) return false;
    best = { case: smaller, result: found, tries };
    return true;
  };
  // Those that struck go by halves, then one by one.
  const struck = FAULT_NAMES.filter((name) => !without.has(name) && result.faults.doses[name] > 0);
  for (
    let size = Math.ceil(struck.length / 2);
    size >= 1 && tries < triesMax;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let from = 0; from < struck.length && tries < triesMax; ) {
      const some = struck.slice(from, from + size);
      if (await isBetter({ ...best.case, without: [...without, ...some] })) {
        for (const name of some) without.add(name);
        struck.splice(from, size);
      } else from += size;
    }
  }
  for (let step = best.case.events >> 1; step >= EVENTS_MIN && tries < 2 * triesMax; ) {
    const events = best.case.events - step;
    if (events < EVENTS_MIN || !(await isBetter({ ...best.case, events }))) step >>= 1;
  }
  return { ...best, tries };
}

const isSame = ({ breach }: Result, invariant: Invariant): boolean => breach?.invariant === invariant;

/** What repeats a case. */
export function commandOf({ seed, events, without = [] }: Case, mutant?: string): string {
  const quoted = without.length === 0 ? '' : ` --without "${without.join(',')}"`;
  return `npm run simulate -- --seed ${seed} --events ${events}${quoted}${mutant === undefined ? '' : ` --mutant "${mutant}"`}`;
}
