// The simulation is tested too: each planted bug has to be found, within some seeds. A harness that has grown blind is red.

import { describe, expect, test } from 'vitest';
import { breachBy, MUTANTS } from './mutants.ts';

/** Each is found within a few; more than these, and what it takes to find it has become rare. */
const SEEDS_MAX = 60;
const EVENTS = 400;

describe('the simulation finds planted bugs', () => {
  test('there are 21 of them, each with a name of its own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(21);
  });

  for (const mutant of MUTANTS)
    test(mutant.name, async () => {
      for (let seed = 1; seed <= SEEDS_MAX; seed++) {
        if ((await breachBy({ seed, events: EVENTS }, mutant)) !== undefined) return;
      }
      expect.fail(`not found in ${SEEDS_MAX} seeds`);
    }, 120_000);
});
