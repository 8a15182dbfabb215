// `foreshard demo`: a small fleet's day in simulated time, with the production wiring: embedded log, LevelDB shards, a
// daily wave and an evening on which a stadium fills up. At the end it reports what was foreseen, done, paid and
// checked.
//
//   M1. The same seed gives the same result, however fast the machine is.
//   M2. The run fails when a reader misses a subscriber; the fleet's own list decides.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Config, configOf } from '../../config/config.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { Logger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Decision, Progress, SubscriptionEvent, TopicTraffic } from '../../schemas/records.ts';
import { decisions, pointers, progress } from '../../topology/topics.ts';
import { LoadLedger } from '../load-ledger.ts';
import type { Output } from '../output.ts';
import { LaggingReader, Prober } from '../readers.ts';
import { Simulation } from '../simulation.ts';
import { clockText, numberText } from '../text.ts';
import { DEMO_CATALOG, DEMO_GENESIS } from './demo-catalog.ts';
import { crowdMinutes, DemoLoad, STEP_MS } from './demo-load.ts';
import { type DemoSummary, type FinalCheck, type Story, summaryOf } from './demo-summary.ts';
import { decisionLine, summaryLines } from './demo-text.ts';

export interface DemoOptions {
  readonly seed: number;
  readonly minutes: number;
  /** Minute at which the first visitor arrives at the stadium. */
  readonly crowdFromMinute: number;
  /** Empty: a temporary folder that is removed at the end. */
  readonly dataDir: string;
  /** Port of the HTTP API while the demo runs; `undefined`: no HTTP API. */
  readonly httpPort: number | undefined;
  readonly logger: Logger;
}

const MINUTE_MS = 60_000;
/** The evening of the last day. */
export const crowdOfLastDay = (days: number): number => (days - 1) * 1_440 + 1_170;

/** A Monday. */
const START_AT = Date.UTC(2026, 0, 5);
/** The first two shards are provisioned before the first event. */
const WARM_UP_MS = 10 * MINUTE_MS;
/** Rate windows in one step, while something is happening and while nothing is: commits take most of the time. */
const BUSY_WINDOWS = 3;
const QUIET_WINDOWS = 6;
/** After a decision, steps are short for this long. */
const BUSY_MS = 5 * MINUTE_MS;
const PARTITIONS = 2;
const BROKERS = 3;
/** A broker learns of changes of the pointer table up to this much later. */
const LAG_MAX_MS = 30_000;
/** Look-ups by topic in each step, and as many by filter. */
const PROBES_PER_STEP = 1;
const REMOVED_SAMPLE = 500;

export interface DemoRun {
  readonly summary: DemoSummary;
  /** Port of the HTTP API; 0 without one. */
  readonly httpPort: number;
  stop(): Promise<void>;
}

/** Runs the day. The process stays until `stop`, so that it can be queried over HTTP. */
export async function runDemo(options: DemoOptions, output: Output): Promise<DemoRun> {
  const isTemporary = options.dataDir === '';
  const folder = isTemporary ? mkdtempSync(join(tmpdir(), 'foreshard-demo-')) : options.dataDir;
  const remove = (): void => {
    if (isTemporary) rmSync(folder, { recursive: true, force: true });
  };
  try {
    const simulation = await Simulation.start({
      config: demoConfig(folder, options),
      logger: options.logger,
      startAt: eventTime(START_AT - WARM_UP_MS),
      serveHttp: options.httpPort !== undefined,
    });
    const stop = async (): Promise<void> => {
      await simulation.stop();
      remove();
    };
    try {
      const day = new Day(simulation, options, output);
      return { summary: await day.run(), httpPort: simulation.foreshard.httpPort, stop };
    } catch (error) {
      await stop();
      throw error;
    }
  } catch (error) {
    remove();
    throw error;
  }
}

export function printDemo({ summary }: DemoRun, output: Output): void {
  output.lines(summaryLines(summary));
  output.json(summary);
}

function demoConfig(folder: string, { httpPort }: DemoOptions): Config {
  mkdirSync(folder, { recursive: true });
  const catalogPath = join(folder, 'catalog.json');
  writeFileSync(catalogPath, JSON.stringify(DEMO_CATALOG, undefined, 2));
  const values = {
    runtime: 'embedded',
    dataDir: folder,
    catalogPath,
    ...DEMO_GENESIS,
    partitions: PARTITIONS,
    leafBits: 2,
    coolDownMs: 120_000, // Small slices: a split one may move at once when its shard fills up.
    brokerSilentMs: 2 * STEP_MS * QUIET_WINDOWS, // A broker reports once in each step.
    ...(httpPort === undefined ? {} : { httpPort }),
  };
  return configOf([{ source: 'demo', values }]).config;
}

class Day {
  readonly #simulation: Simulation;
  readonly #options: DemoOptions;
  readonly #output: Output;
  readonly #load: DemoLoad;
  readonly #ledger = new LoadLedger(PARTITIONS, PLAN_DEFAULTS.coefficients);
  readonly #prober: Prober;
  readonly #readers = Array.from({ length: BROKERS }, (_, index) => new LaggingReader(`broker-${index}`, PARTITIONS));
  readonly #random: () => number;
  readonly #decisions: Decision[] = [];
  readonly #progress: Progress[] = [];
  readonly #stories: Story[] = [];
  readonly #removed: { readonly filter: string; readonly clientId: string }[] = [];
  #removals = 0;
  #busyUntil = 0;
  #events = 0;
  #messages = 0;
  readonly #shards = new Set<string>();

  constructor(simulation: Simulation, options: DemoOptions, output: Output) {
    const { seed, crowdFromMinute } = options;
    this.#simulation = simulation;
    this.#options = options;
    this.#output = output;
    this.#load = new DemoLoad({ seed, startAt: START_AT, crowdFromMinute });
    this.#prober = new Prober(simulation.foreshard.provisioner, this.#load.fleet);
    this.#random = randomFrom(seed + 2);
  }

  async run(): Promise<DemoSummary> {
    const { minutes, crowdFromMinute } = this.#options;
    await this.#observe();
    for (let passed = 0; passed < WARM_UP_MS; passed += STEP_MS * BUSY_WINDOWS) await this.#step([], [], BUSY_WINDOWS);
    this.#output.line(
      `${numberText(minutes / 60, 1)} hours of a fleet in simulated time; a stadium fills up at ${clockText(START_AT + crowdFromMinute * MINUTE_MS)} and is empty ${crowdMinutes} minutes later.`,
    );
    this.#output.begin(
      minutes,
      '{bar} {clock}  {load} operations/s  {shards} shards  {live} live  {misses} missed',
      this.#payload(START_AT),
    );
    const endAt = START_AT + minutes * MINUTE_MS;
    for (let at = START_AT; at < endAt; ) {
      const isBusy = at < this.#busyUntil || (at - START_AT) % MINUTE_MS !== 0;
      const count = isBusy ? BUSY_WINDOWS : QUIET_WINDOWS;
      const windows = Array.from({ length: count }, (_, window) => this.#load.step(at + window * STEP_MS));
      const events = windows.flatMap((window) => window.events);
      const traffic = windows.flatMap((window) => window.traffic);
      for (const event of events) this.#noteRemoval(event);
      this.#ledger.add(events, traffic);
      this.#events += events.length;
      for (const { publishes } of traffic) this.#messages += publishes;
      await this.#step(events, traffic, count);
      await this.#probe();
      at += count * STEP_MS;
      if ((at - START_AT) % MINUTE_MS === 0) {
        this.#ledger.closeMinute(at - MINUTE_MS);
        this.#output.progress((at - START_AT) / MINUTE_MS, this.#payload(at));
      }
    }
    const finalCheck = await this.#checkAll();
    this.#output.end();
    return this.#summary(endAt, finalCheck);
  }

  async #observe(): Promise<void> {
    const { clock } = this.#simulation;
    await this.#simulation.observe(pointers, (seen) => {
      this.#ledger.pointer(seen);
      const body = seen.value?.body;
      if (body?.kind === 'ShardEntry' && body.state === 'READY') this.#shards.add(body.shardId);
      else if (body?.kind === 'ShardEntry' && body.state === 'GONE') this.#shards.delete(body.shardId);
      for (const reader of this.#readers) reader.arrive(seen, clock.now() + this.#random() * LAG_MAX_MS);
    });
    await this.#simulation.observe(progress, ({ value }) => {
      if (value !== null) this.#progress.push(value);
    });
    await this.#simulation.observe(decisions, ({ value }) => {
      if (value === null) return;
      this.#decisions.push(value);
      if (value.kind === 'ALLOCATE')
        this.#stories.push({ decision: value, counterfactual: this.#ledger.follow(value.at) });
      if (value.kind === 'REFUSE' || value.kind === 'KEEP' || value.kind === 'START') return;
      this.#busyUntil = clock.now() + BUSY_MS;
      this.#output.line(decisionLine(value));
    });
  }

  async #step(events: readonly SubscriptionEvent[], traffic: readonly TopicTraffic[], windows: number): Promise<void> {
    const { clock } = this.#simulation;
    for (const reader of this.#readers) reader.catchUp(clock.now());
    await this.#simulation.step(
      [
        ...events.map((event) => this.#simulation.subscription(event)),
        ...traffic.map((report) => this.#simulation.metric(report.topic, report)),
        ...this.#readers.map((reader) => this.#simulation.metric(reader.brokerId, reader.heartbeat(clock.now()))),
      ],
      STEP_MS * windows,
    );
  }

  async #probe(): Promise<void> {
    const { fleet } = this.#load;
    for (const reader of this.#readers) reader.catchUp(this.#simulation.clock.now());
    for (let probe = 0; probe < PROBES_PER_STEP; probe++) {
      await this.#prober.topic(this.#anyReader(), fleet.topic());
      await this.#prober.filter(this.#anyReader(), this.#anyFilter());
    }
  }

  /** Checks every live subscription, and removed ones, with a reader that is up to date. */
  async #checkAll(): Promise<FinalCheck> {
    const { fleet } = this.#load;
    const reader = this.#readers[0]!;
    reader.catchUp(Number.POSITIVE_INFINITY);
    const prober = new Prober(this.#simulation.foreshard.provisioner, fleet);
    for (const filter of fleet.live.keys()) await prober.filter(reader, filter);
    const removed = this.#removed.filter(({ filter, clientId }) => fleet.live.get(filter)?.has(clientId) !== true);
    for (const { filter } of removed) await prober.filter(reader, filter);
    const { misses, ghosts, unanswered } = prober.counts;
    return { liveChecked: fleet.liveCount, removedChecked: removed.length, misses: misses + unanswered, ghosts };
  }

  /** A sample of all removals, each as likely as any other (reservoir sampling, Vitter's algorithm R). */
  #noteRemoval({ action, topicFilter: filter, clientId }: SubscriptionEvent): void {
    if (action !== 'UNSUBSCRIBE') return;
    this.#removals++;
    const place =
      this.#removed.length < REMOVED_SAMPLE ? this.#removed.length : Math.floor(this.#random() * this.#removals);
    if (place < REMOVED_SAMPLE) this.#removed[place] = { filter, clientId };
  }

  #anyReader(): LaggingReader {
    return this.#readers[Math.floor(this.#random() * BROKERS)]!;
  }

  /** Half of the time a filter from which a client was removed lately, otherwise any filter. */
  #anyFilter(): string {
    const removed = this.#removed[Math.floor(this.#random() * 2 * this.#removed.length)];
    return removed?.filter ?? this.#load.fleet.filterAt(Math.floor(this.#random() * this.#load.fleet.settings.filters));
  }

  #payload(at: number): Record<string, string> {
    const load = this.#ledger.minutes.at(-1)?.byKind.KEY_VALUE ?? 0;
    return {
      clock: clockText(at).slice(0, 9),
      load: numberText(load).padStart(5),
      shards: String(this.#shards.size),
      live: numberText(this.#load.fleet.liveCount),
      misses: String(this.#prober.counts.misses),
    };
  }

  #summary(endAt: number, finalCheck: FinalCheck): DemoSummary {
    return summaryOf({
      startAt: START_AT,
      endAt,
      catalog: this.#simulation.foreshard.catalog,
      genesis: DEMO_GENESIS,
      safeUtilisation: PLAN_DEFAULTS.safeUtilisation,
      decisions: this.#decisions,
      stories: this.#stories,
      progress: this.#progress,
      minutes: this.#ledger.minutes,
      probes: this.#prober.counts,
      finalCheck,
      liveSubscriptions: this.#load.fleet.liveCount,
      events: this.#events,
      messages: this.#messages,
    });
  }
}
