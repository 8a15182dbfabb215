// Simulated fleets, a new one for each seed: nothing may be missed, revived, torn or left behind whatever strikes. Here
// are few seeds of few events; `npm run simulate` runs as many as one likes.

import { describe, expect, test } from 'vitest';
import { FAULT_NAMES } from './faults.ts';
import { isFilter, isMatch } from './mqtt-rules.ts';
import { mutantNamed } from './mutants.ts';
import { outcomeOf } from './outcome.ts';
import { commandOf, shrink } from './shrink.ts';
import { simulate } from './world.ts';

const SEEDS = Number(process.env.SEEDS ?? 200);
const FIRST = Number(process.env.SEED ?? 1);
const EVENTS = 200;
const GROUPS = 8;

describe('simulated fleets', () => {
  for (let group = 0; group < GROUPS; group++)
    test(`seeds ${FIRST + group} to ${FIRST + SEEDS - GROUPS + group}, every ${GROUPS}th`, async () => {
      const broken: string[] = [];
      for (let seed = FIRST + group; seed < FIRST + SEEDS; seed += GROUPS) {
        const { breach } = await simulate({ seed, events: EVENTS });
        if (breach !== undefined) broken.push(`${breach.message} (${commandOf({ seed, events: EVENTS })})`);
      }
      expect(broken).toEqual([]);
    });

  test.each([3, 17])('seed %i gives the same run twice', async (seed) => {
    const [first, second] = [await simulate({ seed, events: EVENTS }), await simulate({ seed, events: EVENTS })];
    expect(second.hash).toBe(first.hash);
    expect(second.counts).toEqual(first.counts);
    expect((await simulate({ seed: seed + 1, events: EVENTS })).hash).not.toBe(first.hash);
  });
});

test('a broken case is shrunk to fewer faults and fewer events, and is still broken in the same way', async () => {
  const given = { seed: 1, events: 400 };
  const mutant = mutantNamed('`a/#` misses `a`');
  const result = await simulate(given, mutant);
  const shrunk = await shrink(given, result, mutant);
  expect(shrunk.result.breach?.invariant).toBe(result.breach?.invariant);
  expect(shrunk.case.events).toBeLessThan(given.events / 2);
  expect(FAULT_NAMES.filter((name) => shrunk.result.faults.doses[name] > 0)).toEqual([]);
});

test('what came of a case is whole when another process has said it', async () => {
  const outcome = await outcomeOf({ given: { seed: 1, events: 100 }, mutant: '`a/#` misses `a`', tries: 0 });
  expect(outcome.report).toContain('npm run simulate -- --seed 1 --events 100');
  expect(JSON.parse(JSON.stringify(outcome))).toEqual(outcome);
});

test('the rules that the simulation holds answers to are those of MQTT', () => {
  expect(isMatch('a/#', 'a')).toBe(true);
  expect(isMatch('#', '$SYS/load')).toBe(false);
  expect(isMatch('+/load', '$SYS/load')).toBe(false);
  expect(isMatch('$SYS/#', '$SYS')).toBe(true);
  expect(isMatch('+/+', '/')).toBe(true);
  expect(isMatch('+', '')).toBe(true);
  expect(isMatch('+', 'a/')).toBe(false);
  expect(isMatch('$share/g/a/+', 'a/b')).toBe(true);
  expect(['a/#', '+', '/', '$share/g/+'].every(isFilter)).toBe(true);
  expect(['', 'a#', 'a/#/b', '+a', '$share/g', '$share/g/', '$share/+/a'].some(isFilter)).toBe(false);
});
