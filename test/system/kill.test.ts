// Killed in every state of a move: the instance that carries out a move dies by SIGKILL as soon as the state is told, and
// is started again on what it left. The move goes on or is given up, never is there a second one of the same slice, and
// brokers that ask all the while, and hear of pointer changes late, are not misled once.
//
// Moves begin with so low a throttle that their first states last, and are let go by the same request that an operator would
// send (crowd.ts).

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import type { MoveId, SliceKey } from '../../schemas/ids.ts';
import type { MoveProgress, MoveState } from '../../schemas/records.ts';
import { AskingBroker, askedBy } from '../support/asking-broker.ts';
import { CROWDED_TYPES, Crowd } from '../support/crowd.ts';
import { Deployment, type Instance, type Services, startServices, until } from '../support/deployment.ts';
import { EventLedger } from '../support/event-ledger.ts';
import { fullCheck } from '../support/full-check.ts';
import { PlanWatch } from '../support/plan-watch.ts';

const STATES: readonly MoveState[] = [
  'PROVISIONING',
  'COPYING',
  'VERIFYING',
  'VERIFIED',
  'SWITCHED',
  'DRAINING',
  'RETIRED',
];
const SEED = 11;
const LAG_MS = 3_000;
/** Rows per second of a move at its start: its first chunk waits for some ticks. Then so many that a state lasts, or passes. */
const THROTTLE = { first: 2, slow: 1_000, fast: 100_000 } as const;
const ATTEMPTS_MAX = 5;
const SETTLE_MS = 60_000;

const services: Services | undefined = await startServices();
afterAll(() => services?.stop());

describe.skipIf(services === undefined)('kill -9 in a state of a move', () => {
  let deployment: Deployment;
  let instance: Instance;
  let ledger: EventLedger;
  let watch: PlanWatch;
  let brokers: AskingBroker[];
  let crowd: Crowd;

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
      app: 'kill',
      settings: {
        partitions: 4,
        leafBits: 2,
        concreteType: 'kv',
        trieType: 'trie',
        tickMs: 10_000,
        coolDownMs: 0,
        copyRowsPerSecond: THROTTLE.first,
        shardsPerHourMax: 1_000,
        brokerSilentMs: 10_000,
      },
      catalog: { types: CROWDED_TYPES },
    });
    instance = await deployment.instance('one');
    await instance.ready();
    ledger = await EventLedger.open(deployment);
    watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    crowd = new Crowd({ ledger, watch, seed: SEED, address: () => instance.address });
    await crowd.gather();
    brokers = await Promise.all(
      [0, 1].map((index) =>
        AskingBroker.open(deployment, ledger, {
          brokerId: `broker-${index}`,
          seed: SEED + index,
          lagMs: LAG_MS,
          heartbeats: index > 0,
          pauseMs: 20,
          topic: crowd.topics(SEED + 10 + index),
        }),
      ),
    );
    crowd.start();
  });

  afterAll(async () => {
    await crowd?.stop();
    for (const broker of brokers ?? []) await broker.stop();
    await watch?.stop();
    await ledger?.stop();
    await deployment?.stop();
  });

  for (const state of STATES)
    test(`${state}: the move goes on or is given up, and nothing is lost`, async () => {
      onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
      const killed = await killIn(state);
      const restartedAt = performance.now();
      instance = await deployment.instance('one', instance.port);
      await instance.ready();
      crowd.rowsPerSecond = THROTTLE.fast;
      crowd.coolDown();
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
      const settledMs = performance.now() - restartedAt;
      expect(['RETIRED', 'ABORTED']).toContain(watch.stateOf(killed));
      expect(movesAtOnce(watch.told)).toEqual([]);

      await crowd.pause();
      await until('every event is due', () => ledger.dueCount === ledger.sentCount, SETTLE_MS);
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
      const check = await fullCheck(deployment, watch.table, crowd.fleet.live);
      crowd.resume();
      const asked = askedBy(brokers);
      process.stdout.write(
        `${state}: ${killed} became ${watch.stateOf(killed)} within ${Math.round(settledMs)} ms of the restart; ${ledger.sentCount} events, ${check.rows} rows in ${check.shards} shards; ${asked.questions} questions, ${asked.redirects} redirects\n`,
      );
      expect(check).toMatchObject({ missing: [], unknown: [], orphans: [] });
      expect(asked).toMatchObject({ misses: [], ghosts: [], unanswered: [] });
    });

  test('readers asked all the time, and some of them were behind', () => {
    const asked = askedBy(brokers);
    expect(asked.questions).toBeGreaterThan(500);
    expect(asked.judged).toBeGreaterThan(1_000);
    expect(asked.redirects).toBeGreaterThan(0);
    expect(asked.heldMsMax).toBeGreaterThan(LAG_MS / 10);
  });

  /** Overloads a shard until a move of it is killed while this state is its last word; the move. */
  async function killIn(state: MoveState): Promise<MoveId> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      crowd.rowsPerSecond = state === 'PROVISIONING' || state === 'COPYING' ? undefined : THROTTLE.slow;
      crowd.heatUp();
      const killed = await new Promise<MoveId>((resolve, reject) => {
        const patience = setTimeout(() => reject(new Error(`no move came to ${state}`)), SETTLE_MS);
        watch.onState = (move, told) => {
          if (told !== state) return;
          watch.onState = () => {};
          clearTimeout(patience);
          instance.child.kill('SIGKILL');
          resolve(move);
        };
      });
      await instance.kill9();
      await sleep(500); // What was committed before the kill has been read.
      if (watch.stateOf(killed) === state) return killed;
      process.stdout.write(`${state}: ${killed} was in ${watch.stateOf(killed)} already when it was killed\n`);
      instance = await deployment.instance('one', instance.port);
      await instance.ready();
      crowd.rowsPerSecond = THROTTLE.fast;
      crowd.coolDown();
      await until('all moves have ended', () => watch.open.length === 0, SETTLE_MS);
    }
    throw new Error(`${state} was over each of ${ATTEMPTS_MAX} times before the kill`);
  }
});

/** Slices of which two moves were open at a time. */
function movesAtOnce(told: readonly MoveProgress[]): string[] {
  const open = new Map<SliceKey, MoveId>();
  const found: string[] = [];
  for (const { slice, moveId, state } of told) {
    const other = open.get(slice);
    if (other !== undefined && other !== moveId) found.push(`${slice}: ${moveId} beside ${other}`);
    if (state === 'RETIRED' || state === 'ABORTED') open.delete(slice);
    else open.set(slice, moveId);
  }
  return found;
}
