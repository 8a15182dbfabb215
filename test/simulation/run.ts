// `npm run simulate -- [--seeds N] [--seed S] [--events 2000]`: runs so many seeds, from S on, and prints what was injected,
// what was hit, and what came of it. A seed that goes wrong is printed with the command that repeats it, and shrunk.
// `--without "crash,pause"` leaves faults out. `--mutants` runs the planted bugs, `--mutant NAME` one of them.

import { parseArgs } from 'node:util';
import { FAULT_NAMES, type FaultName } from './faults.ts';
import { breachBy, MUTANTS, mutantNamed } from './mutants.ts';
import { commandOf, shrink } from './shrink.ts';
import { type Case, type Mutation, type Result, simulate } from './world.ts';

const EVENTS = 2_000;
const MUTANT_EVENTS = 600;
/** Seeds after which a mutant counts as not found. */
const MUTANT_SEEDS_MAX = 200;
const PROGRESS_MS = 10_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    events: { type: 'string' },
    without: { type: 'string' },
    mutants: { type: 'boolean' },
    mutant: { type: 'string' },
  },
});

class Sums {
  readonly #counts = new Map<string, number>();
  readonly #faults = new Map<FaultName, { seeds: number; drawn: number; hit: number; idle: number[] }>();
  #settledMs: number[] = [];

  add({ seed, counts, faults, settledMs, breach }: Result): void {
    if (breach === undefined) this.#settledMs.push(settledMs);
    for (const [name, count] of Object.entries(counts)) this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
    for (const name of FAULT_NAMES) {
      if (faults.doses[name] === 0) continue;
      const sum = this.#faults.get(name) ?? { seeds: 0, drawn: 0, hit: 0, idle: [] };
      this.#faults.set(name, sum);
      sum.seeds++;
      sum.drawn += faults.drawn.get(name) ?? 0;
      sum.hit += faults.hit.get(name) ?? 0;
      if (faults.idle.includes(name)) sum.idle.push(seed);
    }
  }

  print(): void {
    print(
      `\n${'fault'.padEnd(26)}${['seeds', 'injected', 'hit', 'seeds in which it was drawn and never hit'].map(cell).join('')}`,
    );
    for (const [name, { seeds, drawn, hit, idle }] of this.#faults) {
      const of =
        idle.length === 0 ? '0' : `${idle.length}: ${idle.slice(0, 5).join(', ')}${idle.length > 5 ? ' …' : ''}`;
      print(`${name.padEnd(26)}${[String(seeds), String(drawn), String(hit), of].map(cell).join('')}`);
    }
    print('');
    for (const [name, count] of [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)))
      print(`${name.padEnd(34)}${cell(String(count))}`);
    const sorted = this.#settledMs.sort((a, b) => a - b);
    const at = (share: number): string =>
      `${((sorted[Math.floor(share * (sorted.length - 1))] ?? 0) / 1_000).toFixed(0)} s`;
    print(`at rest after the last fault: median ${at(0.5)}, 99 of 100 ${at(0.99)}, at most ${at(1)}\n`);
  }
}

const first = Number(values.seed ?? 1);
const without = namesIn(values.without);
const failed =
  values.mutants === true
    ? await runMutants(Number(values.events ?? MUTANT_EVENTS), Number(values.seeds ?? MUTANT_SEEDS_MAX))
    : await runSeeds(Number(values.seeds ?? 1), Number(values.events ?? EVENTS));
process.exit(failed ? 1 : 0);

async function runSeeds(seeds: number, events: number): Promise<boolean> {
  const mutation = values.mutant === undefined ? undefined : mutantNamed(values.mutant);
  const sums = new Sums();
  const broken: number[] = [];
  const began = performance.now();
  let told = began;
  for (let seed = first; seed < first + seeds; seed++) {
    const given: Case = { seed, events, ...(without.length === 0 ? {} : { without }) };
    const result = await simulate(given, mutation);
    sums.add(result);
    if (seeds === 1) print(`seed ${seed}: hash ${result.hash}, at rest after ${result.settledMs / 1_000} s`);
    if (result.breach !== undefined) {
      broken.push(seed);
      await tell(given, result, mutation);
    }
    const now = performance.now();
    if (now - told < PROGRESS_MS) continue;
    told = now;
    const done = seed - first + 1;
    print(`${done} of ${seeds} seeds, ${broken.length} broken, ${((done * 1_000) / (now - began)).toFixed(2)} seeds/s`);
  }
  sums.print();
  const tookMs = performance.now() - began;
  const cpuMs = process.cpuUsage().user / 1_000;
  print(
    `${seeds} seeds of ${events} events in ${(tookMs / 1_000).toFixed(1)} s (${((seeds * 1_000) / tookMs).toFixed(2)} seeds/s, ${(cpuMs / seeds / 1_000).toFixed(2)} s of CPU each): ${broken.length} broken${broken.length === 0 ? '' : `: ${broken.join(', ')}`}`,
  );
  return broken.length > 0;
}

async function tell(given: Case, result: Result, mutation: Mutation | undefined): Promise<void> {
  print(`\nseed ${given.seed}: ${result.breach!.message}`);
  print(`  ${commandOf(given, mutation?.name)}`);
  const shrunk = await shrink(given, result, mutation);
  const left = FAULT_NAMES.filter((name) => shrunk.result.faults.hit.has(name));
  print(
    `  shrunk in ${shrunk.tries} runs to ${shrunk.case.events} events and the faults ${left.join(', ') || 'none'}:`,
  );
  print(`  ${shrunk.result.breach!.message}`);
  print(`  ${commandOf(shrunk.case, mutation?.name)}   (TELL=1 before it prints what the instances say)\n`);
}

async function runMutants(events: number, seeds: number): Promise<boolean> {
  let found = 0;
  const wanted = values.mutant === undefined ? MUTANTS : [mutantNamed(values.mutant)];
  for (const mutant of wanted) {
    const began = performance.now();
    let line = `NOT FOUND in ${seeds} seeds`;
    for (let seed = first; seed < first + seeds; seed++) {
      const breach = await breachBy({ seed, events, ...(without.length === 0 ? {} : { without }) }, mutant);
      if (breach === undefined) continue;
      found++;
      line = `seed ${seed}, the ${seed - first + 1}. of them: ${breach.message.split('\n')[0]}`;
      break;
    }
    print(`${mutant.name.padEnd(52)} ${line} (${Math.round(performance.now() - began)} ms)`);
  }
  print(`${found} of ${wanted.length} planted bugs were found`);
  return found < wanted.length;
}

function namesIn(text: string | undefined): FaultName[] {
  const names = text?.split(',').map((name) => name.trim()) ?? [];
  const unknown = names.find((name) => !(FAULT_NAMES as readonly string[]).includes(name));
  if (unknown === undefined) return names as FaultName[];
  console.error(`no fault is called "${unknown}"; there are: ${FAULT_NAMES.join(', ')}`);
  process.exit(2);
}

function cell(text: string): string {
  return text.padStart(12);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
