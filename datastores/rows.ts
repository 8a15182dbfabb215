// Rows: the rules for subscription rows that all stores share, as pure functions.
//
//   R1. Versions are ordered by incarnation, then offset (state/effects.ts).
//   R2. A cursor is the place of a row, `filter NUL clientId`; a filter contains no NUL. A cursor from one store is
//       valid in every other store, so two stores of a kind can be compared piece by piece.
//   R3. Order of rows, by UTF-8 bytes: key-value stores by (partition, filter hash, filter, client), trie stores by
//       (partition, literal prefix, filter, client). Hash slices, pins and groups are contiguous in this order.

import type { Cursor, SubscriptionRow } from '../state/effects.ts';
import { filterHash, placeOf } from '../state/keys.ts';
import { packOptions } from '../state/subscription-options.ts';
import { compareUtf8 } from '../state/utf8.ts';
import type { Subscriber } from './shard-store.ts';

export interface RowPlace {
  readonly filter: string;
  readonly clientId: string;
}

/** R2. */
export const cursorAt = (row: RowPlace): Cursor => `${row.filter}\u0000${row.clientId}`;

/** The place that a cursor names; a cursor without NUL sorts before all clients of its filter. */
export function placeAt(cursor: Cursor): RowPlace {
  const nul = cursor.indexOf('\u0000');
  return nul < 0 ? { filter: cursor, clientId: '' } : { filter: cursor.slice(0, nul), clientId: cursor.slice(nul + 1) };
}

/** Compares places of one partition (R3). */
export function comparePlaces(a: RowPlace, b: RowPlace): number {
  const [left, right] = [placeOf(a.filter), placeOf(b.filter)];
  const first = left.trie ? compareUtf8(left.prefix, right.prefix) : filterHash(a.filter) - filterHash(b.filter);
  return first || compareUtf8(a.filter, b.filter) || compareUtf8(a.clientId, b.clientId);
}

/** What a look-up returns of a live row. */
export function subscriberOf({ filter, clientId, brokerId, qos, options }: SubscriptionRow): Subscriber {
  return options === undefined ? { filter, clientId, brokerId, qos } : { filter, clientId, brokerId, qos, options };
}

/** Approximate size of a row's version, flags, time and length fields in any store, without its texts. */
const ROW_FIXED_BYTES = 32;

/** The size of a row when it is counted or copied: the same number in every store. */
export function rowBytes(row: SubscriptionRow): number {
  return ROW_FIXED_BYTES + utf8Bytes(row.filter) + utf8Bytes(row.clientId) + utf8Bytes(row.brokerId);
}

function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Each half of a surrogate pair adds two bytes; the pair has four.
    if (code > 0x7f) bytes += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return bytes;
}

/**
 * A running 64-bit digest over rows in order: two lanes, each FNV-1a with its own multiplier and murmur3's
 * finaliser. It detects differing copies, but not deliberate forgeries: both sides digest the same accepted events.
 */
export class RowDigest {
  #low = 0x811c9dc5;
  #high = 0x9747b28c;
  #rows = 0;
  #hidden = 0;
  readonly #finds: (filter: string) => boolean;
  #last: { readonly filter: string; readonly found: boolean } | undefined;

  /** `finds` says whether the store answers look-ups of a filter. */
  constructor(finds: (filter: string) => boolean = () => true) {
    this.#finds = finds;
  }

  add(row: SubscriptionRow): void {
    this.#rows += 1;
    if (this.#last?.filter !== row.filter) this.#last = { filter: row.filter, found: this.#finds(row.filter) };
    if (!this.#last.found) this.#hidden += 1;
    this.#text(row.filter);
    this.#text(row.clientId);
    this.#text(row.brokerId);
    this.#text(`${row.qos} ${row.version.incarnation} ${row.version.offset} ${row.gone ? 1 : 0}`);
    if (row.options !== undefined) this.#text(`options ${packOptions(row.options)}`);
    if (row.since !== undefined) this.#text(`since ${row.since.incarnation} ${row.since.offset}`);
    for (const { brokerId, version } of row.others ?? [])
      this.#text(`${version.incarnation} ${version.offset} ${brokerId}`);
  }

  result(): { readonly rows: number; readonly digest: string; readonly hidden: number } {
    return { rows: this.#rows, digest: hex(finish(this.#low)) + hex(finish(this.#high)), hidden: this.#hidden };
  }

  #text(text: string): void {
    let low = this.#low;
    let high = this.#high;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code, 0x85ebca6b);
      high ^= high >>> 15;
    }
    // No text contains this value as a code unit, so that different lists of texts never give the same sequence.
    this.#low = Math.imul(low ^ 0x10000, 0x01000193);
    this.#high = Math.imul(high ^ 0x10000, 0x85ebca6b);
  }
}

function finish(lane: number): number {
  let h = lane ^ (lane >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

const hex = (value: number): string => value.toString(16).padStart(8, '0');
