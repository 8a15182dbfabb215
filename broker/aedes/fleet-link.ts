// Fleet link: what the persistence and the emitter of one Aedes broker share: the fleet's view of its clients, and the
// numbers of its messages.
//
//   L1. Each connection is reported with an epoch of its own, before the subscriptions that come by it, and its end
//       once, however it ended.
//   L2. `reported` resolves when everything that was reported before is durable, or has failed. A client whose report
//       failed is disconnected: it has no SUBACK, and subscribes again.
//   L3. Aedes passes on a message to a client only if its number is above those that the client has had from that
//       broker. So a message gets its number when it is emitted, and keeps the one under which it is stored.

import { NEVER_SECONDS } from '../event-producer.ts';
import type { BrokerClient } from '../join-fleet.ts';
import type { Packet, SessionStore, StoredSubscription } from './session-store.ts';

/** What the link needs of a client of Aedes. */
export interface Connected {
  readonly id: string;
  readonly clean: boolean;
  close(done?: () => void): void;
}

/** What a handover needs of it. */
export interface Resuming {
  readonly clean: boolean;
  /** Whether what waited for it has been sent. */
  readonly connected: boolean;
  once(event: 'connected', listener: () => void): unknown;
  readonly subscriptions: Readonly<Record<string, unknown>>;
  subscribe(subscriptions: readonly StoredSubscription[], done: (error?: Error) => void): void;
  publish(packet: Packet, done: (error?: Error) => void): void;
}

/** What is needed of Aedes itself. */
export interface AedesParts {
  readonly id: string;
  counter: number;
  /** Its connected clients. */
  readonly clients?: Readonly<Record<string, Resuming | undefined>>;
}

export type ReportFailed = (clientId: string, error: unknown) => void;

export class FleetLink {
  readonly client: BrokerClient;
  store: SessionStore | undefined;
  broker: AedesParts | undefined;
  failed: ReportFailed = () => {};
  readonly #connections = new Map<string, { readonly epoch: number; readonly client: Connected }>();
  /** By the number of a message that is being emitted: the one under which it is stored (L3). */
  readonly #stored = new Map<number, number>();
  #reported: Promise<void> = Promise.resolve();

  private constructor(client: BrokerClient) {
    this.client = client;
  }

  /** The one link of this client of the fleet. */
  static of(client: BrokerClient): FleetLink {
    let link = LINKS.get(client);
    if (link === undefined) {
      link = new FleetLink(client);
      LINKS.set(client, link);
    }
    return link;
  }

  /** L2. */
  get reported(): Promise<void> {
    return this.#reported;
  }

  isConnected(clientId: string): boolean {
    return this.#connections.has(clientId);
  }

  /** The client has connected; call what is returned when the connection has closed (L1). */
  connected(client: Connected): () => void {
    const { events } = this.client;
    const { id, clean } = client;
    const sessionEpoch = events.newSessionEpoch();
    this.#connections.set(id, { epoch: sessionEpoch, client });
    this.#report(
      id,
      events.connected(id, { sessionEpoch, cleanStart: clean, sessionExpirySeconds: clean ? 0 : NEVER_SECONDS }),
    );
    return () => {
      if (this.#connections.get(id)?.epoch === sessionEpoch) this.#connections.delete(id);
      this.#report(id, events.disconnected(id, { sessionEpoch }));
    };
  }

  subscribed(clientId: string, { topic, qos }: StoredSubscription): void {
    const events = this.client.events.subscribe(topic, clientId, qos, this.#epochOf(clientId));
    this.#report(clientId, events, () => this.store?.unsubscribe(clientId, [topic]));
  }

  unsubscribed(clientId: string, filter: string): void {
    this.#report(clientId, this.client.events.unsubscribe(filter, clientId, this.#epochOf(clientId)));
  }

  /** Gives a message that is emitted its number (L3); call what is returned when it has been handed over. */
  numbered(packet: Packet): () => void {
    const { broker } = this;
    if (broker === undefined || packet.brokerId !== broker.id) return () => {};
    const stored = packet.brokerCounter;
    broker.counter += 1;
    const number = broker.counter;
    packet.brokerCounter = number;
    if (stored === undefined || packet.qos === 0) return () => {};
    this.#stored.set(number, stored);
    return () => this.#stored.delete(number);
  }

  /** The packet as it is stored (L3). */
  asStored(packet: Packet): Packet {
    const { brokerId, brokerCounter } = packet;
    if (brokerCounter === undefined || brokerId !== this.broker?.id) return packet;
    const stored = this.#stored.get(brokerCounter);
    return stored === undefined ? packet : { ...packet, brokerCounter: stored };
  }

  #epochOf(clientId: string): { readonly sessionEpoch?: number } {
    const connection = this.#connections.get(clientId);
    return connection === undefined ? {} : { sessionEpoch: connection.epoch };
  }

  #report(clientId: string, durable: Promise<void>, undo?: () => void): void {
    const before = this.#reported;
    const settled = durable.catch(async (error: unknown) => {
      undo?.();
      this.failed(clientId, error);
      const client = this.#connections.get(clientId)?.client;
      if (client !== undefined) await new Promise<void>((resolve) => client.close(resolve));
    });
    this.#reported = before.then(() => settled);
  }
}

const LINKS = new WeakMap<BrokerClient, FleetLink>();
