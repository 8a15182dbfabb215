// Running costs: what the cell costs per hour: its instances, and the requests to them at the present load.

import { requestDollarsPerHour, runningDollarsPerHour } from '../costs/cost.ts';
import type { DatastoreType } from './catalog.ts';

export class RunningCosts {
  dollarsPerHour = 0;

  /** An instance without load. */
  add(type: DatastoreType): void {
    this.dollarsPerHour += type.dollarsPerHour;
  }

  /** An instance together with its load. */
  remove(type: DatastoreType, perSecond: number): void {
    this.dollarsPerHour -= runningDollarsPerHour(type, perSecond);
  }

  retype(from: DatastoreType, to: DatastoreType, perSecond: number): void {
    this.dollarsPerHour += runningDollarsPerHour(to, perSecond) - runningDollarsPerHour(from, perSecond);
  }

  /** The load of an instance grows or shrinks. */
  ask(type: DatastoreType, perSecond: number, sign: 1 | -1): void {
    this.dollarsPerHour += sign * requestDollarsPerHour(type, perSecond);
  }
}
