// A constraint of one's own in the planner: a shard outgrows its capacity within the hours in which nothing may move.

import { expect, onTestFinished, test } from 'vitest';
import { Simulation } from '../../cli/simulation.ts';
import { configOf } from '../../config/config.ts';
import { noMovesBetween } from '../../examples/own-constraint.ts';
import { CONSTRAINTS, refusal } from '../../processors/plan/constraints/constraints.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';
import { decisions } from '../../topology/topics.ts';
import { T0 } from '../processors/plan/stage-by-hand.ts';
import { simulate, type World } from '../processors/plan/world.ts';
import { tempFolder } from '../support/temp-folder.ts';

const MINUTE_MS = 60_000;
/** The world begins at 22:13:20 UTC, and at its minute 47 it is 23:00. */
const ELEVEN = Math.floor(T0 / 86_400_000) * 86_400_000 + 23 * 3_600_000;

const world: World = {
  topics: Array.from({ length: 400 }, (_, i) => ({
    topic: `fleet/device-${i}`,
    perSecond: (minute: number) => (minute < 20 ? 400 : 1_600) / 400,
  })),
  forecaster: 'perfect',
  heavyPerSecond: 200,
  entriesPerSlice: 10_000,
};

test('nothing is moved between the two hours, with the reason in a decision; afterwards it is', () => {
  const free = simulate(world, 60).cell.decisions.filter(({ kind }) => kind === 'MOVE');
  expect(free[0]!.at).toBeLessThan(ELEVEN);

  const { decisions } = simulate({ ...world, constraints: [...CONSTRAINTS, noMovesBetween(22, 23)] }, 60).cell;
  const moved = decisions.filter(({ kind }) => kind === 'MOVE');
  expect(moved.length).toBeGreaterThan(0);
  expect(moved[0]!.at).toBeGreaterThanOrEqual(ELEVEN);
  expect(moved[0]!.at).toBeLessThan(ELEVEN + 2 * MINUTE_MS);
  const refused = decisions.find(({ constraint }) => constraint === 'own-maintenance');
  expect(refused).toMatchObject({
    kind: 'REFUSE',
    reason: expect.stringMatching(/^Not done: move c\/.* From 22:00 to 23:00 UTC/),
  });
});

test('hours around midnight', () => {
  const { decisions } = simulate({ ...world, constraints: [...CONSTRAINTS, noMovesBetween(22, 2)] }, 130).cell;
  expect(decisions.some(({ constraint }) => constraint === 'own-maintenance')).toBe(true);
  expect(decisions.some(({ kind }) => kind === 'MOVE')).toBe(false);
});

test('a process that is started with it judges every action by it', async () => {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const values = { dataDir: folder.path, partitions: 2, workerThreads: 0 };
  const simulation = await Simulation.start({
    config: configOf([{ source: 'test', values }]).config,
    logger: silentLogger,
    startAt: eventTime(T0),
    serveHttp: false,
    constraints: [(_cluster, action) => refusal(action, 'own-nothing', 'Nothing is done here.')],
  });
  onTestFinished(() => simulation.stop());
  const seen: Decision[] = [];
  await simulation.observe(decisions, ({ value }) => seen.push(value as Decision));
  for (let minute = 1; minute <= 12; minute++) {
    const windowStart = eventTime(T0 + (minute - 1) * MINUTE_MS);
    const traffic = { kind: 'TopicTraffic', brokerId: 'b', publishes: 60_000_000, bytes: 0, windowStart } as const;
    const topics = Array.from({ length: 8 }, (_, i) => `fleet/${i}`);
    await simulation.step(
      topics.map((topic) => simulation.metric(topic, { ...traffic, topic, windowMs: MINUTE_MS })),
      MINUTE_MS,
    );
  }
  expect(seen.some(({ kind, constraint }) => kind === 'REFUSE' && constraint === 'own-nothing')).toBe(true);
  expect(seen.filter(({ kind }) => ['MOVE', 'ALLOCATE', 'SPLIT', 'RESIZE'].includes(kind))).toEqual([]);
});
