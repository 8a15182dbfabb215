// Simulated fleets, a new one for each seed: nothing may be missed, revived, torn or left behind whatever strikes. Here
// are few seeds of few events; `npm run simulate` runs as many as one likes.

import { describe, expect, test } from 'vitest';
import { FAULT_NAMES, type FaultName } from './faults.ts';
import { isFilter, isMatch } from './mqtt-rules.ts';
import { mutantNamed } from './mutants.ts';
import { outcomeOf } from './outcome.ts';
import { Process } from './process.ts';
import { Scheduler } from './scheduler.ts';
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

test('processes that are cut off from shards and from the log lose nothing, and go on once they are not', async () => {
  const cuts: readonly FaultName[] = ['cut from a shard', 'cut from all shards', 'cut from the log'];
  const hits = new Map<FaultName, number>();
  for (let seed = 1; seed <= 6; seed++) {
    const { breach, faults } = await simulate({ seed, events: EVENTS, with: cuts });
    expect(breach?.message, `seed ${seed}`).toBeUndefined();
    for (const name of cuts) hits.set(name, (hits.get(name) ?? 0) + (faults.hit.get(name) ?? 0));
  }
  for (const name of cuts) expect(hits.get(name), name).toBeGreaterThan(0);
});

test('a process is cut off for a time, one way, from what it is cut off from alone', async () => {
  const scheduler = new Scheduler(1, 0);
  const process = new Process('one', scheduler);
  let met = 0;
  process.cut('shard-1', 1_000, 'back', () => met++);
  process.cut('the log', 5_000, 'there', () => met++);
  expect([process.isCut('shard-2'), process.isCut('shard-2', 'shard-1'), process.isCut('the log')]).toEqual([
    undefined,
    'back',
    'there',
  ]);
  expect(met).toBe(2);
  await scheduler.run(2_000);
  expect([process.isCut('shard-1'), process.isCut('the log')]).toEqual([undefined, 'there']);
  let joinedAt = 0;
  void process.whenJoined('the log').then(() => {
    joinedAt = scheduler.now;
  });
  await scheduler.run(4_000);
  expect(joinedAt).toBe(0);
  process.heal();
  await scheduler.run(5_000);
  expect(joinedAt).toBeGreaterThan(0);
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
