// Faults: what can go wrong in a simulated world, how often in this one, and how often it did. Each seed has a part of
// them, in doses of its own (swarm testing): a fault that is always there hides what only its absence shows.

import type { Chance } from './scheduler.ts';

/** By call: a share of the calls. By time: so often in a minute. */
export const FAULTS = {
  // Processes.
  crash: { by: 'minute', dose: 2 },
  'crash in a commit': { by: 'minute', dose: 2 },
  'crash in a store call': { by: 'minute', dose: 2 },
  pause: { by: 'minute', dose: 1 },
  takeover: { by: 'minute', dose: 2 },
  rebalance: { by: 'minute', dose: 3 },
  // Local state.
  'torn state': { by: 'call', dose: 0.7 },
  'state gone': { by: 'call', dose: 0.3 },
  // The log.
  'commit unknown, done': { by: 'call', dose: 0.01 },
  'commit unknown, not done': { by: 'call', dose: 0.01 },
  'log away': { by: 'minute', dose: 0.7 },
  'append lost': { by: 'call', dose: 0.02 },
  'append not acknowledged': { by: 'call', dose: 0.03 },
  'batch twice': { by: 'call', dose: 0.1 },
  compaction: { by: 'minute', dose: 4 },
  // Shards and the way to them.
  'call lost': { by: 'call', dose: 0.02 },
  'call not acknowledged': { by: 'call', dose: 0.02 },
  'call late': { by: 'call', dose: 0.01 },
  'call twice': { by: 'call', dose: 0.03 },
  'call slow': { by: 'call', dose: 0.01 },
  'shard away': { by: 'minute', dose: 1.5 },
  'shard killed': { by: 'minute', dose: 3 },
  'shard emptied': { by: 'minute', dose: 0.5 },
  // Brokers and clients.
  'reader behind': { by: 'call', dose: 0.2 },
  'reader stopped': { by: 'minute', dose: 1 },
  'broker killed': { by: 'minute', dose: 1.5 },
  'client moves': { by: 'call', dose: 0.1 },
  'event twice': { by: 'call', dose: 0.05 },
  poison: { by: 'call', dose: 0.02 },
  // Time.
  'clocks apart': { by: 'run', dose: 1 },
  'clock steps': { by: 'minute', dose: 0.5 },
  'event time wrong': { by: 'call', dose: 0.05 },
  // People.
  'move steered': { by: 'minute', dose: 4 },
  sweep: { by: 'minute', dose: 2 },
  // The network. Last, so that each seed has the doses of the others that it has always had.
  'cut from a shard': { by: 'minute', dose: 1 },
  'cut from all shards': { by: 'minute', dose: 0.7 },
  'cut from the log': { by: 'minute', dose: 0.7 },
} as const satisfies Record<string, { readonly by: 'call' | 'minute' | 'run'; readonly dose: number }>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as readonly FaultName[];

/** Of one run: 0 is never. */
export type Doses = Readonly<Record<FaultName, number>>;

const SHARE = 0.4;

export function dosesOf(chance: Chance): Doses {
  const share = chance.oneOf([0, SHARE / 2, SHARE, SHARE, 2 * SHARE]);
  const doses = {} as Record<FaultName, number>;
  for (const name of FAULT_NAMES) {
    const factor = chance.oneOf([0.3, 1, 1, 3]);
    const isOn = chance.hits(share);
    doses[name] = isOn ? Math.min(FAULTS[name].dose * factor, FAULTS[name].by === 'call' ? 0.9 : 20) : 0;
  }
  return doses;
}

/** Draws faults, and counts them: how often one was drawn, and how often it met something. */
export class Faults {
  readonly doses: Doses;
  readonly drawn = new Map<FaultName, number>();
  readonly hit = new Map<FaultName, number>();
  readonly #chance: Chance;
  #isOff = false;

  constructor(doses: Doses, chance: Chance) {
    this.doses = doses;
    this.#chance = chance;
  }

  /** Nothing fails from here on. */
  end(): void {
    this.#isOff = true;
  }

  get isOver(): boolean {
    return this.#isOff;
  }

  /** Whether this call meets the fault. */
  strikes(name: FaultName): boolean {
    if (this.#isOff || !this.#chance.hits(this.doses[name])) return false;
    this.draw(name);
    this.meet(name);
    return true;
  }

  draw(name: FaultName): void {
    this.drawn.set(name, (this.drawn.get(name) ?? 0) + 1);
  }

  meet(name: FaultName): void {
    this.hit.set(name, (this.hit.get(name) ?? 0) + 1);
  }

  /** Those that were drawn and never met anything. */
  get idle(): FaultName[] {
    return [...this.drawn.keys()].filter((name) => !this.hit.has(name));
  }
}
