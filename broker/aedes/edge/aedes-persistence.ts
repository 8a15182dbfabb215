// Aedes persistence: Aedes's contract over a session store, and the reports of its clients' sessions and subscriptions
// to the fleet.
//
//   Y1. What Aedes stores is returned at once; the fleet's view follows.
//   Y2. The subscriptions of a client that has connected are reported when Aedes has allowed them, clean sessions too.
//       Those of others (a program that calls the persistence itself) are reported as they are stored.
//   Y3. `authenticate` and `authorizeSubscribe` may be replaced at any time, as Aedes documents it; reports continue.
//   Y4. A shared subscription is refused (MQTT 3.1.1 has none, and Aedes would take its name for a topic's). What a
//       client subscribes to below `$SYS/` stays with this broker.

import { type Duplex, finished, Readable } from 'node:stream';
import { filterProblem, isShared } from '../../../state/topic-filter.ts';
import type { BrokerClient } from '../../join-fleet.ts';
import { type AedesParts, type Connected, FleetLink, type ReportFailed } from '../fleet-link.ts';
import { type MatchingSubscription, type Packet, SessionStore, type StoredSubscription } from '../session-store.ts';

export interface PersistenceOptions {
  /** By default one in memory. */
  readonly store?: SessionStore;
  /** Called when something about a client could not be reported; the client has been disconnected. */
  readonly onReportFailed?: ReportFailed;
}

interface Identified {
  readonly id: string;
}

type Done<Value> = (error: Error | null, value: Value) => void;
type Authenticate = (client: AedesClient, username: unknown, password: unknown, done: Done<boolean | null>) => void;
type Authorize = (client: AedesClient, wanted: StoredSubscription, done: Done<StoredSubscription | null>) => void;

interface AedesClient extends Connected {
  readonly conn: Duplex;
  readonly closed: boolean;
}

/** What the persistence uses of Aedes; Aedes's own suite passes less. */
interface Broker extends AedesParts {
  authenticate?: Authenticate;
  authorizeSubscribe?: Authorize;
  on?(event: 'unsubscribe', listener: (filters: string[], client: AedesClient) => void): void;
}

export function persistence(client: BrokerClient, options: PersistenceOptions = {}): AedesPersistence {
  return new AedesPersistence(client, options);
}

export class AedesPersistence {
  readonly #link: FleetLink;
  readonly #store: SessionStore;
  #broker: Broker | undefined;

  constructor(client: BrokerClient, { store = new SessionStore(), onReportFailed }: PersistenceOptions) {
    this.#link = FleetLink.of(client);
    this.#store = store;
    this.#link.store = store;
    if (onReportFailed !== undefined) this.#link.failed = onReportFailed;
  }

  /** For Aedes's suite. */
  get broker(): Broker | undefined {
    return this.#broker;
  }

  async setup(broker: Broker): Promise<void> {
    this.#broker = broker;
    this.#link.broker = broker;
    if (broker.authenticate !== undefined && broker.authorizeSubscribe !== undefined) this.#listen(broker);
  }

  async storeRetained(packet: Packet): Promise<void> {
    this.#store.retain(packet);
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter]);
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#store.retainedOf(filters));
  }

  async addSubscriptions({ id }: Identified, subscriptions: readonly StoredSubscription[]): Promise<void> {
    this.#store.subscribe(id, subscriptions);
    if (!this.#link.isConnected(id)) for (const each of subscriptions) this.#link.subscribed(id, each); // Y2
  }

  async removeSubscriptions({ id }: Identified, filters: readonly string[]): Promise<void> {
    this.#store.unsubscribe(id, filters);
    if (!this.#link.isConnected(id)) for (const each of filters) this.#link.unsubscribed(id, each); // Y2
  }

  async subscriptionsByClient({ id }: Identified): Promise<StoredSubscription[]> {
    return this.#store.subscriptionsOf(id);
  }

  async subscriptionsByTopic(topic: string): Promise<MatchingSubscription[]> {
    return this.#store.subscriptionsTo(topic);
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.#store.count();
  }

  /** A clean session begins. The report of the connection says so, where there is one (Y2). */
  async cleanSubscriptions({ id }: Identified): Promise<void> {
    const had = this.#store.subscriptionsOf(id);
    this.#store.end(id);
    if (!this.#link.isConnected(id)) for (const { topic } of had) this.#link.unsubscribed(id, topic);
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.#store.clientsOf(filter));
  }

  async outgoingEnqueue({ clientId }: { readonly clientId: string }, packet: Packet): Promise<void> {
    this.#store.enqueue(clientId, packet);
  }

  async outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: Packet): Promise<void> {
    for (const { clientId } of to) this.#store.enqueue(clientId, packet);
  }

  async outgoingUpdate({ id }: Identified, packet: Packet): Promise<void> {
    this.#store.update(id, this.#link.asStored(packet));
  }

  async outgoingClearMessageId({ id }: Identified, packet: Packet): Promise<Packet | undefined> {
    // Without a number: Aedes has not passed on the packet, since the client has it by another subscription.
    if (packet.messageId === undefined) this.#store.takeUnsent(id, this.#link.asStored(packet));
    else return this.#store.acknowledge(id, packet.messageId);
    return undefined;
  }

  outgoingStream({ id }: Identified): Readable {
    return Readable.from(this.#store.waitingOf(id));
  }

  async incomingStorePacket({ id }: Identified, packet: Packet): Promise<void> {
    this.#store.receive(id, packet);
  }

  async incomingGetPacket({ id }: Identified, { messageId }: Packet): Promise<Packet> {
    const packet = this.#store.received(id, messageId);
    if (packet === undefined) throw new Error('no such packet');
    return packet;
  }

  async incomingDelPacket({ id }: Identified, { messageId }: Packet): Promise<void> {
    if (!this.#store.release(id, messageId)) throw new Error('no such packet');
  }

  async cleanIncoming({ id }: Identified): Promise<void> {
    this.#store.releaseAll(id);
  }

  async putWill({ id }: Identified, packet: Packet): Promise<void> {
    packet.brokerId = this.#broker?.id;
    packet.clientId = id;
    this.#store.putWill(id, packet);
  }

  async getWill({ id }: Identified): Promise<Packet | undefined> {
    return this.#store.willOf(id);
  }

  async delWill({ id }: Identified): Promise<Packet | undefined> {
    return this.#store.takeWill(id);
  }

  /** Wills of clients whose broker is not among these: it has ended without publishing them. */
  streamWill(brokers: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.#store.wills().filter(({ brokerId = '' }) => brokers[brokerId] === undefined));
  }

  /** Nothing is open here: whoever opened the store's journal closes it. */
  async destroy(): Promise<void> {}

  #listen(broker: Broker): void {
    replaceable(
      broker,
      'authenticate',
      (inner: Authenticate): Authenticate =>
        (client, username, password, done) =>
          inner.call(broker, client, username, password, (error, allowed) => {
            if (error === null && allowed === true) this.#connected(client);
            done(error, allowed);
          }),
    );
    replaceable(
      broker,
      'authorizeSubscribe',
      (inner: Authorize): Authorize =>
        (client, wanted, done) =>
          inner.call(broker, client, wanted, (error, granted) =>
            done(error, error || !granted || !this.#subscribed(client, granted) ? null : granted),
          ),
    );
    broker.on?.('unsubscribe', (filters, client) => {
      // When the connection closes, the end of the session says it.
      if (!client.closed) for (const each of filters) if (isReported(each)) this.#link.unsubscribed(client.id, each);
    });
  }

  #connected(client: AedesClient): void {
    const closed = this.#link.connected(client);
    finished(client.conn, () => closed());
  }

  /** Reports what a client may subscribe to; false: it cannot (Y4). */
  #subscribed({ id }: AedesClient, granted: StoredSubscription): boolean {
    const { topic, qos } = granted;
    if (isShared(topic) || filterProblem(topic) !== undefined) return false;
    const isKnown = this.#store.subscriptionOf(id, topic)?.qos === qos; // A session that continues.
    if (isReported(topic) && !isKnown) this.#link.subscribed(id, granted);
    return true;
  }
}

const isReported = (filter: string): boolean => !filter.startsWith('$SYS/');

/** Wraps a function of the broker, also when it is replaced later (Y3). */
function replaceable<Name extends 'authenticate' | 'authorizeSubscribe'>(
  broker: Broker,
  name: Name,
  wrapped: (inner: NonNullable<Broker[Name]>) => NonNullable<Broker[Name]>,
): void {
  let outer = wrapped(broker[name]!);
  Object.defineProperty(broker, name, {
    get: () => outer,
    set: (inner: NonNullable<Broker[Name]>) => {
      outer = wrapped(inner);
    },
  });
}
