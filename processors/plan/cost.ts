// Cost: what actions and inaction cost, in dollars. All comparisons of the planner are in this one unit.

import type { DatastoreType } from './catalog.ts';
import type { PlanSettings } from './settings.ts';

const HOUR_MS = 3_600_000;
const GIB = 1024 ** 3;

/** One-off: copying a slice to an instance of the type. */
export const moveDollars = (bytes: number, type: DatastoreType): number => (bytes / GIB) * type.dollarsPerGibMoved;

/** A new instance over one horizon: provisioning and running. */
export const allocationDollars = (type: DatastoreType, settings: PlanSettings): number =>
  type.dollarsPerProvisioning + (type.dollarsPerHour * settings.horizonMs) / HOUR_MS;

/** A change of type over one horizon: provisioning, copying what is there, and the difference in running. */
export const resizeDollars = (from: DatastoreType, to: DatastoreType, bytes: number, settings: PlanSettings): number =>
  to.dollarsPerProvisioning +
  moveDollars(bytes, to) +
  ((to.dollarsPerHour - from.dollarsPerHour) * settings.horizonMs) / HOUR_MS;

/** Doing nothing: the part of the horizon above safe capacity, at the price of an overloaded hour. */
export const overloadDollars = (overloadedMs: number, settings: PlanSettings): number =>
  (overloadedMs / HOUR_MS) * settings.dollarsPerOverloadedHour;
