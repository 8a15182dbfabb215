// Session store: what one MQTT broker keeps of its clients: persistent subscriptions, messages that wait for a client or
// for its acknowledgement, retained messages and wills. It is in memory, and each change is handed to a journal.
//
//   G1. What was told is returned at once: nothing waits for the journal or for the fleet.
//   G2. A session's messages keep the order in which they were given.
//   G3. At most `messagesMax` messages wait for a session. Later ones are dropped, and counted.
//   G4. `restore` with everything that the journal holds gives the same store.

import { isShared, matches } from '../../state/topic-filter.ts';
import { TopicTrie } from '../../state/topic-trie.ts';

export type Qos = 0 | 1 | 2;

/** A subscription of a persistent session, as Aedes has it. */
export interface StoredSubscription {
  readonly topic: string;
  readonly qos: Qos;
  readonly rh?: number | undefined;
  readonly rap?: boolean | undefined;
  readonly nl?: boolean | undefined;
  readonly subscriptionIdentifier?: number | undefined;
}

export type MatchingSubscription = StoredSubscription & { readonly clientId: string };

/** A packet of Aedes: a message, or the PUBREL that follows one. */
export interface Packet {
  readonly cmd?: string;
  readonly topic?: string;
  readonly payload?: Uint8Array | string;
  readonly qos?: Qos;
  readonly retain?: boolean;
  readonly dup?: boolean;
  brokerId?: string | undefined;
  brokerCounter?: number | undefined;
  messageId?: number | undefined;
  clientId?: string | undefined;
}

/** Where changes are kept. Calls are in order; how soon one is durable is said where a journal is made. */
export interface Journal {
  put(key: string, value: unknown): void;
  remove(key: string): void;
}

export const NO_JOURNAL: Journal = { put() {}, remove() {} };

/** As many as Mosquitto keeps for a session by default. */
export const MESSAGES_MAX = 1_000;

interface Waiting {
  readonly key: string;
  packet: Packet;
}

export class SessionStore {
  /** For each partition, the next message of other brokers to take (log-exchange.ts T2). */
  readonly positions = {
    get: (partition: number): number | undefined => this.#positions.get(partition),
    set: (partition: number, offset: number): void => {
      this.#positions.set(partition, offset);
      this.#journal.put(keyOf(POSITION, String(partition)), offset);
    },
  };
  readonly #positions = new Map<number, number>();
  readonly #journal: Journal;
  readonly #messagesMax: number;
  /** By client, then by filter. */
  readonly #sessions = new Map<string, Map<string, StoredSubscription>>();
  readonly #trie = new TopicTrie();
  /** By the trie's ids: the subscriptions of each filter above QoS 0, by client. */
  readonly #byFilter: (Map<string, MatchingSubscription> | undefined)[] = [];
  readonly #retained = new Map<string, Packet>();
  readonly #outgoing = new Map<string, Waiting[]>();
  readonly #incoming = new Map<string, Map<number, Packet>>();
  readonly #wills = new Map<string, Packet>();
  readonly #found: number[] = [];
  #sequence = 0;
  #matching = 0;
  #dropped = 0;

  constructor(journal: Journal = NO_JOURNAL, messagesMax = MESSAGES_MAX) {
    this.#journal = journal;
    this.#messagesMax = messagesMax;
  }

  /** Messages that were dropped (G3). */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one entry of the journal; in the order of their keys (G4). */
  restore(key: string, value: unknown): void {
    const [kind, first, second] = key.split(SEPARATOR) as [string, string, string];
    if (kind === SUBSCRIPTION) this.#subscribe(first, value as StoredSubscription);
    else if (kind === RETAINED) this.#retained.set(first, value as Packet);
    else if (kind === INCOMING) this.#incomingOf(first).set(Number(second), value as Packet);
    else if (kind === POSITION) this.#positions.set(Number(first), value as number);
    else if (kind === WILL) this.#wills.set(first, value as Packet);
    else if (kind === OUTGOING) {
      this.#outgoingOf(first).push({ key, packet: value as Packet });
      this.#sequence = Math.max(this.#sequence, Number(second));
    }
  }

  retain(packet: Packet): void {
    const { topic = '', payload } = packet;
    const key = keyOf(RETAINED, topic);
    if (payload === undefined || payload.length === 0) {
      this.#retained.delete(topic);
      this.#journal.remove(key);
    } else {
      const kept = { ...packet };
      this.#retained.set(topic, kept);
      this.#journal.put(key, kept);
    }
  }

  /** Retained messages of each of these filters, one filter after the other. */
  *retainedOf(filters: readonly string[]): Generator<Packet> {
    for (const filter of filters) {
      if (isConcrete(filter)) {
        const packet = this.#retained.get(filter);
        if (packet !== undefined) yield packet;
      } else if (!isShared(filter))
        for (const [topic, packet] of this.#retained) if (matches(filter, topic)) yield packet;
    }
  }

  subscribe(clientId: string, subscriptions: readonly StoredSubscription[]): void {
    for (const { topic, qos, rh, rap, nl, subscriptionIdentifier: id } of subscriptions) {
      const stored = { topic, qos, rh, rap, nl, ...(id === undefined ? {} : { subscriptionIdentifier: id }) };
      this.#subscribe(clientId, stored);
      this.#journal.put(keyOf(SUBSCRIPTION, clientId, topic), stored);
    }
  }

  unsubscribe(clientId: string, filters: readonly string[]): void {
    const subscriptions = this.#sessions.get(clientId);
    if (subscriptions === undefined) return;
    for (const filter of filters) {
      if (!subscriptions.delete(filter)) continue;
      this.#unmatch(clientId, filter);
      this.#journal.remove(keyOf(SUBSCRIPTION, clientId, filter));
    }
    if (subscriptions.size === 0) this.#sessions.delete(clientId);
  }

  /** The session ends: its subscriptions and the messages that wait for it are gone. */
  end(clientId: string): void {
    this.unsubscribe(clientId, [...(this.#sessions.get(clientId)?.keys() ?? [])]);
    this.takeWaiting(clientId);
  }

  /** What waits for the client, which is no longer kept. */
  takeWaiting(clientId: string): Packet[] {
    const waiting = this.#outgoing.get(clientId) ?? [];
    for (const { key } of waiting) this.#journal.remove(key);
    this.#outgoing.delete(clientId);
    return waiting.map(({ packet }) => packet);
  }

  subscriptionsOf(clientId: string): StoredSubscription[] {
    return [...(this.#sessions.get(clientId)?.values() ?? [])];
  }

  subscriptionOf(clientId: string, filter: string): StoredSubscription | undefined {
    return this.#sessions.get(clientId)?.get(filter);
  }

  /** Subscriptions above QoS 0 that match this topic; those with a wildcard first, as Aedes expects. */
  subscriptionsTo(topic: string): MatchingSubscription[] {
    const count = this.#trie.match(topic, this.#found);
    const all: MatchingSubscription[] = [];
    const exact: MatchingSubscription[] = [];
    for (let i = 0; i < count; i++)
      for (const each of this.#byFilter[this.#found[i]!]!.values()) (each.topic === topic ? exact : all).push(each);
    all.push(...exact);
    return all;
  }

  /** Sessions with subscriptions, and their subscriptions above QoS 0. */
  count(): { readonly subsCount: number; readonly clientsCount: number } {
    return { subsCount: this.#matching, clientsCount: this.#sessions.size };
  }

  *clientsOf(filter: string): Generator<string> {
    for (const [clientId, subscriptions] of this.#sessions) if (subscriptions.has(filter)) yield clientId;
  }

  /** Once also when several subscriptions of the client match. */
  enqueue(clientId: string, packet: Packet): void {
    const waiting = this.#outgoing.get(clientId) ?? [];
    const last = waiting.at(-1)?.packet;
    const { brokerId, brokerCounter } = packet;
    if (brokerId !== undefined && last?.brokerId === brokerId && last.brokerCounter === brokerCounter) return;
    if (waiting.length >= this.#messagesMax)
      this.#dropped += 1; // G3
    else this.#append(clientId, copyOf(packet));
  }

  /** Takes a message away that has no number on the wire yet; whether there was one. */
  takeUnsent(clientId: string, { brokerId, brokerCounter }: Packet): boolean {
    const waiting = this.#outgoing.get(clientId) ?? [];
    const at = waiting.findIndex(
      ({ packet }) =>
        packet.brokerId === brokerId && packet.brokerCounter === brokerCounter && packet.messageId === undefined,
    );
    if (at < 0) return false;
    const [{ key }] = waiting.splice(at, 1) as [Waiting];
    this.#journal.remove(key);
    return true;
  }

  /** Gives a waiting message its number on the wire, or replaces it by the PUBREL of that number. */
  update(clientId: string, packet: Packet): void {
    const waiting = this.#outgoing.get(clientId) ?? [];
    const { brokerId, brokerCounter, messageId } = packet;
    const same = waiting.find(
      (each) => each.packet.brokerId === brokerId && each.packet.brokerCounter === brokerCounter,
    );
    if (same !== undefined && brokerId !== undefined) {
      same.packet.messageId = messageId;
      this.#journal.put(same.key, same.packet);
      return;
    }
    const numbered = waiting.find((each) => each.packet.brokerId !== brokerId && each.packet.messageId === messageId);
    if (numbered !== undefined) {
      numbered.packet = packet;
      this.#journal.put(numbered.key, packet);
    } else if (packet.cmd === 'pubrel') this.#append(clientId, packet);
    // A message that was dropped (G3), or came between the enqueueing and a SUBSCRIBE, goes out without a copy here.
  }

  /** The client has acknowledged this number; what waited under it. */
  acknowledge(clientId: string, messageId: number | undefined): Packet | undefined {
    const waiting = this.#outgoing.get(clientId) ?? [];
    const at = waiting.findIndex(({ packet }) => packet.messageId === messageId);
    if (at < 0) return undefined;
    const [{ key, packet }] = waiting.splice(at, 1) as [Waiting];
    if (waiting.length === 0) this.#outgoing.delete(clientId);
    this.#journal.remove(key);
    return packet;
  }

  waitingOf(clientId: string): Packet[] {
    return (this.#outgoing.get(clientId) ?? []).map(({ packet }) => packet);
  }

  /** A message at QoS 2 that the client has sent and not released yet. */
  receive(clientId: string, packet: Packet): void {
    const { messageId = 0 } = packet;
    const kept = { ...copyOf(packet), messageId };
    this.#incomingOf(clientId).set(messageId, kept);
    this.#journal.put(keyOf(INCOMING, clientId, String(messageId)), kept);
  }

  received(clientId: string, messageId: number | undefined): Packet | undefined {
    return this.#incoming.get(clientId)?.get(messageId ?? 0);
  }

  /** Whether it was there. */
  release(clientId: string, messageId: number | undefined): boolean {
    const packets = this.#incoming.get(clientId);
    if (packets === undefined || !packets.delete(messageId ?? 0)) return false;
    if (packets.size === 0) this.#incoming.delete(clientId);
    this.#journal.remove(keyOf(INCOMING, clientId, String(messageId ?? 0)));
    return true;
  }

  releaseAll(clientId: string): void {
    for (const messageId of [...(this.#incoming.get(clientId)?.keys() ?? [])]) this.release(clientId, messageId);
  }

  putWill(clientId: string, packet: Packet): void {
    this.#wills.set(clientId, packet);
    this.#journal.put(keyOf(WILL, clientId), packet);
  }

  willOf(clientId: string): Packet | undefined {
    return this.#wills.get(clientId);
  }

  takeWill(clientId: string): Packet | undefined {
    const will = this.#wills.get(clientId);
    if (this.#wills.delete(clientId)) this.#journal.remove(keyOf(WILL, clientId));
    return will;
  }

  wills(): Packet[] {
    return [...this.#wills.values()];
  }

  #subscribe(clientId: string, stored: StoredSubscription): void {
    const { topic, qos } = stored;
    if (qos === 0) this.#unmatch(clientId, topic);
    else {
      const id = this.#trie.insert(topic);
      let clients = this.#byFilter[id];
      if (clients === undefined) {
        clients = new Map();
        this.#byFilter[id] = clients;
      }
      if (!clients.has(clientId)) this.#matching += 1;
      const { rh, rap, nl } = stored;
      clients.set(clientId, { clientId, topic, qos, rh, rap, nl });
    }
    listed(this.#sessions, clientId, () => new Map()).set(topic, stored);
  }

  #unmatch(clientId: string, filter: string): void {
    const id = this.#trie.find(filter);
    const clients = id < 0 ? undefined : this.#byFilter[id];
    if (clients === undefined || !clients.delete(clientId)) return;
    this.#matching -= 1;
    if (clients.size > 0) return;
    this.#byFilter[id] = undefined;
    this.#trie.remove(filter);
  }

  #append(clientId: string, packet: Packet): void {
    this.#sequence += 1;
    const key = keyOf(OUTGOING, clientId, String(this.#sequence).padStart(SEQUENCE_DIGITS, '0')); // G2
    this.#outgoingOf(clientId).push({ key, packet });
    this.#journal.put(key, packet);
  }

  #outgoingOf(clientId: string): Waiting[] {
    return listed(this.#outgoing, clientId, () => []);
  }

  #incomingOf(clientId: string): Map<number, Packet> {
    return listed(this.#incoming, clientId, () => new Map());
  }
}

// Kinds of entries in the journal, and what separates their parts: no topic and no client id may contain it.
const SUBSCRIPTION = 'subscription';
const RETAINED = 'retained';
const OUTGOING = 'outgoing';
const INCOMING = 'incoming';
const WILL = 'will';
const POSITION = 'position';
const SEPARATOR = '\u0000';
/** Of Number.MAX_SAFE_INTEGER: texts sort as the numbers do. */
const SEQUENCE_DIGITS = 16;

const keyOf = (...parts: readonly string[]): string => parts.join(SEPARATOR);
const isConcrete = (filter: string): boolean => !filter.includes('+') && !filter.includes('#');

/** What Aedes keeps of a packet that waits. */
function copyOf(packet: Packet): Packet {
  const { cmd = 'publish', brokerId, brokerCounter = 0, topic, payload, qos = 0, retain = false, dup = false } = packet;
  const copy: Packet = { cmd, brokerId, brokerCounter, topic: topic!, payload: payload!, qos, retain, dup };
  if (packet.clientId !== undefined) copy.clientId = packet.clientId;
  if (qos > 0 || cmd !== 'publish') copy.messageId = undefined;
  return copy;
}

function listed<Value>(map: Map<string, Value>, key: string, made: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = made();
    map.set(key, value);
  }
  return value;
}
