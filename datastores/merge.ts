// Merge: the result when a row comes for a place (filter, client) that has a stored row. Every store uses it,
// and so do both shards of a move: each ends with the same row, in whatever order rows came (I8).
//
//   G1. The subscription is the SUBSCRIBE of the highest version. It is live until its own broker removes it with a
//       higher version. A removal by any other broker does not end it: the client has connected elsewhere since.
//   G2. A removal may come before the SUBSCRIBE that it removes, or before one that it does not concern: at the target
//       of a move before the copied row, in a replay before the event that it repeats. So removals that are newer than
//       the subscription are remembered, the newest of each broker. Older removals cannot concern any row that may
//       still come, and are dropped.
//   G3. The result depends on which rows came, not on their order, their number or how they were merged before.
//
// A `gone` row of an earlier release refused everything below its version. It still does: it is read as the
// removal of a subscription of that very version.

import { compareVersions, type Removal, type SubscriptionRow, type Version } from '../state/effects.ts';
import { packOptions } from '../state/subscription-options.ts';
import type { WriteResult } from './shard-store.ts';

/** `foreign`: a removal by a broker that does not hold the subscription (G1). */
export interface Merged {
  readonly is: 'applied' | 'stale' | 'foreign';
  readonly row: SubscriptionRow;
}

/**
 * Most removals kept beside a subscription: a client is connected to one broker at a time, so more means that the fleet
 * is misbehaving.
 */
const OTHERS_MAX = 15;

export function mergeRows(known: SubscriptionRow | undefined, row: SubscriptionRow): Merged {
  if (known === undefined) return { is: 'applied', row };
  const isNewer = compareVersions(row.version, known.version) > 0;
  // Nearly every write is a newer SUBSCRIBE, or the holder's own removal.
  if (known.others === undefined && row.others === undefined) {
    if (!row.gone && isNewer) return { is: 'applied', row };
    const isOfKnown = row.since === undefined || isSameVersion(row.since, known.version);
    if (row.gone && isOfKnown && !known.gone && row.brokerId === known.brokerId)
      return isNewer ? { is: 'applied', row: endedBy(row, known) } : { is: 'stale', row: known };
  }
  const merged = joined(known, row);
  if (isSameRow(merged, known)) return { is: 'stale', row: known };
  const isForeign = row.gone && row.since === undefined && hasSubscription(merged) && row.brokerId !== merged.brokerId;
  return { is: isForeign ? 'foreign' : 'applied', row: merged };
}

/** Counts for a write of `rows` rows. */
export function writeResult(rows: number, stale: number, foreign: number): WriteResult {
  const applied = rows - stale - foreign;
  return foreign === 0 ? { applied, stale } : { applied, stale, foreign };
}

/** Whether two rows of one place are equal in all fields that are compared between shards. */
export function isSameRow(a: SubscriptionRow, b: SubscriptionRow): boolean {
  if (a.gone !== b.gone || a.brokerId !== b.brokerId || a.qos !== b.qos) return false;
  if (a.options !== b.options && packOptions(a.options) !== packOptions(b.options)) return false;
  if (!isSameVersion(a.version, b.version) || !isSameVersion(a.since, b.since)) return false;
  const [left, right] = [a.others ?? [], b.others ?? []];
  if (left.length !== right.length) return false;
  return left.every(
    (each, i) => each.brokerId === right[i]!.brokerId && isSameVersion(each.version, right[i]!.version),
  );
}

/** Event time of the latest removal that a removed row remembers. */
export const lastAt = ({ at, others }: Pick<SubscriptionRow, 'at' | 'others'>): number =>
  others === undefined ? at : Math.max(at, ...others.map((each) => each.at));

/** How a subscription is served, as its SUBSCRIBE says. */
type Service = Pick<SubscriptionRow, 'qos' | 'options'>;

interface Subscription extends Service {
  readonly brokerId: string;
  readonly version: Version;
}

const serviceOf = ({ qos, options }: Service): Service => (options === undefined ? { qos } : { qos, options });

/** The tombstone of a subscription that was removed by its own broker. */
function endedBy(
  { filter, clientId, brokerId, version, at }: SubscriptionRow,
  known: SubscriptionRow,
): SubscriptionRow {
  return { filter, clientId, brokerId, ...serviceOf(known), version, gone: true, at, since: known.version };
}

const hasSubscription = (row: SubscriptionRow): boolean => !row.gone || row.since !== undefined;

function subscriptionOf(row: SubscriptionRow): Subscription | undefined {
  if (!row.gone) return row;
  return row.since && { brokerId: row.brokerId, ...serviceOf(row), version: row.since };
}

function joined(a: SubscriptionRow, b: SubscriptionRow): SubscriptionRow {
  const [ofA, ofB] = [subscriptionOf(a), subscriptionOf(b)];
  const isOfB = ofB !== undefined && (ofA === undefined || compareVersions(ofB.version, ofA.version) > 0);
  const subscription = isOfB ? ofB : ofA;
  const [newest, ...rest] = removalsSince(subscription?.version, [a, b]);
  const { filter, clientId } = a;
  if (subscription === undefined) {
    const isOfA = a.gone && a.brokerId === newest!.brokerId && isSameVersion(a.version, newest!.version);
    return withOthers({ filter, clientId, ...newest!, ...serviceOf(isOfA ? a : b), gone: true }, rest);
  }
  const removals = newest === undefined ? [] : [newest, ...rest];
  const own = removals.find((each) => each.brokerId === subscription.brokerId);
  const others = removals.filter((each) => each !== own);
  const { brokerId } = subscription;
  const service = serviceOf(subscription);
  if (own === undefined) {
    const live = isOfB ? b : a;
    return withOthers(
      { filter, clientId, brokerId, ...service, version: live.version, gone: false, at: live.at },
      others,
    );
  }
  const gone = { filter, clientId, brokerId, ...service, version: own.version, gone: true, at: own.at };
  return withOthers({ ...gone, since: subscription.version }, others);
}

/** The removals to remember (G2), newest first. */
function removalsSince(since: Version | undefined, rows: readonly SubscriptionRow[]): Removal[] {
  const byBroker = new Map<string, Removal>();
  for (const row of rows) {
    const own: Removal[] = row.gone ? [{ brokerId: row.brokerId, version: row.version, at: row.at }] : [];
    for (const each of row.others === undefined ? own : [...own, ...row.others]) {
      // An equal version belongs to a removal of an earlier release.
      if (since !== undefined && compareVersions(each.version, since) < 0) continue;
      const known = byBroker.get(each.brokerId);
      if (known === undefined || compareVersions(each.version, known.version) > 0) byBroker.set(each.brokerId, each);
    }
  }
  return [...byBroker.values()].sort((a, b) => compareVersions(b.version, a.version));
}

const withOthers = (row: SubscriptionRow, others: readonly Removal[]): SubscriptionRow =>
  others.length === 0 ? row : { ...row, others: others.slice(0, OTHERS_MAX) };

const isSameVersion = (a: Version | undefined, b: Version | undefined): boolean =>
  a === undefined || b === undefined ? a === b : compareVersions(a, b) === 0;
