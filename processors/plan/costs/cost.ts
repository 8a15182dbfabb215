// Cost: what an action, or doing nothing, costs over one horizon, in dollars, itemised. Every comparison of the planner
// is made in this one unit.
//
//   D1. Nothing is counted twice: an hour of an instance is either running cost, or double running while another
//       instance still does its work, never both.
//   D2. What is paid is compared with what it saves (`outlayOf`, constraints/cost.ts). The overload that lasts until
//       the action takes effect is not paid for, but distinguishes a quick option from a slow one (`totalOf`).

import type { DatastoreType } from '../cluster/catalog.ts';
import type { PlanSettings } from '../settings.ts';

/** Negative where something is saved. */
export interface Cost {
  /** Instances and requests beyond what is paid without the action. */
  readonly running: number;
  readonly provisioning: number;
  /** Bytes and rows that are copied. */
  readonly moving: number;
  /** Two instances, or requests to both, from the start of a copy to the end of its drain. */
  readonly doubleRunning: number;
  /** Expected cost of the overload until the action has taken effect. */
  readonly violation: number;
}

export const FREE: Cost = { running: 0, provisioning: 0, moving: 0, doubleRunning: 0, violation: 0 };

/** What moves: of a slice, or of a share of a shard. */
export interface Cargo {
  readonly bytes: number;
  readonly entries: number;
  readonly perSecond: number;
}

/** How long both sides of a move do the work: while copying and verifying, and until the drain has ended. */
export interface Handover {
  readonly moveMs: number;
  readonly settings: PlanSettings;
}

/** What is paid, without the overload. */
export const outlayOf = ({ running, provisioning, moving, doubleRunning }: Cost): number =>
  running + provisioning + moving + doubleRunning;

export const totalOf = (cost: Cost): number => outlayOf(cost) + cost.violation;

/** An instance of the type with that load. */
export const runningDollarsPerHour = (type: DatastoreType, perSecond: number): number =>
  type.dollarsPerHour + requestDollarsPerHour(type, perSecond);

export const requestDollarsPerHour = (type: DatastoreType, perSecond: number): number =>
  requestDollars(type, perSecond * HOUR_S);

/** Between two existing shards: copying, requests to both meanwhile, and a different price of requests afterwards. */
export function moveCost(cargo: Cargo, from: DatastoreType, to: DatastoreType, handover: Handover): Cost {
  const { settings } = handover;
  return {
    ...FREE,
    running: requestDollars(to, requestsOf(cargo, settings)) - requestDollars(from, requestsOf(cargo, settings)),
    moving: copyDollars(cargo, to, settings),
    doubleRunning: requestDollars(to, (cargo.perSecond * overlapMs(handover)) / 1000),
  };
}

/** New instances for one horizon and what moves to them; they run beside the old one until the drain has ended. */
export function allocationCost(
  cargo: Cargo,
  from: DatastoreType,
  to: DatastoreType,
  handover: Handover,
  instances = 1,
): Cost {
  const { horizonMs } = handover.settings;
  const overlapHours = Math.min(overlapMs(handover), horizonMs) / HOUR_MS;
  const move = moveCost(cargo, from, to, handover);
  return {
    ...move,
    running: move.running + instances * to.dollarsPerHour * (horizonMs / HOUR_MS - overlapHours),
    provisioning: instances * to.dollarsPerProvisioning,
    doubleRunning: move.doubleRunning + instances * to.dollarsPerHour * overlapHours,
  };
}

/** A change of type: the new instance instead of the old one, and the old one as well until the drain has ended. */
export function resizeCost(cargo: Cargo, from: DatastoreType, to: DatastoreType, handover: Handover): Cost {
  const { settings } = handover;
  const move = moveCost(cargo, from, to, handover);
  return {
    ...move,
    running: move.running + ((to.dollarsPerHour - from.dollarsPerHour) * settings.horizonMs) / HOUR_MS,
    provisioning: to.dollarsPerProvisioning,
    doubleRunning: move.doubleRunning + (from.dollarsPerHour * overlapMs(handover)) / HOUR_MS,
  };
}

/** An overload of that length, at the price of an overloaded hour. */
export const overloadDollars = (overloadedMs: number, settings: PlanSettings): number =>
  (overloadedMs / HOUR_MS) * settings.dollarsPerOverloadedHour;

/** Copying that many bytes, rows left aside: what the ledger records for a move. */
export const moveDollars = (bytes: number, type: DatastoreType): number => (bytes / GIB) * type.dollarsPerGibMoved;

const HOUR_MS = 3_600_000;
const HOUR_S = 3_600;
const GIB = 1024 ** 3;

/** A row that is copied costs the target what a subscribe does. */
const copyDollars = (cargo: Cargo, to: DatastoreType, settings: PlanSettings): number =>
  moveDollars(cargo.bytes, to) + requestDollars(to, cargo.entries * settings.coefficients.operationsPerSubscribe);

const requestDollars = (type: DatastoreType, requests: number): number =>
  (requests / 1e6) * type.dollarsPerMillionRequests;

const requestsOf = ({ perSecond }: Cargo, settings: PlanSettings): number => (perSecond * settings.horizonMs) / 1000;

const overlapMs = ({ moveMs, settings }: Handover): number => moveMs + settings.drainMs;
