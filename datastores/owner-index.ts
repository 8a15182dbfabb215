// OwnerIndex: the owner records of one shard, and how they answer a question (shard-store.ts D3, D4 and D5). In
// memory; the store that uses it keeps the records on disk.
//
//   O1. The most specific record that covers a filter decides: a spread part before a pin before the longest hash
//       prefix, the longest literal prefix among groups.
//   O2. A question is answered `moved` when the deciding record is `moved`, whatever the asker knows, or when no record
//       covers the filter: the rows are not here, and an empty answer would be wrong. The epoch returned is never below
//       the asker's.
//   O3. A question about a group includes the slices that were carved out of it and are here: the asker may not know
//       yet that it must ask for them separately, and no record says from which epoch on it does. An asker that asks
//       for both gets those rows twice, and keeps each once. Slices that are elsewhere, or still being received, are
//       left out.
//   O4. When one part of a spread topic has moved away since the asker's epoch, the asker is redirected; and also when
//       the slice that held the topic before has, since that asker may look for all of the topic there. It is
//       redirected too when no part is here.
//   O5. A slice that is still being received answers only askers that can know of its coming: its record has the epoch
//       that it had at its source, so an older asker may be looking for an owner from before that.
//   O6. A record with a time limit counts as `moved` when the time is over: this store may have missed later writes,
//       and nobody could tell it.
//   O7. When a range is erased, records within it are forgotten (D5): no record of a slice remains when the slice
//       around it comes back. Slices within the range that are here, or being received, by a later record than the
//       caller's are not erased (shard-store.ts D5): a part of the range has come back since, or the topic in another
//       division.
//   O8. A row is not accepted when the most specific record that covers it is `moved` (shard-store.ts D8): it comes
//       late, and nobody who asks here would find it. For a spread topic the record of its client's part decides: the
//       parts that are here would otherwise answer with rows of other parts.
//   O9. A topic that was spread, was merged elsewhere and came back in another division has records of both divisions,
//       and of the whole once those parts are merged here: the later record counts. The record of the whole replaces
//       earlier ones of parts, so the record of the hash slice that holds the topic then need not be later.
//   O10. A record that was forgotten is remembered in memory for a while: an `own` that was sent before and comes late
//        would otherwise cut its slice out of the one around it again.
//
// An asker's epoch is that of its whole pointer table. So an asker that knows of a move asks elsewhere for what has
// moved, and is not redirected when it asks for what has stayed.

import { type Epoch, epoch, type SliceKey } from '../schemas/ids.ts';
import type { DisownRight, EraseRight, OwnerRecord, SliceRange } from '../state/effects.ts';
import {
  filterHash,
  groupSlice,
  isOtherDivision,
  isWithin,
  parseSlice,
  partitionOf,
  pinSlice,
  placeOf,
  ROOT_KEY,
} from '../state/keys.ts';
import { SliceTree } from '../state/slice-tree.ts';
import { compareUtf8 } from '../state/utf8.ts';

/**
 * How to answer a question about a topic in a group: `includes` says, by the length of a filter's literal prefix,
 * whether it belongs to the answer.
 */
export type GroupRuling =
  | { readonly kind: 'moved'; readonly epoch: Epoch }
  | { readonly kind: 'answer'; includes(prefixLength: number): boolean };

const NOTHING: GroupRuling = { kind: 'answer', includes: () => false };

/** Most forgotten records that are remembered (O10): far more than a shard forgets while a call is under way. */
const FORGOTTEN_MAX = 1_000;

export class OwnerIndex {
  readonly partitions: number;
  readonly #now: () => number;
  readonly #records = new Map<SliceKey, OwnerRecord>();
  readonly #slices: SliceTree; // Without spread parts: this shard may have only some of them.
  readonly #spreads = new Map<string, Set<SliceKey>>();
  /** O10; the oldest first. */
  readonly #forgotten = new Map<SliceKey, Pick<OwnerRecord, 'epoch' | 'turn'>>();
  /** Number of records that are `moved`. */
  #left = 0;
  /** No record has a longer literal prefix. It never shrinks: it only limits how much of a topic is examined. */
  #prefixLengthMax = 0;

  /** `now`: the host's clock, for records with a time limit. */
  constructor(partitions: number, now: () => number) {
    this.partitions = partitions;
    this.#now = now;
    this.#slices = new SliceTree(partitions);
  }

  /** Whether a new record is accepted (D4). */
  accepts(owner: OwnerRecord): boolean {
    const known = this.#records.get(owner.slice);
    const before = known ?? this.#forgotten.get(owner.slice);
    if (before === undefined || owner.epoch > before.epoch) return true;
    if (owner.epoch < before.epoch) return false;
    const turns = (owner.turn ?? 0) - (before.turn ?? 0);
    return known === undefined ? turns > 0 : turns >= 0; // O10
  }

  /** Whether rows may be erased by this right (D5). */
  allowsErase(slice: SliceKey, { state, epoch: at, turn = 0 }: EraseRight): boolean {
    const known = this.#records.get(slice);
    return known?.state === state && known.epoch === at && (known.turn ?? 0) === turn;
  }

  /** Whether the record may be forgotten by this right (D5). */
  allowsDisown(slice: SliceKey, { state, epoch: at }: DisownRight): boolean {
    const known = this.#records.get(slice);
    return known === undefined || (known.state === state && known.epoch <= at);
  }

  /** Whether a look-up of the filter is answered here, for an asker with the newest pointers. */
  finds(filter: string): boolean {
    const place = placeOf(filter);
    const partition = partitionOf(place.routingKey, this.partitions);
    const isHere = (key: SliceKey | undefined): boolean => {
      const record = key === undefined ? undefined : this.#records.get(key);
      return record !== undefined && this.#stateOf(record) !== 'moved';
    };
    if (place.trie) return isHere(this.#slices.groupOf(partition, place.prefix));
    const around = this.#slices.concreteSliceOf(filter, partition, '');
    const parts = this.#partsOf(filter, around);
    if (parts === undefined) return isHere(around);
    for (const part of parts) if (isHere(part)) return true;
    return false;
  }

  /** Whether the slice of this row has left (O8). */
  hasLeft(filter: string, clientId: string): boolean {
    if (this.#left === 0) return false;
    const place = placeOf(filter);
    const partition = partitionOf(place.routingKey, this.partitions);
    if (place.trie) return this.#hasMoved(this.#slices.groupOf(partition, place.prefix));
    const around = this.#slices.concreteSliceOf(filter, partition, '');
    return this.#hasMoved(this.#partOf(filter, clientId, around) ?? around);
  }

  /** The slices within the range that have records (O7). */
  within({ slice, except }: SliceRange): SliceKey[] {
    const found: SliceKey[] = [];
    for (const key of this.#records.keys()) {
      if (key === slice || !isWithin(key, slice, this.partitions)) continue;
      if (!except.some((left) => isWithin(key, left, this.partitions))) found.push(key);
    }
    return found;
  }

  /** The part of the range that is erased by this right (O7). */
  erasable(range: SliceRange, { epoch: at }: EraseRight): SliceRange {
    const divided = [...this.#records.keys()].filter((key) => isOtherDivision(key, range.slice));
    const later = [...this.within(range), ...divided].filter((key) => {
      const { state, epoch: known } = this.#records.get(key)!;
      return state !== 'moved' && known > at;
    });
    return later.length === 0 ? range : { ...range, except: [...range.except, ...later] };
  }

  /** The records that are forgotten together with that of the slice: of parts from before it was whole here (O9). */
  forgottenWith(slice: SliceKey): SliceKey[] {
    const known = this.#records.get(slice);
    const whole = parseSlice(slice);
    if (known === undefined || whole?.kind !== 'pin') return [];
    return [...(this.#spreads.get(whole.filter) ?? [])].filter((part) => this.#epochOf(part) < known.epoch);
  }

  put(owner: OwnerRecord): void {
    this.#forgotten.delete(owner.slice);
    if (this.#records.get(owner.slice)?.state === 'moved') this.#left -= 1;
    if (owner.state === 'moved') this.#left += 1;
    this.#records.set(owner.slice, owner);
    const slice = parseSlice(owner.slice);
    if (slice?.kind === 'spread') {
      const parts = this.#spreads.get(slice.filter);
      if (parts === undefined) this.#spreads.set(slice.filter, new Set([owner.slice]));
      else parts.add(owner.slice);
      return;
    }
    this.#slices.add(owner.slice);
    if (slice?.kind === 'group') this.#prefixLengthMax = Math.max(this.#prefixLengthMax, slice.prefix.length);
  }

  delete(key: SliceKey): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    this.#records.delete(key);
    if (record.state === 'moved') this.#left -= 1;
    this.#forgotten.set(key, { epoch: record.epoch, ...(record.turn === undefined ? {} : { turn: record.turn }) }); // O10
    if (this.#forgotten.size > FORGOTTEN_MAX)
      for (const oldest of this.#forgotten.keys()) {
        this.#forgotten.delete(oldest);
        break;
      }
    const slice = parseSlice(key);
    if (slice?.kind === 'spread') {
      const parts = this.#spreads.get(slice.filter);
      parts?.delete(key);
      if (parts?.size === 0) this.#spreads.delete(slice.filter);
    } else this.#slices.remove(key);
  }

  /** All records, by slice. */
  all(): OwnerRecord[] {
    return [...this.#records.values()].sort((a, b) => compareUtf8(a.slice, b.slice));
  }

  /**
   * The epoch to return to the asker when the subscribers of this filter must not be answered here; otherwise
   * `undefined`.
   */
  movedFor(filter: string, asker: Epoch): Epoch | undefined {
    const place = placeOf(filter);
    const partition = partitionOf(place.routingKey, this.partitions);
    if (place.trie) return this.#movedBy(this.#slices.groupOf(partition, place.prefix), asker);
    const around = this.#slices.concreteSliceOf(filter, partition, '');
    const parts = this.#partsOf(filter, around);
    return parts === undefined ? this.#movedBy(around, asker) : this.#movedByParts(parts, around, asker);
  }

  /** How to answer when `topic` is asked of the group `key`. */
  rulingFor(topic: string, key: SliceKey, asker: Epoch): GroupRuling {
    const asked = parseSlice(key);
    if (asked?.kind !== 'group') return { kind: 'moved', epoch: asker };
    const { partition, prefix } = asked;
    let moved = this.#movedBy(this.#slices.groupOf(partition, prefix), asker);
    if (moved !== undefined) return { kind: 'moved', epoch: moved };

    const levels = `${topic}/`;
    if (!levels.startsWith(prefix)) return NOTHING;
    /** Ascending prefix lengths at which another record begins to decide, and whether its rows belong to the answer. */
    const turns: { readonly length: number; readonly included: boolean }[] = [
      { length: prefix.length, included: true },
    ];
    for (
      let end = nextEnd(levels, prefix.length);
      end > 0 && end <= this.#prefixLengthMax;
      end = nextEnd(levels, end)
    ) {
      const record = this.#records.get(groupSlice(partition, levels.slice(0, end)));
      if (record === undefined) continue;
      moved = later(moved, this.#isNews(record, asker) ? record.epoch : undefined);
      turns.push({ length: end, included: this.#stateOf(record) === 'owned' }); // O3
    }
    if (moved !== undefined) return { kind: 'moved', epoch: moved };

    const rootIsHere = partitionOf(ROOT_KEY, this.partitions) === partition;
    const firstLevelIsHere = partitionOf(levels.slice(0, levels.indexOf('/')), this.partitions) === partition;
    return {
      kind: 'answer',
      includes(prefixLength) {
        if (!(prefixLength === 0 ? rootIsHere : firstLevelIsHere)) return false;
        for (let i = turns.length - 1; i >= 0; i--) if (prefixLength >= turns[i]!.length) return turns[i]!.included;
        return false;
      },
    };
  }

  /**
   * The records of a topic's parts; `undefined` when there are none, or when the topic has been whole here since (O9).
   */
  #partsOf(filter: string, around: SliceKey | undefined): ReadonlySet<SliceKey> | undefined {
    const parts = this.#spreads.get(filter);
    if (parts === undefined || around !== pinSlice(filter)) return parts;
    for (const part of parts) if (this.#epochOf(part) >= this.#epochOf(around)) return parts;
    return undefined;
  }

  /** The part of a spread topic that has the client, if there is a valid record of it (O9). */
  #partOf(filter: string, clientId: string, around: SliceKey | undefined): SliceKey | undefined {
    let found: SliceKey | undefined;
    for (const key of this.#spreads.get(filter) ?? []) {
      const part = parseSlice(key);
      if (part?.kind !== 'spread' || filterHash(clientId) % part.of !== part.index) continue;
      if (found === undefined || this.#epochOf(found) < this.#epochOf(key)) found = key;
    }
    const isWhole = found !== undefined && around === pinSlice(filter) && this.#epochOf(found) < this.#epochOf(around);
    return isWhole ? undefined : found;
  }

  #hasMoved(key: SliceKey | undefined): boolean {
    return key !== undefined && this.#records.get(key)!.state === 'moved';
  }

  #epochOf(key: SliceKey): Epoch {
    return this.#records.get(key)!.epoch;
  }

  /** O2 and O5 for the record that decides. */
  #movedBy(key: SliceKey | undefined, asker: Epoch): Epoch | undefined {
    const record = key === undefined ? undefined : this.#records.get(key);
    if (record === undefined) return asker;
    return this.#stateOf(record) === 'moved' || this.#isNews(record, asker) ? later(record.epoch, asker) : undefined;
  }

  /** O4. */
  #movedByParts(parts: ReadonlySet<SliceKey>, around: SliceKey | undefined, asker: Epoch): Epoch | undefined {
    let moved: Epoch | undefined;
    let isHere = false;
    for (const key of around === undefined ? parts : [...parts, around]) {
      const record = this.#records.get(key)!;
      if (this.#isNews(record, asker)) moved = later(moved, record.epoch);
      else if (this.#stateOf(record) !== 'moved' && key !== around) isHere = true;
    }
    return moved ?? (isHere ? undefined : asker);
  }

  /** The state of a record, with its time limit (O6). */
  #stateOf({ state, until }: OwnerRecord): OwnerRecord['state'] {
    return until !== undefined && this.#now() > until ? 'moved' : state;
  }

  /** True when the asker does not know yet that the slice is here. */
  #isNews(record: OwnerRecord, asker: Epoch): boolean {
    return this.#stateOf(record) !== 'owned' && record.epoch > asker;
  }
}

function later(a: Epoch | undefined, b: Epoch | undefined): Epoch | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return epoch(Math.max(a, b));
}

/** The end of the level that begins at `from`, including its '/'; 0 at the end of the text. */
const nextEnd = (levels: string, from: number): number => levels.indexOf('/', from) + 1;
