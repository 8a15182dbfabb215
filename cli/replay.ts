// `foreshard replay`: sends the rates of a trace as subscription events of a synthetic fleet, to Kafka, or, when
// embedded, through the whole topology in simulated time.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { codecOf, openLog } from '../app/main.ts';
import type { Config } from '../config/config.ts';
import { DEFAULT_FLEET, Fleet } from '../evaluation/fleet.ts';
import { type ReplayStep, replayEvents, replaySpan } from '../evaluation/replay.ts';
import { parseTrace, type Trace } from '../evaluation/trace.ts';
import { type Catalog, typeNamed } from '../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../processors/plan/settings.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { createLogger } from '../runtime/edge/telemetry.ts';
import { eventTime } from '../schemas/ids.ts';
import { partitionOf } from '../state/keys.ts';
import { deadLetters, decisions, subscriptions } from '../topology/topics.ts';
import { decisionLine } from './demo/demo-text.ts';
import { textIn } from './files.ts';
import type { Output } from './output.ts';
import { Simulation } from './simulation.ts';
import { instantText, numberText } from './text.ts';

export interface ReplayCommand {
  readonly file: string;
  readonly series?: string;
  readonly from?: number;
  readonly to?: number;
  /** Times as fast as the trace; Infinity: as fast as possible. */
  readonly speed: number;
  readonly events: number;
  readonly filters: number;
  readonly wildcards: number;
  readonly clients: number;
  readonly seed: number;
  /** Shifts the trace so that it ends now. */
  readonly now: boolean;
  /** False when no folder was named: then a temporary one is used. */
  readonly keepsData: boolean;
}

/** Time for provisioning and the first ticks, before the first event. */
const WARM_UP_MS = 600_000;
const WARM_UP_STEP_MS = 60_000;
const BAR = '{bar} {percentage} %  {at}  {events} events';

export async function replay(command: ReplayCommand, config: Config, output: Output): Promise<void> {
  const trace = parseTrace(textIn(command.file, 'TRACE_INVALID'), command.file);
  const span = replaySpan(trace, command);
  const earliest = config.runtime === 'kafka' ? 0 : WARM_UP_MS; // No time before 1970.
  const startAt = command.now ? eventTime(Date.now() - span.ms) : eventTime(Math.max(earliest, span.startAt));
  const { filters, wildcards: wildcardShare, clients, seed } = command;
  const fleet = new Fleet({ ...DEFAULT_FLEET, filters, wildcardShare, clients, seed });
  const steps = replayEvents(trace, { ...command, fleet, startAt });
  output.line(
    `${numberText(command.events)} events over ${numberText(span.ms / 3_600_000, 1)} hours of ${seriesOf(trace, command)}, from ${instantText(startAt)} on.`,
  );
  if (config.runtime === 'kafka') await toKafka(command, steps, span.ms, config, output);
  else await throughTopology(command, steps, startAt, span.ms, fleet, config, output);
}

async function toKafka(
  command: ReplayCommand,
  steps: Iterable<ReplayStep>,
  totalMs: number,
  config: Config,
  output: Output,
): Promise<void> {
  const clock = systemClock();
  const codec = await codecOf(config);
  const log = await openLog(config, createLogger({ level: config.logLevel, pretty: config.logPretty }), clock);
  try {
    output.begin(totalMs, BAR, { at: '', events: '0' });
    const beganAt = performance.now();
    let sent = 0;
    let passedMs = 0;
    for (const { time, ms, events } of steps) {
      const dueMs = passedMs / command.speed - (performance.now() - beganAt);
      if (Number.isFinite(command.speed) && dueMs > 0) await pause(dueMs);
      await log.append(
        events.map((event) => ({
          topic: subscriptions.name,
          partition: partitionOf(event.topicFilter, config.partitions),
          key: event.topicFilter,
          value: codec.encode('SubscriptionEvent', event),
        })),
      );
      sent += events.length;
      passedMs += ms;
      output.progress(passedMs, { at: instantText(time), events: numberText(sent) });
    }
    output.end();
    output.json({ events: sent });
    output.line(`${numberText(sent)} events were sent.`);
  } finally {
    output.end();
    await log.close();
  }
}

async function throughTopology(
  command: ReplayCommand,
  steps: Iterable<ReplayStep>,
  startAt: number,
  totalMs: number,
  fleet: Fleet,
  config: Config,
  output: Output,
): Promise<void> {
  const folder = command.keepsData ? config.dataDir : mkdtempSync(join(tmpdir(), 'foreshard-replay-'));
  const simulation = await Simulation.start({
    config: { ...config, dataDir: folder },
    logger: createLogger({ level: 'error', pretty: config.logPretty }), // Warnings that a task waits for a new shard are normal here.
    startAt: eventTime(startAt - WARM_UP_MS),
    serveHttp: false,
  });
  try {
    const counts: Record<string, number> = {};
    let refused = 0;
    await simulation.observe(decisions, ({ value }) => {
      if (value === null) return;
      counts[value.kind] = (counts[value.kind] ?? 0) + 1;
      if (value.kind !== 'REFUSE' && value.kind !== 'KEEP' && value.kind !== 'START') output.line(decisionLine(value));
    });
    await simulation.foreshard.log.follow(deadLetters.name, 'latest', async ({ records }) => {
      refused += records.length;
    });
    for (let passed = 0; passed < WARM_UP_MS; passed += WARM_UP_STEP_MS) await simulation.step([], WARM_UP_STEP_MS);
    output.begin(totalMs, BAR, { at: '', events: '0' });
    let sent = 0;
    let passedMs = 0;
    for (const { time, ms, events } of steps) {
      await simulation.step(
        events.map((event) => simulation.subscription(event)),
        ms,
      );
      sent += events.length;
      passedMs += ms;
      output.progress(passedMs, { at: instantText(time), events: numberText(sent) });
    }
    output.end();
    output.json({ events: sent, live: fleet.liveCount, refused, decisions: counts });
    const said = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
    output.line(
      `${numberText(sent)} events, ${numberText(fleet.liveCount)} subscriptions live, ${refused} refused; decisions: ${said.length === 0 ? 'none' : said.join(', ')}.`,
    );
    if (Object.keys(counts).every((kind) => kind === 'START' || kind === 'KEEP'))
      output.line(quietText(sent, totalMs, simulation.foreshard.catalog, config));
  } finally {
    output.end();
    await simulation.stop();
    if (!command.keepsData) rmSync(folder, { recursive: true, force: true });
  }
}

/** Why nothing was decided: how small the load was for the shards. */
function quietText(events: number, totalMs: number, catalog: Catalog, { concreteType }: Config): string {
  const { operationsPerSecond } = typeNamed(catalog, concreteType);
  const perSecond = events / (totalMs / 1_000);
  const { operationsPerSubscribe } = PLAN_DEFAULTS.coefficients;
  const share = (100 * perSecond * operationsPerSubscribe) / operationsPerSecond;
  return `Nothing had to be decided: ${numberText(perSecond, 1)} events/s in the mean are ${numberText(share, 2)} % of the ${numberText(operationsPerSecond)} operations/s of one ${concreteType}. Send more (--events), or name a catalogue of smaller types (--catalog-path).`;
}

const seriesOf = (trace: Trace, command: ReplayCommand): string => command.series ?? trace.series[0]!;
/** Not the clock's sleep, which would let a process without other work exit. */
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
