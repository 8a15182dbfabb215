// Running costs: what the cell costs by the hour: its instances, and requests to them at the load of now.

import { requestDollarsPerHour, runningDollarsPerHour } from '../costs/cost.ts';
import type { DatastoreType } from './catalog.ts';

export class RunningCosts {
  dollarsPerHour = 0;

  /** An instance that nothing asks yet. */
  add(type: DatastoreType): void {
    this.dollarsPerHour += type.dollarsPerHour;
  }

  /** An instance with what asks it. */
  remove(type: DatastoreType, perSecond: number): void {
    this.dollarsPerHour -= runningDollarsPerHour(type, perSecond);
  }

  retype(from: DatastoreType, to: DatastoreType, perSecond: number): void {
    this.dollarsPerHour += runningDollarsPerHour(to, perSecond) - runningDollarsPerHour(from, perSecond);
  }

  /** So much more is asked of an instance, or less. */
  ask(type: DatastoreType, perSecond: number, sign: 1 | -1): void {
    this.dollarsPerHour += sign * requestDollarsPerHour(type, perSecond);
  }
}
