// Costs by hand: each component of each action at round prices, and what the planner does with them.

import { describe, expect, test } from 'vitest';
import { catalogOf, typeNamed } from '../../../../processors/plan/cluster/catalog.ts';
import {
  allocationCost,
  FREE,
  moveCost,
  outlayOf,
  overloadDollars,
  resizeCost,
  runningDollarsPerHour,
  totalOf,
} from '../../../../processors/plan/costs/cost.ts';
import { SETTINGS } from '../stage-by-hand.ts';

const TYPES = catalogOf({
  types: [
    {
      name: 'by-the-hour',
      kind: 'KEY_VALUE',
      operationsPerSecond: 1_000,
      entriesMax: 1e6,
      memoryBytes: 1e9,
      dollarsPerHour: 6,
      dollarsPerProvisioning: 1,
      dollarsPerGibMoved: 2,
      provisioningMs: 60_000,
    },
    {
      name: 'by-the-request',
      kind: 'KEY_VALUE',
      operationsPerSecond: 1_000,
      entriesMax: 1e6,
      memoryBytes: 1e9,
      dollarsPerHour: 0,
      dollarsPerProvisioning: 0,
      dollarsPerGibMoved: 0,
      dollarsPerMillionRequests: 5,
      provisioningMs: 0,
    },
    {
      name: 'trie',
      kind: 'TRIE',
      operationsPerSecond: 1_000,
      entriesMax: 1e6,
      memoryBytes: 1e9,
      dollarsPerHour: 1,
      dollarsPerProvisioning: 0,
      dollarsPerGibMoved: 0,
      provisioningMs: 0,
    },
  ],
});
const hourly = typeNamed(TYPES, 'by-the-hour');
const onDemand = typeNamed(TYPES, 'by-the-request');
/** Half a GiB in a million rows, and a million operations an hour. */
const cargo = { bytes: 512 * 1024 ** 2, entries: 1e6, perSecond: 1e6 / 3600 };
/** Ten minutes from the start of the copy to the end of the drain, of a horizon of one hour. */
const handover = { moveMs: 595_000, settings: { ...SETTINGS, horizonMs: 3_600_000, drainMs: 5_000 } };

describe('what an action costs over one horizon', () => {
  for (const { name, cost, expected } of [
    {
      name: 'a move between two that run anyway pays for its bytes',
      cost: moveCost(cargo, hourly, hourly, handover),
      expected: { ...FREE, moving: 1 },
    },
    {
      name: 'a move to a store paid by request pays for rows written, requests to both meanwhile, and requests from then on',
      cost: moveCost(cargo, hourly, onDemand, handover),
      expected: { ...FREE, running: 5, moving: 10, doubleRunning: 5 / 6 },
    },
    {
      name: 'a move away from it saves its requests',
      cost: moveCost(cargo, onDemand, hourly, handover),
      expected: { ...FREE, running: -5, moving: 1 },
    },
    {
      name: 'a new shard pays for its first ten minutes as double running, and for the rest as running',
      cost: allocationCost(cargo, hourly, hourly, handover),
      expected: { ...FREE, running: 5, provisioning: 1, moving: 1, doubleRunning: 1 },
    },
    {
      name: 'two new shards pay twice for instances, and once for what moves',
      cost: allocationCost(cargo, hourly, hourly, handover, 2),
      expected: { ...FREE, running: 10, provisioning: 2, moving: 1, doubleRunning: 2 },
    },
    {
      name: 'a change of type pays the old instance until the drain has ended',
      cost: resizeCost(cargo, hourly, onDemand, handover),
      expected: { ...FREE, running: -1, moving: 10, doubleRunning: 5 / 6 + 1 },
    },
  ])
    test(name, () => {
      for (const [part, dollars] of Object.entries(expected))
        expect([part, cost[part as keyof typeof cost]]).toEqual([part, expect.closeTo(dollars, 9)]);
    });

  test('never more than the whole horizon is double running (D1)', () => {
    const cost = allocationCost(cargo, hourly, hourly, { ...handover, moveMs: 7_200_000 });
    expect([cost.running, cost.doubleRunning]).toEqual([0, 6]);
  });

  test('an overload that no action can come in time for is in the total, and is no outlay (D2)', () => {
    const cost = { ...FREE, running: 1, moving: 2, violation: 4 };
    expect([outlayOf(cost), totalOf(cost)]).toEqual([3, 7]);
  });

  test('an overloaded hour has the price that the settings say', () =>
    expect(overloadDollars(1_800_000, { ...SETTINGS, dollarsPerOverloadedHour: 50 })).toBe(25));

  test('a store paid by request costs nothing without load, and more than one by the hour under much', () => {
    expect(runningDollarsPerHour(onDemand, 0)).toBe(0);
    expect(runningDollarsPerHour(onDemand, 500)).toBeGreaterThan(runningDollarsPerHour(hourly, 500));
  });
});
