// Check: the live rows of a shard held against what should be there, and what differs mended.
//
//   X1. Compared is what a look-up would tell: broker, QoS, options, and the version that decides what comes later. What a
//       shard remembers beside that (tombstones, removals by other brokers) is its own.
//   X2. A comparison ends where the shard's page ends, or what was to be compared: what lies behind is left to the next one.
//   X3. Writing mends a difference where the row that is there gives way (merge.ts). One that does not, or should not be there,
//       is forgotten before, as it was seen (shard-store.ts D8).
//   X4. A row that should be on another shard is forgotten only where this shard itself says that look-ups do not find it:
//       whoever has the slice come back here by now has said so before its first row came.

import type { Cursor, Difference, Effect, SubscriptionRow } from '../state/effects.ts';
import { compareVersions } from '../state/effects.ts';
import { placeKey } from '../state/keys.ts';
import { packOptions } from '../state/subscription-options.ts';
import { compareUtf8 } from '../state/utf8.ts';
import { mergeRows } from './merge.ts';
import { OwnerIndex } from './owner-index.ts';
import { cursorAt, placeAt, type RowPlace } from './rows.ts';
import type { ShardStore } from './shard-store.ts';

type Stretch = Pick<Extract<Effect, { kind: 'check' }>, 'range' | 'after' | 'upTo' | 'rows' | 'limit'>;

export interface Compared {
  readonly equal: number;
  readonly differences: readonly Difference[];
  /** How far it was compared; `undefined` at the end of the range. */
  readonly upTo: Cursor | undefined;
}

/** X1, X2. `rows`: the live ones that should be there, in the order of places. */
export async function compareStretch(
  store: ShardStore,
  { range, after, upTo, rows, limit }: Stretch,
): Promise<Compared> {
  const page = await store.scan(range, after, limit);
  const isBehind = (place: RowPlace, end: Cursor): boolean => compareUtf8(orderOf(place), orderOf(placeAt(end))) > 0;
  const within = upTo === undefined ? page.rows : page.rows.filter((row) => !isBehind(row, upTo));
  const isWhole = page.done || within.length < page.rows.length;
  const reached = isWhole ? upTo : page.cursor;
  const wanted = isWhole || reached === undefined ? rows : rows.filter((row) => !isBehind(row, reached));

  const there = new Map(within.map((row) => [cursorAt(row), row]));
  const differences: Difference[] = [];
  let equal = 0;
  for (const row of wanted) {
    const place = cursorAt(row);
    const found = there.get(place);
    there.delete(place);
    if (found === undefined) differences.push({ wanted: row });
    else if (isServedAlike(found, row)) equal += 1;
    else differences.push({ wanted: row, found });
  }
  for (const found of there.values()) if (!found.gone) differences.push({ found });
  return { equal, differences, upTo: reached };
}

/** X3, X4. Why not all was mended; '' when it was. */
export async function mendRows(
  store: ShardStore,
  differences: readonly Difference[],
  stray: boolean,
  partitions: number,
): Promise<string> {
  const forgotten: SubscriptionRow[] = [];
  const written: SubscriptionRow[] = [];
  for (const { wanted, found } of differences) {
    if (wanted !== undefined) written.push(wanted);
    const givesWay = wanted !== undefined && isServedAlike(mergeRows(found, wanted).row, wanted);
    if (found !== undefined && !givesWay) forgotten.push(found);
  }
  if (stray) {
    const owners = new OwnerIndex(partitions, LEASES_LAST);
    for (const owner of await store.owners()) owners.put(owner);
    const served = forgotten.find((row) => owners.finds(row.filter));
    if (served !== undefined) return `look-ups there find ${served.filter}, which should be elsewhere`;
  }
  if (forgotten.length > 0) await store.forget(forgotten);
  if (written.length > 0) await store.write(written);
  return '';
}

/** A record that speaks for a time counts as if that were not over. */
const LEASES_LAST = (): number => 0;

const orderOf = ({ filter, clientId }: RowPlace): string => placeKey(filter, clientId);

function isServedAlike(a: SubscriptionRow, b: SubscriptionRow): boolean {
  if (a.gone !== b.gone || a.brokerId !== b.brokerId || a.qos !== b.qos) return false;
  return compareVersions(a.version, b.version) === 0 && packOptions(a.options) === packOptions(b.options);
}
