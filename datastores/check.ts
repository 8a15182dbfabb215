// Check: compares the live rows of a shard with the rows that should be there, and corrects differences.
//
//   X1. Compared is what a look-up returns: broker, QoS, options, and the version, which decides what is later.
//       Tombstones and remembered removals by other brokers are the shard's own and are not compared.
//   X2. A comparison ends where the shard's page ends, or the rows to compare; what follows is left to the next
//       comparison.
//   X3. Writing the wanted row corrects a difference when it wins over the shard's row (merge.ts). A row that would not
//       lose, or should not be there, is forgotten first, exactly as it was seen (shard-store.ts D9).
//   X4. A row that should be on another shard is forgotten only when this shard itself does not find it in look-ups:
//       if the slice has come back here meanwhile, its owner record was written before its first row.

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

/** Compares a stretch (X1, X2). `rows`: the live rows that should be there, in key order. */
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

/** Corrects rows (X3, X4). Returns why not all were corrected; '' when they were. */
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

/** An owner record with a time limit counts as if it had not run out. */
const LEASES_LAST = (): number => 0;

const orderOf = ({ filter, clientId }: RowPlace): string => placeKey(filter, clientId);

function isServedAlike(a: SubscriptionRow, b: SubscriptionRow): boolean {
  if (a.gone !== b.gone || a.brokerId !== b.brokerId || a.qos !== b.qos) return false;
  return compareVersions(a.version, b.version) === 0 && packOptions(a.options) === packOptions(b.options);
}
