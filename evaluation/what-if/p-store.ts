// P-Store: predictive elasticity for a store with one load and one type of machine (Taft et al., SIGMOD 2018): the
// cheapest sequence of reconfigurations under which the predicted load never exceeds the capacity, also while keys
// move. Its first change is started when its time has come. We differ where the paper measures: machines have the
// ladder's capacities (so their unevenness is known), and the load is predicted by our own forecaster, raised by 15 per
// cent as in the paper.
//
//   D1. Scale-in waits until three plans in a row have asked for it.
//   D2. When no sequence is safe, the machines that the highest load needs are ordered at once.

/** The paper's allowance for errors of prediction. */
export const INFLATION = 1.15;
export const SCALE_IN_PLANS = 3;

export interface PStoreTerms {
  /** Capacities of 1 machine, 2 machines, and so on up to the most. */
  readonly capacities: readonly number[];
  /** Whole intervals that a change from one number of machines to another takes; at least 1. */
  readonly intervals: (before: number, after: number) => number;
}

/** A sequence that ends with a given number of machines after some interval. */
interface Sequence {
  readonly cost: number;
  /**
   * The first change: the number of machines after it, and the interval in which it begins; `undefined` when nothing
   * changes.
   */
  readonly first: { readonly machines: number; readonly at: number } | undefined;
}

/**
 * How many machines to change to now, given the loads predicted for the coming intervals; `machines` when no change is
 * due yet.
 */
export function nextMachines(loads: readonly number[], machines: number, terms: PStoreTerms): number {
  const best = cheapest(loads, machines, terms);
  if (best === undefined) return neededFor(Math.max(...loads), terms); // D2
  return best.first?.at === 0 ? best.first.machines : machines;
}

function neededFor(load: number, { capacities }: PStoreTerms): number {
  const enough = capacities.findIndex((capacity) => capacity >= load);
  return 1 + (enough < 0 ? capacities.indexOf(Math.max(...capacities)) : enough);
}

/** The cheapest safe sequence over all intervals; among equals the one with fewer machines at the end. */
function cheapest(loads: readonly number[], machines: number, terms: PStoreTerms): Sequence | undefined {
  const { capacities, intervals } = terms;
  const ends: (Sequence | undefined)[][] = [[]];
  ends[0]![machines] = { cost: 0, first: undefined };
  for (let end = 1; end <= loads.length; end++) {
    const row: (Sequence | undefined)[] = [];
    for (let after = 1; after <= capacities.length; after++) {
      for (let before = 1; before <= capacities.length; before++) {
        const took = before === after ? 1 : intervals(before, after);
        const start = ends[end - took]?.[before];
        if (start === undefined || !isSafe(loads, end - took, end, before, after, terms)) continue;
        const cost = start.cost + took * Math.max(before, after);
        if (cost >= (row[after]?.cost ?? Number.POSITIVE_INFINITY)) continue;
        const change = before === after ? undefined : { machines: after, at: end - took };
        row[after] = { cost, first: start.first ?? change };
      }
    }
    ends.push(row);
  }
  let best: Sequence | undefined;
  for (const each of ends.at(-1)!) if (each !== undefined && (best === undefined || each.cost < best.cost)) best = each;
  return best;
}

/**
 * While keys move, capacity changes linearly from the old to the new value; an interval has the capacity at its
 * beginning.
 */
function isSafe(
  loads: readonly number[],
  from: number,
  to: number,
  before: number,
  after: number,
  { capacities }: PStoreTerms,
): boolean {
  const had = capacities[before - 1]!;
  const has = capacities[after - 1]!;
  for (let interval = from; interval < to; interval++) {
    const done = (after < before ? interval + 1 - from : interval - from) / (to - from);
    if (loads[interval]! > (before === after ? had : had + done * (has - had))) return false;
  }
  return true;
}
