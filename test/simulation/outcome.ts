// Outcome: what came of a case, as a message from one process to another can say it.

import { FAULT_NAMES, type FaultName } from './faults.ts';
import { mutantNamed } from './mutants.ts';
import { commandOf, shrink } from './shrink.ts';
import { type Case, type Mutation, type Result, simulate } from './world.ts';

export interface Asked {
  readonly given: Case;
  /** The name of a planted bug. */
  readonly mutant?: string;
  /** How many runs shrinking may take. */
  readonly tries?: number;
}

export interface Outcome {
  readonly seed: number;
  readonly hash: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly settledMs: number;
  /** Those that the seed has. */
  readonly faults: readonly { readonly name: FaultName; readonly drawn: number; readonly hit: number }[];
  /** What went wrong, and how to repeat it. */
  readonly report?: string;
  /** Of the run alone, without shrinking. */
  readonly cpuMs: number;
}

export async function outcomeOf({ given, mutant, tries }: Asked): Promise<Outcome> {
  const mutation = mutant === undefined ? undefined : mutantNamed(mutant);
  const before = process.cpuUsage();
  const result = await simulate(given, mutation);
  const cpuMs = process.cpuUsage(before).user / 1_000;
  const { seed, hash, counts, settledMs, faults, breach } = result;
  return {
    ...{ seed, hash, counts, settledMs, cpuMs },
    faults: FAULT_NAMES.filter((name) => faults.doses[name] > 0).map((name) => ({
      name,
      drawn: faults.drawn.get(name) ?? 0,
      hit: faults.hit.get(name) ?? 0,
    })),
    ...(breach === undefined ? {} : { report: await reportOf(given, result, mutation, tries) }),
  };
}

async function reportOf(given: Case, result: Result, mutation?: Mutation, tries?: number): Promise<string> {
  const shrunk = await shrink(given, result, mutation, tries);
  const left = FAULT_NAMES.filter((name) => shrunk.result.faults.hit.has(name));
  return [
    `\nseed ${given.seed}: ${result.breach!.message}`,
    `  ${commandOf(given, mutation?.name)}`,
    `  shrunk in ${shrunk.tries} runs to ${shrunk.case.events} events and the faults ${left.join(', ') || 'none'}:`,
    `  ${shrunk.result.breach!.message}`,
    `  ${commandOf(shrunk.case, mutation?.name)}   (TELL=1 before it prints what the instances say)\n`,
  ].join('\n');
}
