// `npm run chaos -- --minutes N [--seed S]`: a whole fleet on a real Kafka, and one fault after the other until the time is
// over, drawn by the seed; after each, everything has to be alive again within a minute. Then it prints what was done, what
// hit and what came of it, and exits with 1 after a miss, a ghost, books that do not balance, or what stood still.
// `--only "poison,replay"` draws from these faults; `--within SECONDS` is the time to be alive again. SIGINT ends the run in
// order, with the summary.
//
// The seed decides which faults come, in which order, and to whom as far as that is the same; what meets what is the
// machine's: a seed makes a similar run, not the same one.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { randomFrom } from '../../evaluation/random.ts';
import { keepFromTerminal } from '../support/processes.ts';
import { ChaosFleet } from './chaos-fleet.ts';
import { FAULTS, type Fault, type Struck } from './faults.ts';

const WITHIN_S = 60;
/** Between two faults: long enough that moves begin, and that what is asked is judged. */
const REST_MS = 5_000;
/** A fault meets moves this often. */
const HOT_SHARE = 0.5;
const FINAL_PATIENCE_MS = 120_000;

interface Tally {
  injected: number;
  hit: number;
  readonly recoveriesMs: number[];
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    only: { type: 'string' },
    within: { type: 'string', default: String(WITHIN_S) },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1_000_000));
const minutes = Number(values.minutes);
const boundMs = Number(values.within) * 1_000;
const faults = faultsNamed(values.only);
if (!(minutes > 0 && boundMs > 0 && Number.isInteger(seed)))
  refuse('--minutes and --within are numbers above 0, --seed is a whole number');

const random = randomFrom(seed);
const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    if (!ending.signal.aborted) print('\nending in order; the summary follows');
    ending.abort();
  });
process.on('unhandledRejection', (error) => {
  failures.push(`a part of the harness broke off: ${error instanceof Error ? error.stack : String(error)}`);
  ending.abort();
});
keepFromTerminal();

const tallies = new Map<string, Tally>();
const failures: string[] = [];
const counts = new Map<string, number>();
let kills = 0;

print(`seed ${seed}, ${minutes} minutes: npm run chaos -- --minutes ${minutes} --seed ${seed}`);
const fleet = await ChaosFleet.start(seed);
if (fleet === undefined) process.exit(2);
const began = performance.now();
try {
  await raise(fleet);
  await conclude(fleet);
} catch (error) {
  failures.push(`the run broke off: ${(error as Error).stack}`);
}
summary(fleet);
if (failures.length > 0) process.env.KEEP_DEPLOYMENT = 'yes';
await fleet.stop();
process.exit(failures.length > 0 ? 1 : 0);

/** Until the time is over, or something has gone wrong that cannot get better. */
async function raise(fleet: ChaosFleet): Promise<void> {
  const first = await fleet.recovered(FINAL_PATIENCE_MS);
  if (first.standing.length > 0) throw new Error(`it was not alive before any fault: ${first.standing.join('; ')}`);
  let last: Fault | undefined;
  while (performance.now() - began < minutes * 60_000 && !ending.signal.aborted) {
    const isHot = random() < HOT_SHARE;
    if (isHot) fleet.crowd.heatUp();
    await pause(REST_MS);
    last = drawn(last);
    const tally = tallyOf(last.name);
    tally.injected++;
    const movesOpen = fleet.watch.open.length;
    print(`${clock()}  ${last.name}${movesOpen > 0 ? `, with ${movesOpen} moves open` : ''}`);
    const struck: Struck = await last.strike({
      fleet,
      random,
      pause,
      killed: (count = 1) => {
        kills += count;
      },
    });
    if (struck.hit) tally.hit++;
    fleet.crowd.coolDown();
    const { ms, standing } = await fleet.recovered(boundMs);
    tally.recoveriesMs.push(ms);
    print(`        ${struck.hit ? 'hit' : 'DID NOT HIT'}: ${struck.what}; alive again after ${seconds(ms)}`);
    misled(fleet);
    if (standing.length === 0) continue;
    failures.push(`${last.name} (${struck.what}): not alive again within ${seconds(boundMs)}: ${standing.join('; ')}`);
    print(`        STOOD STILL: ${standing.join('; ')}`);
    if (ending.signal.aborted) return;
    const late = await fleet.recovered(FINAL_PATIENCE_MS); // Late, or never?
    print(`        ${late.standing.length === 0 ? `alive ${seconds(late.ms)} later` : 'and still does'}`);
    if (late.standing.length > 0) return;
  }
}

/** Faults are over: what is there is held against what was acknowledged. */
async function conclude(fleet: ChaosFleet): Promise<void> {
  const { missing, unknown, orphans, rows, shards } = await fleet.scan(FINAL_PATIENCE_MS);
  print(`linear scan: ${rows} rows in ${shards} shards`);
  told('rows are missing', missing);
  told('rows came back from the dead', unknown);
  told('rows lie in a shard that does not own them', orphans);
  let unbalanced = await fleet.unbalanced();
  for (let tries = 0; unbalanced.length > 0 && tries < 20; tries++) {
    await sleep(500); // Dead letters are read as they come.
    unbalanced = await fleet.unbalanced();
  }
  told('books do not balance', unbalanced);
  misled(fleet);
  if ([...tallies.values()].every(({ hit }) => hit === 0)) failures.push('no fault hit: the run proves nothing');
}

function misled({ asked }: ChaosFleet): void {
  told('questions missed a subscription', asked.misses.splice(0));
  told('questions found a removed subscription', asked.ghosts.splice(0));
}

function told(what: string, cases: readonly string[]): void {
  if (cases.length === 0) return;
  counts.set(what, (counts.get(what) ?? 0) + cases.length);
  failures.push(`${clock()}  ${cases.length} ${what}, such as ${JSON.stringify(cases.slice(0, 3))}`);
  print(`        ${failures.at(-1)}`);
}

function summary(fleet: ChaosFleet): void {
  const all = [...tallies.values()];
  print(`\n${'fault'.padEnd(32)}${['injected', 'hit', 'p50', 'p99', 'max'].map(cell).join('')}`);
  for (const { name } of FAULTS) {
    const tally = tallies.get(name);
    if (tally !== undefined) print(`${name.padEnd(32)}${cellsOf(tally)}`);
  }
  const sum = (of: (tally: Tally) => number): number => all.reduce((total, tally) => total + of(tally), 0);
  const together = {
    injected: sum(({ injected }) => injected),
    hit: sum(({ hit }) => hit),
    recoveriesMs: all.flatMap(({ recoveriesMs }) => recoveriesMs),
  };
  print(`${'all'.padEnd(32)}${cellsOf(together)}\n`);
  const states = new Map<string, number>();
  for (const { state } of fleet.watch.told) states.set(state, (states.get(state) ?? 0) + 1);
  const { asked, ledger, watch, letters, poisonSent } = fleet;
  const withoutAnswer = fleet.unansweredCount;
  const facts: readonly (readonly [string, string])[] = [
    ['time', `${((performance.now() - began) / 60_000).toFixed(1)} minutes`],
    ['kills', String(kills)],
    ['events', `${ledger.sentCount}, ${ledger.dueCount} of them applied`],
    ['poison', `${poisonSent} records, ${letters.size} dead letters`],
    ['moves', `${watch.moveCount}: ${listed(endsOf(fleet))}; states told: ${listed(states)}`],
    ['questions', `${asked.questions}, ${asked.judged} subscriptions judged`],
    ['misses', String(counts.get('questions missed a subscription') ?? 0)],
    ['ghosts', String(counts.get('questions found a removed subscription') ?? 0)],
    ['redirects', String(asked.redirects)],
    ['without answer', `${withoutAnswer}${withoutAnswer > 0 ? `: ${listed(fleet.unanswered)}` : ''}`],
  ];
  for (const [name, value] of facts) print(`${name.padEnd(16)}${value}`);
  print(failures.length === 0 ? '\neverything held' : '');
  if (failures.length === 0) return;
  print(`seed ${seed} FAILED; logs of instances and shard servers are in ${fleet.deployment.folder}`);
  for (const failure of failures) print(`  ${failure}`);
}

/** What the moves became, by their last state. */
function endsOf({ watch }: ChaosFleet): Map<string, number> {
  const lastOf = new Map<string, string>(watch.told.map(({ moveId, state }) => [moveId, state]));
  const ends = new Map<string, number>();
  for (const state of lastOf.values()) ends.set(state, (ends.get(state) ?? 0) + 1);
  return ends;
}

/** By dose, and not the same twice in a row. */
function drawn(last: Fault | undefined): Fault {
  const from = faults.length > 1 ? faults.filter((fault) => fault !== last) : faults;
  let left = random() * from.reduce((sum, { dose }) => sum + dose, 0);
  for (const fault of from) {
    left -= fault.dose;
    if (left < 0) return fault;
  }
  return from.at(-1)!;
}

function faultsNamed(text: string | undefined): readonly Fault[] {
  if (text === undefined) return FAULTS;
  return text.split(',').map((name) => {
    const found = FAULTS.find((fault) => fault.name === name.trim());
    return found ?? refuse(`no fault is called "${name}"; there are: ${FAULTS.map((fault) => fault.name).join(', ')}`);
  });
}

function tallyOf(name: string): Tally {
  let tally = tallies.get(name);
  if (tally === undefined) {
    tally = { injected: 0, hit: 0, recoveriesMs: [] };
    tallies.set(name, tally);
  }
  return tally;
}

/** A run that is to end waits no longer. */
async function pause(ms: number): Promise<void> {
  await sleep(ms, undefined, { signal: ending.signal }).catch(() => sleep(100));
}

function cellsOf({ injected, hit, recoveriesMs }: Tally): string {
  const sorted = recoveriesMs.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    sorted.length === 0 ? '-' : seconds(sorted[Math.ceil(share * sorted.length) - 1] ?? 0);
  return [String(injected), String(hit), at(0.5), at(0.99), at(1)].map(cell).join('');
}

function listed(sums: ReadonlyMap<string, number>): string {
  return [...sums].map(([name, count]) => `${count} ${name}`).join(', ') || 'none';
}

function clock(): string {
  const passed = Math.round((performance.now() - began) / 1_000);
  return `${String(Math.floor(passed / 60)).padStart(3)}:${String(passed % 60).padStart(2, '0')}`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function cell(text: string): string {
  return text.padStart(10);
}

function refuse(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
