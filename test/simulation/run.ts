// `npm run simulate -- [--seeds N] [--seed S] [--events 2000] [--workers 1]`: runs so many seeds, from S on, in so many
// processes, and prints what was injected, what was hit, and what came of it. A seed that goes wrong is printed with the
// command that repeats it, and shrunk, in at most `--tries` runs (60). `--without "crash,pause"` leaves faults out.
// `--mutants` runs the planted bugs, `--mutant NAME` one of them.

import { fork } from 'node:child_process';
import { parseArgs } from 'node:util';
import { FAULT_NAMES, type FaultName } from './faults.ts';
import { breachBy, MUTANTS, mutantNamed } from './mutants.ts';
import { type Asked, type Outcome, outcomeOf } from './outcome.ts';

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
    workers: { type: 'string' },
    tries: { type: 'string' },
    without: { type: 'string' },
    mutants: { type: 'boolean' },
    mutant: { type: 'string' },
  },
});

class Sums {
  readonly #counts = new Map<string, number>();
  readonly #faults = new Map<FaultName, { seeds: number; drawn: number; hit: number; idle: number[] }>();
  #settledMs: number[] = [];

  add({ seed, counts, faults, settledMs, report }: Outcome): void {
    if (report === undefined) this.#settledMs.push(settledMs);
    for (const [name, count] of Object.entries(counts)) this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
    for (const { name, drawn, hit } of faults) {
      const sum = this.#faults.get(name) ?? { seeds: 0, drawn: 0, hit: 0, idle: [] };
      this.#faults.set(name, sum);
      sum.seeds++;
      sum.drawn += drawn;
      sum.hit += hit;
      if (drawn > 0 && hit === 0) sum.idle.push(seed);
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
  const { mutant, tries } = values;
  const sums = new Sums();
  const broken: number[] = [];
  const began = performance.now();
  let told = began;
  let done = 0;
  let cpuMs = 0;
  const take = (outcome: Outcome): void => {
    done++;
    cpuMs += outcome.cpuMs;
    sums.add(outcome);
    if (seeds === 1) print(`seed ${outcome.seed}: hash ${outcome.hash}, at rest after ${outcome.settledMs / 1_000} s`);
    if (outcome.report !== undefined) {
      broken.push(outcome.seed);
      print(outcome.report);
    }
    const now = performance.now();
    if (now - told < PROGRESS_MS) return;
    told = now;
    print(`${done} of ${seeds} seeds, ${broken.length} broken, ${((done * 1_000) / (now - began)).toFixed(2)} seeds/s`);
  };
  let next = first;
  const asked = (): Asked | undefined => {
    if (next === first + seeds) return undefined;
    const given = { seed: next++, events, ...(without.length === 0 ? {} : { without }) };
    return {
      given,
      ...(mutant === undefined ? {} : { mutant }),
      ...(tries === undefined ? {} : { tries: Number(tries) }),
    };
  };
  const workers = Math.min(Number(values.workers ?? 1), seeds);
  if (workers > 1) await Promise.all(Array.from({ length: workers }, () => runApart(asked, take)));
  else for (let each = asked(); each !== undefined; each = asked()) take(await outcomeOf(each));
  sums.print();
  const tookMs = performance.now() - began;
  broken.sort((a, b) => a - b);
  print(
    `${seeds} seeds of ${events} events in ${(tookMs / 1_000).toFixed(1)} s (${((seeds * 1_000) / tookMs).toFixed(2)} seeds/s, ${(cpuMs / seeds / 1_000).toFixed(2)} s of CPU each): ${broken.length} broken${broken.length === 0 ? '' : `: ${broken.join(', ')}`}`,
  );
  return broken.length > 0;
}

/** Runs one case after the other in a process of its own. */
async function runApart(asked: () => Asked | undefined, take: (outcome: Outcome) => void): Promise<void> {
  const worker = fork(new URL('./worker.ts', import.meta.url));
  await new Promise<void>((resolve, reject) => {
    const ask = (): void => {
      const each = asked();
      if (each === undefined) worker.disconnect();
      else worker.send(each);
    };
    worker.on('message', (outcome) => {
      take(outcome as Outcome);
      ask();
    });
    worker.on('error', reject);
    worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
    ask();
  });
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
