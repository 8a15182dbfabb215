// Ledger: what the cell has spent of its budgets: shards and dollars within the last hour, and the keys still owed to
// the churn budget. It starts from what was spent before this plan and adds what the plan decides.

import type { EventTime } from '../../../schemas/ids.ts';
import type { Spending } from '../stage/rows.ts';
import type { DatastoreType } from './catalog.ts';

const HOUR_MS = 3_600_000;
/** However much was moved against an overload, calm moves are held back for at most this long. */
const URGENT_DEBT_HOURS = 2;

export class Ledger {
  /** Keys moved that the churn budget has not paid off yet (constraints/churn.ts). */
  churnDebtKeys = 0;
  /** Within the last hour. */
  shardsMade = 0;
  dollarsSpent = 0;

  /** `spent` is oldest first; `budgetKeysPerHour` is what may be moved. */
  constructor(spent: readonly Spending[], now: EventTime, budgetKeysPerHour: number) {
    let before = 0;
    for (const { at, keys, urgent, shards, dollars } of spent) {
      if (now - at < HOUR_MS) {
        this.shardsMade += shards;
        this.dollarsSpent += dollars;
      }
      this.churnDebtKeys = Math.max(0, this.churnDebtKeys - (budgetKeysPerHour * (at - before)) / HOUR_MS) + keys;
      if (urgent) this.churnDebtKeys = Math.min(this.churnDebtKeys, budgetKeysPerHour * URGENT_DEBT_HOURS);
      before = at;
    }
    this.churnDebtKeys = Math.max(0, this.churnDebtKeys - (budgetKeysPerHour * (now - before)) / HOUR_MS);
  }

  moved(keys: number): void {
    this.churnDebtKeys += keys;
  }

  allocated(type: DatastoreType): void {
    this.shardsMade++;
    this.dollarsSpent += type.dollarsPerProvisioning;
  }

  resized(type: DatastoreType): void {
    this.dollarsSpent += type.dollarsPerProvisioning;
  }
}
