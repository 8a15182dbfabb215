// Oracle: a model outside of the product that hears every record of the log as it becomes visible, and holds what readers
// are told, what stores keep and what the planner publishes to it. It shares no rule with the product but the keys that
// say where a filter belongs.
//
//   O1. A subscription is due once the position behind its event is committed: from then on it is found, or from then on it
//       is not. Until then either answer is right; so it is while events about it come during a question.
//       What a task keeps for a shard that is away counts as applied only once it is there (away.ts A1): meanwhile a shard that
//       is back for readers, and has not been asked by the task, answers as of before.
//   O2. Whether an event counts is told by the order of the log: the newest SUBSCRIBE does, until its own broker removes it.

import type { Subscriber } from '../../datastores/shard-store.ts';
import type { Append, Position } from '../../log/local/log-storage.ts';
import { SPILL, subscriptionAt, subscriptionTable } from '../../processors/apply/subscriptions.ts';
import { changelogOf } from '../../runtime/ports.ts';
import type { Codec } from '../../schemas/codec.ts';
import type { ShardId, SliceKey } from '../../schemas/ids.ts';
import type {
  Command,
  PointerEntry,
  PointerRecord,
  ShardEntry,
  Subscription,
  SubscriptionEvent,
  WildcardEvents,
} from '../../schemas/records.ts';
import { filterHash, leadingBits, parseSlice, partitionOf, placeOf } from '../../state/keys.ts';
import { WORK } from '../../topology/graph.ts';
import { APP } from './log.ts';
import { isFilter, isMatch } from './mqtt-rules.ts';

export type Invariant =
  | 'I1'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I10'
  | 'I11'
  | 'I14'
  | 'I15'
  | 'bug';

export class Breach extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, what: string) {
    super(`${invariant}: ${what}`);
    this.invariant = invariant;
  }
}

export interface Live {
  readonly brokerId: string;
  readonly qos: number;
}

interface Key {
  readonly text: string;
  readonly filter: string;
  readonly clientId: string;
  /** After each event, in the order of the log; `undefined` where nobody subscribes. */
  readonly states: (Live | undefined)[];
  /** How many of the states are due: the last of these is what is to be found. */
  due: number;
  /** While rows of it wait for shards: how many states were due before that. */
  floor: number | undefined;
  /** Shards that they wait for. */
  readonly waitsFor: Set<string>;
  acknowledged: number;
}

/** What a reader is asking. */
export interface Question {
  readonly topic: string;
  readonly dueAtStart: Map<Key, number>;
}

/** The pointer table as its records say, after one of its changes. */
export interface Table {
  readonly epoch: number;
  /** The offset after its last record. */
  readonly position: number;
  readonly slices: ReadonlyMap<SliceKey, { readonly shards: readonly ShardId[]; readonly mode: PointerEntry['mode'] }>;
  readonly shards: ReadonlyMap<ShardId, ShardEntry>;
}

/** The pointer table of a reader. */
export interface ReadTable {
  readonly epoch: number;
  readonly pointers: Iterable<{ readonly slice: SliceKey; readonly shards: readonly ShardId[] }>;
  readonly resolve: (filter: string) => SliceKey | undefined;
}

export interface OracleParts {
  readonly partitions: number;
  readonly codec: Codec;
  readonly broken: (breach: Breach) => void;
  readonly told: {
    /** The pointer table has changed. */
    table(before: Table, now: Table): void;
    /** Events have become due. */
    due(filters: readonly string[]): void;
  };
}

const WORK_CHANGELOG = changelogOf(APP, WORK.name);
const SPILLED = `${subscriptionTable.name}/${SPILL}`;
const keyText = (filter: string, clientId: string): string => `${filter}\u0000${clientId}`;

export class Oracle {
  events = 0;
  questions = 0;
  judged = 0;
  redirects = 0;
  unanswered = 0;
  /** After each change, by its epoch. */
  readonly tables = new Map<number, Table>();
  readonly #parts: OracleParts;
  readonly #keys = new Map<string, Key>();
  readonly #byFilter = new Map<string, Map<string, Key>>();
  /** By topic: the keys of all filters that match it, as far as there are any. */
  readonly #matching = new Map<string, readonly Map<string, Key>[]>();
  /** By partition of the subscriptions topic: what each offset is about. */
  readonly #events: (Key | undefined)[][];
  /** Concrete events are due with the subscriptions' position, those of tries with that of their own topic. */
  readonly #waiting: { readonly concrete: [number, Key][]; readonly trie: [number, readonly Key[]][] }[];
  readonly #committed = new Map<string, number>();
  readonly #poisoned = new Set<string>();
  readonly #buried = new Set<string>();
  /** What the subscription table has. */
  readonly #kept = new Map<string, Subscription>();
  #table: Table = { epoch: 0, position: 0, slices: new Map(), shards: new Map() };
  #term = 0;
  #change:
    | { readonly epoch: number; readonly term: number; readonly count: number; readonly seen: Set<number> }
    | undefined;

  constructor(parts: OracleParts) {
    this.#parts = parts;
    this.#events = Array.from({ length: parts.partitions }, () => []);
    this.#waiting = Array.from({ length: parts.partitions }, () => ({ concrete: [], trie: [] }));
  }

  get table(): Table {
    return this.#table;
  }

  /** What has just become visible in the log, at once. */
  written(appends: readonly Append[], positions: readonly Position[]): void {
    for (const append of appends) {
      switch (append.topic) {
        case 'subscriptions':
          this.#hearSubscriptions(append);
          break;
        case 'wildcard-subscriptions':
          this.#hearWildcards(append);
          break;
        case 'pointer-table':
          this.#hearPointers(append);
          break;
        case 'commands':
          this.#hearCommands(append);
          break;
        case WORK_CHANGELOG:
          this.#hearChangelog(append);
          break;
        case 'subscription-table':
          this.#hearTable(append);
          break;
        case 'dead-letters':
          this.#hearLetters(append);
      }
    }
    for (const position of positions) if (position.group === 'work') this.#hearPosition(position);
  }

  /** A broker's event was acknowledged. */
  acknowledged(filter: string, clientId: string): void {
    const key = this.#keys.get(keyText(filter, clientId));
    if (key !== undefined) key.acknowledged++;
    if (key === undefined || key.acknowledged > key.states.length)
      this.#break('I1', `an event of ${clientId} about ${filter} was acknowledged, and is not in the log`);
  }

  /** What is to be found of a filter's client, as far as it is due. */
  liveOf(filter: string, clientId: string): Live | undefined {
    const key = this.#keys.get(keyText(filter, clientId));
    return key === undefined ? undefined : key.states[key.due - 1];
  }

  get filters(): IterableIterator<string> {
    return this.#byFilter.keys();
  }

  /** Events that are not due, and subscriptions that wait for shards. */
  get waiting(): number {
    let waiting = 0;
    for (const { due, states, floor } of this.#keys.values())
      waiting += states.length - due + (floor === undefined ? 0 : 1);
    return waiting;
  }

  get isSettled(): boolean {
    return this.waiting === 0;
  }

  get liveCount(): number {
    let count = 0;
    for (const { states, due } of this.#keys.values()) if (states[due - 1] !== undefined) count++;
    return count;
  }

  open(topic: string): Question {
    const dueAtStart = new Map<Key, number>();
    for (const key of this.#about(topic)) dueAtStart.set(key, key.floor ?? key.due);
    return { topic, dueAtStart };
  }

  /** I1, I2, I3 (O1). */
  close({ topic, dueAtStart }: Question, answer: readonly Subscriber[], who: string): void {
    this.questions++;
    const found = new Map<string, Subscriber>();
    let matching: string | undefined;
    for (const each of answer) {
      const text = keyText(each.filter, each.clientId);
      if (found.has(text))
        this.#break('I3', `${who} was told twice that ${each.clientId} subscribes to ${each.filter}`);
      found.set(text, each);
      if (each.filter === matching) continue;
      matching = each.filter;
      if (!isMatch(matching, topic))
        this.#break('I3', `${who} was told that ${matching} matches ${topic}, and it does not`);
    }
    for (const key of this.#about(topic)) {
      const dueThen = dueAtStart.get(key) ?? 0;
      const from = Math.max(0, dueThen - 1);
      const told = found.get(key.text);
      if (key.states.length - from + (dueThen === 0 ? 1 : 0) === 1) this.judged++;
      if (isPossible(key.states, from, dueThen === 0, told)) continue;
      const possible = dueThen === 0 ? [undefined, ...key.states] : key.states.slice(from);
      const what = `${key.clientId} at ${key.filter}, asked for ${topic} by ${who}`;
      if (told === undefined) this.#break('I1', `missed ${what}`);
      else if (possible.every((live) => live === undefined)) this.#break('I2', `a ghost: ${what}`);
      else
        this.#break(
          'I3',
          `${what}: was told broker ${told.brokerId} with QoS ${told.qos}, and it is ${textOf(possible)}`,
        );
    }
    for (const text of found.keys())
      if (!this.#keys.has(text)) this.#break('I2', `${text.replace('\u0000', ' of ')} was never there`);
  }

  /** I10, I11: a reader's table is that of its epoch, whole. */
  checkReader({ epoch, pointers, resolve }: ReadTable, filters: readonly string[], who: string): void {
    if (epoch === 0) return;
    const table = this.tables.get(epoch);
    if (table === undefined) {
      this.#break('I10', `${who} is at epoch ${epoch}, which nobody has published`);
      return;
    }
    let known = 0;
    for (const { slice, shards } of pointers) {
      known++;
      const expected = table.slices.get(slice)?.shards;
      if (String(expected) !== String(shards))
        this.#break('I11', `${who} at epoch ${epoch} has ${slice} on ${shards}, and the topic says ${expected}`);
    }
    if (known !== table.slices.size)
      this.#break('I11', `${who} at epoch ${epoch} knows ${known} slices of ${table.slices.size}`);
    for (const filter of filters) {
      const owner = ownerIn(table, filter, '', this.#parts.partitions);
      const found = resolve(filter);
      if (found !== owner)
        this.#break('I5', `${who} at epoch ${epoch} looks for ${filter} in ${found}, and it belongs to ${owner}`);
    }
  }

  /** Every record of each poisoned place has become a dead letter, and no other. */
  checkLetters(): void {
    for (const place of this.#poisoned)
      if (!this.#buried.has(place)) this.#break('I15', `the record at ${place} was refused, and is no dead letter`);
  }

  /** The rows of a shard that no pointer names for them, or that are not as the log says. `rows` are all that it holds. */
  checkRows(
    shard: ShardId,
    rows: readonly {
      readonly filter: string;
      readonly clientId: string;
      readonly brokerId: string;
      readonly gone: boolean;
    }[],
  ): void {
    for (const row of rows) {
      const owner = ownerIn(this.#table, row.filter, row.clientId, this.#parts.partitions);
      const home = owner === undefined ? undefined : this.#table.slices.get(owner);
      if (home?.shards.includes(shard) !== true) {
        this.#break(
          'I7',
          `an orphan: ${row.clientId} at ${row.filter} is on ${shard}, and ${owner} is on ${home?.shards}`,
        );
        continue;
      }
      const live = this.liveOf(row.filter, row.clientId);
      if (row.gone ? live !== undefined : live?.brokerId !== row.brokerId)
        this.#break(
          'I8',
          `${row.clientId} at ${row.filter} is ${row.gone ? 'gone' : `with ${row.brokerId}`} on ${shard}, and by the log ${live === undefined ? 'gone' : `with ${live.brokerId}`}`,
        );
    }
  }

  /** Whether events about it are on their way. */
  isPending(filter: string, clientId: string): boolean {
    const key = this.#keys.get(keyText(filter, clientId));
    return key !== undefined && (key.floor !== undefined || key.due < key.states.length);
  }

  break(invariant: Invariant, what: string): void {
    this.#break(invariant, what);
  }

  #break(invariant: Invariant, what: string): void {
    this.#parts.broken(new Breach(invariant, what));
  }

  *#about(topic: string): Iterable<Key> {
    let matching = this.#matching.get(topic);
    if (matching === undefined) {
      matching = [...this.#byFilter].flatMap(([filter, clients]) => (isMatch(filter, topic) ? [clients] : []));
      this.#matching.set(topic, matching);
    }
    for (const clients of matching) yield* clients.values();
  }

  #hearSubscriptions({ partition, base, records }: Append): void {
    const places = this.#events[partition]!;
    for (const [i, { key, value }] of records.entries()) {
      const offset = base + i;
      const event = this.#eventIn(key, value ?? null, partition);
      if (event === undefined) {
        this.#poisoned.add(`subscriptions/${partition}/${offset}`);
        continue;
      }
      this.events++;
      const known = this.#keyOf(event.topicFilter, event.clientId);
      const before = known.states.at(-1);
      known.states.push(after(before, event)); // O2
      places[offset] = known;
      if (!placeOf(event.topicFilter).trie) this.#waiting[partition]!.concrete.push([offset, known]);
    }
  }

  /** `undefined` for what is no event. */
  #eventIn(key: Buffer | string | null, value: Buffer | null, partition: number): SubscriptionEvent | undefined {
    if (key === null || value === null) return undefined;
    let event: SubscriptionEvent;
    try {
      event = this.#parts.codec.decode('SubscriptionEvent', value) as SubscriptionEvent;
    } catch {
      return undefined;
    }
    const { topicFilter, clientId, qos } = event;
    const isSound =
      topicFilter === key.toString() && isFilter(topicFilter) && clientId !== '' && [0, 1, 2].includes(qos);
    return isSound && partitionOf(topicFilter, this.#parts.partitions) === partition ? event : undefined;
  }

  #hearWildcards({ partition, base, records }: Append): void {
    for (const [i, { value }] of records.entries()) {
      const { events } = this.#parts.codec.decode('WildcardEvents', value!) as WildcardEvents;
      const keys: Key[] = [];
      for (const { topicFilter, offset } of events) {
        const key = this.#events[partitionOf(topicFilter, this.#parts.partitions)]![offset];
        if (key?.filter !== topicFilter)
          this.#break('I8', `${topicFilter} was sent on with the offset ${offset}, which is not its own`);
        else keys.push(key);
      }
      this.#waiting[partition]!.trie.push([base + i, keys]);
    }
  }

  #hearPosition({ place, next }: Position): void {
    const before = this.#committed.get(place) ?? 0;
    if (next < before) this.#break('I9', `the position of ${place} went back from ${before} to ${next}`);
    this.#committed.set(place, next);
    const [topic, number] = place.split('/') as [string, string];
    const waiting = this.#waiting[Number(number)]!;
    const due: string[] = [];
    const isDue = (key: Key): void => {
      if (key.due === key.states.length)
        this.#break('I15', `an event of ${key.clientId} about ${key.filter} was sent on twice`);
      key.due++;
      due.push(key.filter);
    };
    if (topic === 'subscriptions')
      while ((waiting.concrete[0]?.[0] ?? next) < next) isDue(waiting.concrete.shift()![1]);
    if (topic === 'wildcard-subscriptions')
      while ((waiting.trie[0]?.[0] ?? next) < next) for (const key of waiting.trie.shift()![1]) isDue(key);
    if (due.length > 0) this.#parts.told.due(due);
  }

  #keyOf(filter: string, clientId: string): Key {
    const text = keyText(filter, clientId);
    let key = this.#keys.get(text);
    if (key === undefined) {
      key = { text, filter, clientId, states: [], due: 0, floor: undefined, waitsFor: new Set(), acknowledged: 0 };
      this.#keys.set(text, key);
      const known = this.#byFilter.get(filter);
      if (known === undefined) {
        this.#byFilter.set(filter, new Map([[clientId, key]]));
        this.#matching.clear();
      } else known.set(clientId, key);
    }
    return key;
  }

  /** I4, I5, I10. */
  #hearPointers({ base, records }: Append): void {
    const slices = new Map(this.#table.slices);
    const shards = new Map(this.#table.shards);
    const publish = (position: number): void => {
      const before = this.#table;
      this.#table = { epoch: this.#change!.epoch, position, slices: new Map(slices), shards: new Map(shards) };
      this.tables.set(this.#table.epoch, this.#table);
      this.#checkCover(this.#table);
      this.#parts.told.table(before, this.#table);
    };
    for (const [i, { key, value }] of records.entries()) {
      if (value == null) continue; // The removal of what is GONE.
      const { change, body } = this.#parts.codec.decode('PointerRecord', value) as PointerRecord;
      const open = this.#change;
      if (open === undefined || open.seen.size === open.count) {
        if (change.epoch !== this.#table.epoch + 1)
          this.#break('I4', `epoch ${change.epoch} of term ${change.term} follows ${this.#table.epoch}`);
        if (change.term < this.#term) this.#break('I4', `term ${change.term} comes after ${this.#term}`);
        this.#term = change.term;
        this.#change = { epoch: change.epoch, term: change.term, count: change.count, seen: new Set() };
      } else if (open.epoch !== change.epoch || open.term !== change.term)
        this.#break('I10', `a record of epoch ${change.epoch} in the middle of the change of epoch ${open.epoch}`);
      const { seen, count } = this.#change!;
      if (seen.has(change.index))
        this.#break('I4', `epoch ${change.epoch} has two records with number ${change.index}`);
      seen.add(change.index);
      this.#take(slices, shards, body, String(key));
      if (seen.size === count) publish(base + i + 1);
    }
    if (this.#change !== undefined && this.#change.seen.size < this.#change.count)
      this.#break(
        'I10',
        `of epoch ${this.#change.epoch} ${this.#change.seen.size} records of ${this.#change.count} are visible`,
      );
  }

  #take(
    slices: Map<SliceKey, { shards: readonly ShardId[]; mode: PointerEntry['mode'] }>,
    shards: Map<ShardId, ShardEntry>,
    body: PointerEntry | ShardEntry,
    key: string,
  ): void {
    const named = body.kind === 'PointerEntry' ? `p:${body.slice}` : `s:${body.shardId}`;
    if (named !== key) this.#break('I4', `an entry of ${named} lies under ${key}`);
    if (body.kind === 'ShardEntry') {
      const known = shards.get(body.shardId);
      if (known !== undefined && known.instanceId !== body.instanceId)
        this.#break('I5', `${body.shardId} was ${known.instanceId} and is ${body.instanceId}`);
      if (body.state === 'GONE') shards.delete(body.shardId);
      else shards.set(body.shardId, body);
    } else if (body.mode === 'GONE') slices.delete(body.slice);
    else slices.set(body.slice, { shards: body.shards, mode: body.mode });
  }

  /** I5. Hash slices of a partition cut its hashes without a gap; every slice is on shards that are there. */
  #checkCover({ epoch, slices, shards }: Table): void {
    const share = Array.from({ length: this.#parts.partitions }, () => 0);
    const roots = new Set<number>();
    for (const [slice, { shards: named }] of slices) {
      const parsed = parseSlice(slice);
      for (const shard of named)
        if (!shards.has(shard)) this.#break('I5', `${slice} is on ${shard} at epoch ${epoch}, which is not there`);
      if (parsed?.kind === 'hash') share[parsed.partition]! += 2 ** -parsed.bits.length;
      if (parsed?.kind === 'group' && parsed.prefix === '') roots.add(parsed.partition);
    }
    for (let partition = 0; partition < this.#parts.partitions; partition++) {
      if (share[partition] !== 1)
        this.#break('I5', `the hashes of partition ${partition} have ${share[partition]} owners at epoch ${epoch}`);
      if (!roots.has(partition))
        this.#break('I5', `the tries of partition ${partition} have no owner at epoch ${epoch}`);
    }
  }

  /** A shard's name is given once. */
  #hearCommands({ records }: Append): void {
    for (const { value } of records) {
      const { body, reason } = this.#parts.codec.decode('Command', value!) as Command;
      if (body.kind === 'AllocateShard' && this.#table.shards.has(body.shardId) && reason !== 'it was taken away')
        this.#break('I5', `${body.shardId} is allocated a second time`);
    }
  }

  /** What is kept for shards that are away. */
  #hearChangelog({ records }: Append): void {
    for (const { key: name, value } of records) {
      const text = String(name);
      if (!text.startsWith(SPILLED)) continue;
      const nul = text.indexOf('\u0000');
      const shard = text.slice(SPILLED.length, nul);
      const { filter, clientId: rest } = subscriptionAt(text.slice(nul + 1));
      const [clientId = '', broker = ''] = rest.split('\u0000'); // Of a removal that waits beside (away.ts A2).
      const key = this.#keyOf(filter, clientId);
      if (value == null) {
        key.waitsFor.delete(`${shard} ${broker}`);
        if (key.waitsFor.size === 0) key.floor = undefined;
      } else {
        key.floor ??= key.due;
        key.waitsFor.add(`${shard} ${broker}`);
      }
    }
  }

  /** The subscription table is what the events have made of it. */
  #hearTable({ records }: Append): void {
    for (const { key, value } of records) {
      const text = String(key);
      const row = value == null ? undefined : (this.#parts.codec.decode('Subscription', value) as Subscription);
      if (row === undefined || row.removed) this.#kept.delete(text);
      else this.#kept.set(text, row);
    }
  }

  /** Once everything is due: each row of the subscription table is a live one, and each live one has a row. */
  checkKept(): void {
    let live = 0;
    for (const [text, { states, due, filter, clientId }] of this.#keys) {
      const state = states[due - 1];
      if (state === undefined) continue;
      live++;
      const row = this.#kept.get(text);
      if (row?.brokerId !== state.brokerId || row.qos !== state.qos)
        this.#break(
          'I8',
          `the subscription table has ${clientId} at ${filter} with ${row?.brokerId}, and not with ${state.brokerId}`,
        );
    }
    if (this.#kept.size !== live)
      this.#break('I8', `the subscription table has ${this.#kept.size} rows, and ${live} subscriptions are live`);
  }

  #hearLetters({ records }: Append): void {
    for (const { headers } of records) {
      const of = (name: string): string => String(headers?.[`__streams.errors.${name}`]);
      const place = `${of('topic')}/${of('partition')}/${of('offset')}`;
      if (!this.#poisoned.has(place))
        this.#break('I15', `the good record at ${place} has become a dead letter: ${of('message')}`);
      this.#buried.add(place);
    }
  }
}

function after(before: Live | undefined, { action, brokerId, qos }: SubscriptionEvent): Live | undefined {
  if (action === 'SUBSCRIBE') return { brokerId, qos };
  return before?.brokerId === brokerId ? undefined : before;
}

/** The slice that a filter belongs to: the most specific one that covers it. */
export function ownerIn({ slices }: Table, filter: string, clientId: string, partitions: number): SliceKey | undefined {
  let best: SliceKey | undefined;
  let rank = -1;
  for (const slice of slices.keys()) {
    const own = rankOf(slice, filter, clientId, partitions);
    if (own > rank) {
      best = slice;
      rank = own;
    }
  }
  return best;
}

/** How specific a slice is that covers the filter; -1 for one that does not. */
function rankOf(slice: SliceKey, filter: string, clientId: string, partitions: number): number {
  const parsed = parseSlice(slice);
  const place = placeOf(filter);
  switch (parsed?.kind) {
    case 'hash':
      return !place.trie &&
        parsed.partition === partitionOf(place.routingKey, partitions) &&
        leadingBits(filterHash(filter), parsed.bits.length) === parsed.bits
        ? parsed.bits.length
        : -1;
    case 'pin':
      return parsed.filter === filter ? 100 : -1;
    case 'spread':
      return parsed.filter === filter && filterHash(clientId) % parsed.of === parsed.index ? 101 : -1;
    case 'group':
      return place.trie &&
        parsed.partition === partitionOf(place.routingKey, partitions) &&
        place.prefix.startsWith(parsed.prefix)
        ? parsed.prefix.length
        : -1;
    default:
      return -1;
  }
}

/** Whether what was told is what nobody holds, where that may be, or one of the states from there on. */
function isPossible(states: Key['states'], from: number, mayBeNobody: boolean, told: Subscriber | undefined): boolean {
  if (mayBeNobody && told === undefined) return true;
  for (let i = from; i < states.length; i++) {
    const live = states[i];
    if (live === undefined ? told === undefined : isSame(live, told)) return true;
  }
  return false;
}

const isSame = (live: Live, told: Subscriber | undefined): boolean =>
  told?.brokerId === live.brokerId && told.qos === live.qos;
const textOf = (states: readonly (Live | undefined)[]): string =>
  states.map((live) => (live === undefined ? 'nobody' : `${live.brokerId} with QoS ${live.qos}`)).join(' or ');
