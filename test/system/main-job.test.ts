// The main job, end to end: a recorded flash crowd goes through a real Kafka, in a container where one can be had, and a
// registry to one instance and a shard server, while brokers that hear of pointer changes up to 30 s late ask all the time
// who a message goes to.
//
// Trace time passes faster than the shards' own: the night before the crowd as fast as the log takes it, the crowd itself
// at CROWD_MINUTE_MS for a minute, which is enough on a machine with nothing else to do. On a busy one trace time stands
// still until the fleet has kept up: what was sent is in the shards and in forecasts, and what was decided is done
// CARRY_OUT_MINUTES later. The margin of the lead time is set so that the lead is more than four minutes of the trace, and
// that a small part of it.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { DEFAULT_FLEET, Fleet, type FleetSettings } from '../../evaluation/fleet.ts';
import { randomFrom, roundedAtRandom, zipf } from '../../evaluation/random.ts';
import { parseTrace, type Trace } from '../../evaluation/trace.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { eventTime, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Decision, DecisionKind, Forecast, StoreKind, SubscriptionEvent } from '../../schemas/records.ts';
import { hasWildcard, isTrieSlice } from '../../state/keys.ts';
import { forecasts } from '../../topology/topics.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { Deployment, startServices, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';
import { syntheticTrace } from '../support/synthetic-trace.ts';

const TRACE_FILE = join(import.meta.dirname, '../../../shared/data/traces/wc98_1min.csv');
/** 23 June 1998, 02:00 UTC: the night before two games. */
const START_SECONDS = 898_567_200;
const NIGHT_MINUTES = 710;
const CROWD_MINUTES = 52;
const CROWD_MINUTE_MS = 4_500;
/** Minutes of the trace between a decision and the time that stands still until it is carried out. */
const CARRY_OUT_MINUTES = 1.5;
/** A window closes a little after it has ended, when the next one's events have come. */
const FORESEEN_MINUTES = 3;
const KEEP_UP_PATIENCE_MS = 240_000;
const EVENTS_MIN = 1_000_000;
const FILTERS_MIN = 20_000;
/** Requests a minute at which the first shard of each kind is at its safe capacity: the crowd goes well beyond. */
const SAFE_REQUESTS = 68_000;
const TRIE_MINUTES_ABOVE_MAX = 3;
const PENDING_MAX = 40_000;
const LAG_MS = 30_000;
const SEED = 7;

const services = await startServices({ inContainer: true });
afterAll(() => services?.stop());

test.skipIf(services === undefined)(
  'a flash crowd of a million events: shards are there and switched to before the rate crosses, and no reader is misled',
  async () => {
    const trace = windowOf(
      existsSync(TRACE_FILE) ? parseTrace(readFileSync(TRACE_FILE, 'utf8'), TRACE_FILE) : undefined,
    );
    const eventsPerRequest = (EVENTS_MIN * 1.01) / trace.reduce((sum, value) => sum + value, 0);
    const { coefficients, safeUtilisation } = PLAN_DEFAULTS;
    const settings = {
      ...DEFAULT_FLEET,
      seed: SEED,
      filters: FILTERS_MIN * 1.5,
      clients: 20_000,
      unsubscribeShare: 0.45,
    };
    const wildcardShare = wildcardShareOf(settings);
    const operationsOf = ({ action }: SubscriptionEvent): number =>
      action === 'SUBSCRIBE' ? coefficients.operationsPerSubscribe : coefficients.operationsPerUnsubscribe;
    const operations = ((SAFE_REQUESTS * eventsPerRequest) / 60) * coefficients.operationsPerSubscribe;
    const safe = { KEY_VALUE: operations * (1 - wildcardShare), TRIE: operations * wildcardShare };
    const deployment = await Deployment.start(services!, {
      app: 'main-job',
      settings: {
        partitions: 4,
        leafBits: 2,
        concreteType: 'kv',
        trieType: 'trie',
        leadMarginMs: 240_000,
        movesMax: 16,
        sessionTimeoutMs: 30_000, // A busy machine is no dead member.
      },
      catalog: {
        types: [
          { ...TYPE, name: 'kv', kind: 'KEY_VALUE', operationsPerSecond: safe.KEY_VALUE / safeUtilisation },
          { ...TYPE, name: 'trie', kind: 'TRIE', operationsPerSecond: safe.TRIE / safeUtilisation },
        ],
      },
    });
    onTestFinished(() => deployment.stop());
    const fleet = new Fleet(settings);
    const random = randomFrom(SEED + 1);
    const instance = await deployment.instance('one');
    await instance.ready();
    const ledger = await EventLedger.open(deployment);
    let now = START_SECONDS * 1_000;
    const watch = await PlanWatch.open(deployment, () => now);
    await until('the first shards are there', () => watch.table.epoch > 0);
    /** What became of each move, and when, in minutes of the crowd. */
    const lives = new Map<string, string>();
    watch.onState = (move, state) => lives.set(move, `${lives.get(move) ?? ''} ${state} ${minuteOf(now)}`);
    let foreseenTo = 0;
    const foreseeing = await deployment.observe<Forecast>(forecasts, (forecast) => {
      foreseenTo = Math.max(foreseenTo, forecast?.madeAt ?? 0);
    });
    const brokers = await Promise.all(
      [0, 1, 2].map((index) =>
        AskingBroker.open(deployment, ledger, {
          brokerId: `broker-${index}`,
          seed: SEED + 10 + index,
          lagMs: LAG_MS,
          heartbeats: index > 0,
          pauseMs: 20,
          topic: topicsOf(fleet, SEED + 20 + index),
        }),
      ),
    );
    /** Operations per second of each shard, by minute, where the pointer table said that they belong. */
    const loads: Map<string, number>[] = [];
    let isOver = false;
    const refreshing = (async () => {
      while (!isOver) {
        await ledger.refresh();
        await sleep(250);
      }
    })();
    const beganAt = performance.now();
    let crowdBeganAt = 0;

    for (const [minute, requests] of trace.entries()) {
      if (minute === NIGHT_MINUTES) {
        await until('the night is due', () => ledger.dueCount === ledger.sentCount, KEEP_UP_PATIENCE_MS);
        crowdBeganAt = performance.now();
      }
      const startedAt = performance.now();
      const count = roundedAtRandom(requests * eventsPerRequest, random);
      const load = new Map<string, number>();
      loads.push(load);
      // In sixths, so that no part of the window comes late.
      for (let part = 0; part < 6; part++) {
        const events: SubscriptionEvent[] = [];
        for (let each = Math.floor((count * part) / 6); each < Math.floor((count * (part + 1)) / 6); each++) {
          now = (START_SECONDS + minute * 60) * 1_000 + Math.floor((each * 60_000) / count);
          const event = fleet.next(eventTime(now));
          events.push(event);
          const shard = watch.table.resolve(event.topicFilter, event.clientId)!.shards[0]!;
          load.set(shard, (load.get(shard) ?? 0) + operationsOf(event) / 60);
        }
        const sending = ledger.send(events);
        if (minute >= NIGHT_MINUTES) {
          await sending;
          if (part === 5)
            await until(
              `the fleet has kept up at minute ${minuteOf(now)}`,
              () =>
                ledger.dueCount === ledger.sentCount &&
                foreseenTo > now - FORESEEN_MINUTES * 60_000 &&
                watch.overdue(now - CARRY_OUT_MINUTES * 60_000).length === 0,
              KEEP_UP_PATIENCE_MS,
            );
          await sleep(Math.max(0, startedAt + (CROWD_MINUTE_MS * (part + 1)) / 6 - performance.now()));
        } else if (part === 5) await sending;
      }
      while (ledger.sentCount - ledger.dueCount > PENDING_MAX && instance.isRunning) await sleep(20);
      expect(instance.isRunning, 'the instance runs').toBe(true);
    }
    const endedAt = performance.now();

    for (const broker of brokers) broker.catchUp();
    await until('every event is due', () => ledger.dueCount === ledger.sentCount, KEEP_UP_PATIENCE_MS);
    await until('every move has ended', () => watch.open.length === 0, KEEP_UP_PATIENCE_MS);
    isOver = true;
    await refreshing;
    for (const broker of brokers) await broker.stop();
    const asked = askedBy(brokers);
    const check = await fullCheck(deployment, watch.table, fleet.live);

    const crowd = loads.slice(NIGHT_MINUTES);
    const kinds = (['KEY_VALUE', 'TRIE'] as const).map((kind) => {
      const minutes = crowd.map((shards) => loadsOf(kind, shards, watch).map((load) => load / safe[kind]));
      return {
        kind,
        /** The minute in which one shard would not have been enough any more. */
        crossing: minutes.findIndex((shares) => shares.reduce((sum, share) => sum + share, 0) > 1),
        /** Of safe capacity, the fullest shard in each minute. */
        fullest: minutes.map((shares) => Math.max(...shares)),
      };
    });
    /** When decisions of the crowd about shards of that kind were seen, in minutes of it. */
    const seen = (decided: DecisionKind, kind: StoreKind): number[] =>
      watch.decisions
        .filter((each) => each.kind === decided && kindOf(each, watch) === kind)
        .map((each) => minuteOf(each.seenAt))
        .filter((minute) => minute >= 0);
    process.stdout.write(
      `${JSON.stringify({
        events: ledger.sentCount,
        filters: ledger.filterCount,
        wildcardFilters: ledger.wildcardCount,
        nightSeconds: Math.round((crowdBeganAt - beganAt) / 1_000),
        crowdSeconds: Math.round((endedAt - crowdBeganAt) / 1_000),
        crossings: kinds.map(({ kind, crossing }) => `${kind} at ${crossing}`),
        fullest: kinds.map(({ fullest }) => fullest.map((share) => Math.round(share * 100)).join(' ')),
        allocated: kinds.map(({ kind }) => seen('ALLOCATE', kind)),
        switched: kinds.map(({ kind }) => seen('SWITCH', kind)),
        moves: watch.moveCount,
        decided: watch.decisions
          .filter(({ kind }) => ['ALLOCATE', 'MOVE', 'SPLIT', 'RESIZE'].includes(kind))
          .map(({ kind, subject, seenAt, reason }) => `${minuteOf(seenAt)} ${kind} ${subject}: ${reason}`),
        lives: Object.fromEntries(lives),
        questions: asked.questions,
        judged: asked.judged,
        misses: asked.misses.length,
        ghosts: asked.ghosts.length,
        redirects: asked.redirects,
        heldMsMax: Math.round(asked.heldMsMax),
        rows: check.rows,
        shards: check.shards,
      })}\n`,
    );

    expect(ledger.sentCount).toBeGreaterThanOrEqual(EVENTS_MIN);
    expect(ledger.filterCount).toBeGreaterThanOrEqual(FILTERS_MIN);
    expect(ledger.wildcardCount / ledger.filterCount).toBeCloseTo(0.1, 1);

    const [keyValue, trie] = kinds;
    for (const { kind, crossing } of kinds) expect(crossing, `one ${kind} shard would have crossed`).toBeGreaterThan(0);
    for (const decided of ['ALLOCATE', 'MOVE', 'SWITCH'] as const)
      expect(Math.min(...seen(decided, 'KEY_VALUE')), `${decided} before the rate crosses`).toBeLessThan(
        keyValue!.crossing,
      );
    expect(above(keyValue!.fullest), 'minutes in which a key-value shard was above its safe capacity').toEqual([]);
    // Tries have a tenth of the load: some five events a second, which scatter by six percent from minute to minute. What
    // the forecast takes for scatter the measured rate finds, so a minute or two may be above.
    expect(seen('SWITCH', 'TRIE').length).toBeGreaterThan(0);
    expect(above(trie!.fullest).length, 'minutes in which a trie was above its safe capacity').toBeLessThanOrEqual(
      TRIE_MINUTES_ABOVE_MAX,
    );
    expect(Math.max(...trie!.fullest)).toBeLessThan(1 / safeUtilisation);

    expect(asked).toMatchObject({ misses: [], ghosts: [], unanswered: [] });
    expect(asked.questions).toBeGreaterThan(1_000);
    expect(asked.redirects).toBeGreaterThan(0);
    expect(asked.heldMsMax).toBeGreaterThan(LAG_MS / 2);
    expect(check).toMatchObject({ missing: [], unknown: [], orphans: [] });
    const counted = (what: string): Promise<number> => instance.metric(`foreshard_${what}_total`, { group: 'work' });
    expect(await counted('consumed')).toBe(
      (await counted('stepped')) + (await counted('duplicate')) + (await counted('refused_records')),
    );
    await foreseeing.close();
    await watch.stop();
    await ledger.stop();
    await instance.stop();
  },
);

/** Minutes of the crowd. */
const minuteOf = (at: number): number => Math.round(((at / 1_000 - START_SECONDS) / 60 - NIGHT_MINUTES) * 10) / 10;

const above = (fullest: readonly number[]): number[] => fullest.flatMap((share, minute) => (share > 1 ? [minute] : []));

/** The kind of shard that a decision is about: a shard's, a slice's or a move's. */
function kindOf({ kind, subject }: Decision, watch: PlanWatch): StoreKind | undefined {
  if (kind === 'ALLOCATE') return watch.table.shard(shardId(subject))?.storeKind;
  const slice = kind === 'SWITCH' ? watch.told.find(({ moveId }) => moveId === subject)!.slice : sliceKey(subject);
  return isTrieSlice(slice) ? 'TRIE' : 'KEY_VALUE';
}

/** The loads of the shards of that kind. */
function loadsOf(kind: StoreKind, loads: ReadonlyMap<string, number>, watch: PlanWatch): number[] {
  return [...loads].flatMap(([shard, load]) => (watch.table.shard(shardId(shard))?.storeKind === kind ? [load] : []));
}

/** The night and the crowd, requests in each minute. */
function windowOf(recorded: Trace | undefined): number[] {
  const minutes = NIGHT_MINUTES + CROWD_MINUTES;
  const trace = recorded ?? syntheticTrace(START_SECONDS, minutes, NIGHT_MINUTES);
  const from = trace.seconds.indexOf(START_SECONDS);
  expect(from).toBeGreaterThanOrEqual(0);
  return [...trace.values[0]!.slice(from, from + minutes)];
}

const TYPE = {
  entriesMax: 10_000_000,
  memoryBytes: 8 * 2 ** 30,
  dollarsPerHour: 0.5,
  dollarsPerProvisioning: 0.02,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 30_000,
};

/** Share of the events that are of a wildcard filter. */
function wildcardShareOf(settings: FleetSettings): number {
  const fleet = new Fleet(settings);
  const sums = { all: 0, wildcard: 0 };
  for (let rank = 0; rank < settings.filters; rank++) {
    const weight = 1 / (rank + 1) ** settings.skew;
    sums.all += weight;
    if (hasWildcard(fleet.filterAt(rank))) sums.wildcard += weight;
  }
  return sums.wildcard / sums.all;
}

/** Topics that somebody might publish to: filters by their popularity, wildcards filled in. */
function topicsOf(fleet: Fleet, seed: number): () => string {
  const random = randomFrom(seed);
  const rank = zipf(fleet.settings.filters, fleet.settings.skew, random);
  return () =>
    fleet
      .filterAt(rank())
      .replace('#', 'status')
      .replaceAll('+', `d${Math.floor(random() * 1_000)}`);
}
