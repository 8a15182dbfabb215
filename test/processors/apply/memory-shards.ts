// Memory shards: performs effects on maps, by the promises of datastores/shard-store.ts (D1 to D4). Slow and plain; rows
// merge by the rule that the stores share, which their own suite holds to a model. A shard can be down for the effects of moves.

import { mergeRows } from '../../../datastores/merge.ts';
import { subscriptionKey } from '../../../processors/apply/subscriptions.ts';
import type { Epoch, ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { Effect, Outcome, OwnerRecord, SliceRange, SubscriptionRow, Version } from '../../../state/effects.ts';
import { filterHash, leadingBits, parseSlice, partitionOf, placeOf } from '../../../state/keys.ts';
import { compareUtf8 } from '../../../state/utf8.ts';

export interface Shard {
  readonly rows: Map<string, SubscriptionRow>;
  readonly owners: Map<SliceKey, OwnerRecord>;
}

export type Found = { readonly kind: 'found'; readonly live: boolean } | { readonly kind: 'moved' };

export class MemoryShards {
  readonly shards = new Map<ShardId, Shard>();
  readonly down = new Set<ShardId>();
  /** Shards that have lost their data, and what that was. */
  readonly lost = new Map<ShardId, Shard>();
  readonly partitions: number;
  copiesTombstones = true;
  checksVersions = true;
  checksBrokers = true;
  stale = 0;
  /** The clock of every shard. */
  nowMs = 0;

  constructor(partitions: number) {
    this.partitions = partitions;
  }

  shard(id: ShardId): Shard {
    let shard = this.shards.get(id);
    if (shard === undefined) {
      shard = { rows: new Map(), owners: new Map() };
      this.shards.set(id, shard);
    }
    return shard;
  }

  lose(id: ShardId): void {
    this.lost.set(id, this.shard(id));
    this.shards.delete(id);
  }

  /** It was not lost after all. */
  find(id: ShardId): void {
    this.shards.set(id, this.lost.get(id)!);
    this.lost.delete(id);
  }

  perform(effect: Effect): Outcome {
    const touchedIds = [
      ...('shard' in effect ? [effect.shard] : [effect.to]),
      ...('to' in effect && 'from' in effect ? [effect.from as ShardId] : []),
    ];
    const lost = touchedIds.find((id) => this.lost.has(id));
    if (lost !== undefined) return this.#lostOutcome(effect, lost);
    if ('move' in effect && effect.move !== undefined) {
      const touched = [...('from' in effect ? [effect.from] : []), 'to' in effect ? effect.to : effect.shard];
      const shard = touched.find((id) => this.down.has(id));
      if (shard !== undefined && !(effect.kind === 'write' && effect.holdMs === Number.POSITIVE_INFINITY)) {
        if (effect.kind === 'write' && effect.holdMs !== undefined) this.nowMs += effect.holdMs; // Repeated for so long.
        return { kind: 'failed', move: effect.move, effect: effect.kind, shard, lost: false, reason: 'down' };
      }
    }
    switch (effect.kind) {
      case 'provision':
        this.shard(effect.shard);
        return {
          kind: 'provisioned',
          shard: effect.shard,
          datastoreType: effect.datastoreType,
          state: 'ready',
          storeKind: 'KEY_VALUE',
          instanceId: `i-${effect.shard}`,
          address: '',
          reason: '',
        };
      case 'release':
        return { kind: 'released', shard: effect.shard, refused: this.#released(effect.shard) };
      case 'write': {
        const applied = effect.rows.filter((row) => this.#put(effect.shard, row)).length;
        this.stale += effect.rows.length - applied;
        return { kind: 'written', shard: effect.shard, applied, stale: effect.rows.length - applied };
      }
      case 'own': {
        const { owners } = this.shard(effect.shard);
        const before = owners.get(effect.owner.slice);
        const { slice, state, epoch, turn = 0 } = effect.owner;
        const isLater = before === undefined || epoch > before.epoch;
        if (isLater || (epoch === before.epoch && turn >= (before.turn ?? 0))) owners.set(slice, effect.owner);
        if (effect.move === undefined) return { kind: 'written', shard: effect.shard, applied: 0, stale: 0 };
        return { kind: 'owned', move: effect.move, shard: effect.shard, slice, state };
      }
      case 'disown':
        {
          const { owners } = this.shard(effect.shard);
          const known = owners.get(effect.slice);
          if (known?.state === effect.right.state && known.epoch <= effect.right.epoch) owners.delete(effect.slice);
        }
        return { kind: 'written', shard: effect.shard, applied: 0, stale: 0 };
      case 'copy': {
        const page = this.scan(effect.from, effect.range, effect.cursor, effect.limit);
        for (const row of page.rows) if (!row.gone || this.copiesTombstones) this.#put(effect.to, row);
        const { cursor, done } = page;
        return {
          kind: 'copied',
          move: effect.move,
          rows: page.rows.length,
          bytes: page.rows.length * 50,
          cursor,
          done,
        };
      }
      case 'compare': {
        const page = this.scan(effect.from, effect.range, effect.cursor, effect.limit);
        const there = this.scan(effect.to, effect.range, effect.cursor, Number.MAX_SAFE_INTEGER).rows.filter(
          (row) => page.done || keyOf(row) <= (page.cursor ?? ''),
        );
        const seen = (rows: readonly SubscriptionRow[]) =>
          JSON.stringify(rows.filter((row) => !row.gone || this.copiesTombstones));
        const equal = seen(page.rows) === seen(there);
        const { cursor, done } = page;
        return { kind: 'compared', move: effect.move, rows: page.rows.length, equal, cursor, done };
      }
      case 'read': {
        const { rows, cursor, done } = this.scan(effect.shard, effect.range, effect.after, effect.limit);
        const about = { kind: 'read', shard: effect.shard, slice: effect.range.slice } as const;
        return { ...about, rows, upTo: done ? undefined : cursor, away: '' };
      }
      case 'fill': {
        const { rows, upTo } = effect.passage;
        for (const row of rows) this.#put(effect.to, row);
        const bytes = rows.length * 50;
        return { kind: 'copied', move: effect.move, rows: rows.length, bytes, cursor: upTo, done: upTo === undefined };
      }
      case 'match': {
        const { rows, after, upTo } = effect.passage;
        // In the order of the table, which passages are stretches of.
        const isAfter = (row: SubscriptionRow, cursor: string | undefined): boolean =>
          cursor === undefined || compareUtf8(tableKey(keyOf(row)), tableKey(cursor)) > 0;
        const there = this.rowsOf(effect.to, effect.range)
          .filter((row) => !row.gone && isAfter(row, after) && (upTo === undefined || !isAfter(row, upTo)))
          .sort((a, b) => compareUtf8(tableKey(keyOf(a)), tableKey(keyOf(b))));
        const seen = (each: readonly SubscriptionRow[]) =>
          each.map((row) => [keyOf(row), row.brokerId, row.qos, row.version.incarnation, row.version.offset].join());
        const equal = JSON.stringify(seen(there)) === JSON.stringify(seen(rows));
        return {
          kind: 'compared',
          move: effect.move,
          rows: rows.length,
          equal,
          cursor: upTo,
          done: upTo === undefined,
        };
      }
      case 'erase': {
        const known = this.shard(effect.shard).owners.get(effect.range.slice);
        const { state, epoch, turn = 0 } = effect.right;
        const refused = known?.state !== state || known.epoch !== epoch || (known.turn ?? 0) !== turn;
        if (refused) return { kind: 'erased', move: effect.move, shard: effect.shard, rows: 0, done: true, refused };
        const { rows } = this.scan(effect.shard, effect.range, undefined, effect.limit);
        for (const row of rows) this.shard(effect.shard).rows.delete(keyOf(row));
        const done = rows.length < effect.limit;
        return { kind: 'erased', move: effect.move, shard: effect.shard, rows: rows.length, done, refused };
      }
      case 'count': {
        const { rows } = this.scan(effect.shard, effect.range, undefined, Number.MAX_SAFE_INTEGER);
        const entries = rows.filter((row) => !row.gone).length;
        return { kind: 'counted', slice: effect.range.slice, entries, bytes: entries * 50 };
      }
      case 'check':
      case 'mend':
        return { kind: 'mended', check: effect.check, shard: effect.shard, away: 'no check asks here' };
    }
  }

  /** datastores/perform.ts P2 and P8. */
  #lostOutcome(effect: Effect, shard: ShardId): Outcome {
    const nothing = { kind: 'written', shard, applied: 0, stale: 0 } as const;
    if (effect.kind === 'write' && effect.move === undefined) {
      const { rows, away } = effect;
      if (away === undefined) throw new Error(`I14: a write to ${shard}, which is lost, is repeated for ever`);
      return { kind: 'unwritten', shard, rows, isDrain: away === 'drain', isLost: true, reason: 'lost' };
    }
    if ('move' in effect && effect.move !== undefined)
      return { kind: 'failed', move: effect.move, effect: effect.kind, shard, lost: true, reason: 'lost' };
    return nothing;
  }

  rowsOf(id: ShardId, range: SliceRange): readonly SubscriptionRow[] {
    return this.scan(id, range, undefined, Number.MAX_SAFE_INTEGER).rows;
  }

  /** D3: what a reader with a pointer of epoch `asker` is told about one subscription. */
  ask(id: ShardId, filter: string, clientId: string, asker: Epoch): Found {
    const { rows, owners } = this.shard(id);
    const covering = [...owners.values()].filter(({ slice }) => covers(slice, filter, clientId, this.partitions));
    const owner = covering.sort((a, b) => specificity(b.slice) - specificity(a.slice))[0];
    if (owner === undefined || owner.state === 'moved') return { kind: 'moved' };
    if (owner.until !== undefined && this.nowMs > owner.until) return { kind: 'moved' };
    if (owner.state === 'receiving' && owner.epoch > asker) return { kind: 'moved' };
    const row = rows.get(`${filter}\u0000${clientId}`);
    return { kind: 'found', live: row !== undefined && !row.gone };
  }

  scan(id: ShardId, range: SliceRange, cursor: string | undefined, limit: number) {
    const within = [...this.shard(id).rows.values()]
      .filter((row) => covers(range.slice, row.filter, row.clientId, this.partitions))
      .filter((row) => !range.except.some((slice) => covers(slice, row.filter, row.clientId, this.partitions)))
      .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
      .filter((row) => cursor === undefined || keyOf(row) > cursor);
    const rows = within.slice(0, limit);
    const last = rows.at(-1);
    return { rows, cursor: last === undefined ? cursor : keyOf(last), done: within.length <= limit };
  }

  /** D6: what partitionStates in the shard; '' when it has gone. */
  #released(id: ShardId): string {
    const { rows, owners } = this.shard(id);
    const records = [...owners.values()];
    const isLeft = (row: SubscriptionRow): boolean =>
      records.some(({ slice }) => covers(slice, row.filter, row.clientId, this.partitions));
    if (records.some(({ state }) => state !== 'moved')) return 'a slice partitionStates here';
    if ([...rows.values()].some((row) => !row.gone && !isLeft(row))) return 'rows are here';
    this.shards.delete(id);
    return '';
  }

  #put(id: ShardId, row: SubscriptionRow): boolean {
    const { rows } = this.shard(id);
    const before = rows.get(keyOf(row));
    if (!this.checksVersions) rows.set(keyOf(row), row);
    else if (!this.checksBrokers) {
      if (before !== undefined && !isAbove(row.version, before.version)) return false;
      rows.set(keyOf(row), row);
    } else {
      const merged = mergeRows(before, row);
      if (merged.is === 'stale') return false;
      rows.set(keyOf(row), merged.row);
    }
    return true;
  }
}

/** Whether the filter lies within the slice, slices carved out of it included. */
export function covers(slice: SliceKey, filter: string, clientId: string, partitions: number): boolean {
  const parsed = parseSlice(slice);
  const place = placeOf(filter);
  const partition = partitionOf(place.routingKey, partitions);
  switch (parsed?.kind) {
    case 'hash':
      return (
        !place.trie &&
        parsed.partition === partition &&
        leadingBits(filterHash(filter), parsed.bits.length) === parsed.bits
      );
    case 'pin':
      return parsed.filter === filter;
    case 'spread':
      return parsed.filter === filter && filterHash(clientId) % parsed.of === parsed.index;
    case 'group':
      return place.trie && parsed.partition === partition && place.prefix.startsWith(parsed.prefix);
    default:
      return false;
  }
}

const specificity = (slice: SliceKey): number => {
  const parsed = parseSlice(slice);
  if (parsed?.kind === 'hash') return parsed.bits.length;
  if (parsed?.kind === 'group') return parsed.prefix.length;
  return parsed?.kind === 'pin' ? 1_000 : 1_001;
};

const tableKey = (cursor: string): string => {
  const nul = cursor.indexOf('\u0000');
  return subscriptionKey(cursor.slice(0, nul), cursor.slice(nul + 1));
};
const keyOf = (row: SubscriptionRow): string => `${row.filter}\u0000${row.clientId}`;
const isAbove = (a: Version, b: Version): boolean =>
  a.incarnation > b.incarnation || (a.incarnation === b.incarnation && a.offset > b.offset);
