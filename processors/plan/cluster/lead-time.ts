// Lead time: how long an action takes from now until its effect, computed from what was measured and never configured as
// one number: provisioning + copying + propagation of the pointer + a margin. In whole milliseconds, as a decision has it.

import type { PlanSettings } from '../settings.ts';
import type { DatastoreType } from './catalog.ts';

/** What has been measured so far; each figure starts from its setting or the catalogue. */
export interface Measured {
  readonly copyBytesPerSecond: number;
  readonly propagationMs: number;
  readonly provisioningMs: Readonly<Record<string, number>>;
}

/** A move to an existing shard. Copying and verifying each read all of it. */
export function moveLeadMs(bytes: number, measured: Measured, settings: PlanSettings): number {
  const passMs = (bytes / Math.max(1, measured.copyBytesPerSecond)) * 1000;
  return Math.ceil(2 * passMs + measured.propagationMs + settings.leadMarginMs);
}

export const provisionLeadMs = (type: DatastoreType, measured: Measured): number =>
  Math.ceil(measured.provisioningMs[type.name] ?? type.provisioningMs);

/** Provisioning a shard and moving that many bytes to it. */
export const allocationLeadMs = (
  type: DatastoreType,
  bytes: number,
  measured: Measured,
  settings: PlanSettings,
): number => provisionLeadMs(type, measured) + moveLeadMs(bytes, measured, settings);
