// Aedes emitter: what is published on this broker is delivered to its own clients at once, and sent to the brokers that
// the fleet names for the topic.
//
//   Z1. Own clients get a message whatever the fleet answers: a broker knows its own subscriptions.
//   Z2. When the fleet cannot say who subscribes (a shard is away), the message goes to all brokers: each passes it on
//       to its own clients alone, so that no one misses it or has it twice. A message goes to all brokers as well when a
//       subscriber is on none of them, since its session may be with any; and when all have to keep it as retained.
//   Z3. Messages are sent in the order in which they were emitted.
//   Z4. `emit` ends when own clients have been served and the message is with the exchange. At most `RECEIVING_MAX`
//       messages of others are under way to own clients at a time; then their senders wait.
//   Z5. `$SYS` topics stay here, but for the news of a connected client: by it other brokers close older connections of
//       the same client, and hand its session over.
//   Z6. `on` ends when what its client has subscribed to is durable in the fleet's log: Aedes sends its SUBACK then.

import mqemitter from 'mqemitter';
import type { BrokerClient } from '../../join-fleet.ts';
import { NO_PEERS, type Peers } from '../exchange.ts';
import { FleetLink } from '../fleet-link.ts';
import { Handover } from '../handover.ts';
import { decodeMessage, encodeMessage, type PublishPacket } from '../message.ts';
import type { Packet } from '../session-store.ts';

export interface EmitterOptions {
  /** Other brokers of the fleet; by default there are none. */
  readonly peers?: Peers;
  readonly concurrency?: number;
  readonly matchEmptyLevels?: boolean;
  readonly separator?: string;
  readonly wildcardOne?: string;
  readonly wildcardSome?: string;
}

/** What became of the messages that were emitted here. */
export interface ForwardingCounts {
  readonly sent: number;
  /** Of which to all brokers, because the fleet could not say who subscribes (Z2). */
  readonly unanswered: number;
  readonly received: number;
}

type Message = mqemitter.Message;
type Done = (error?: Error) => void;
type Listener = (message: Message, done: () => void) => void;
export type FleetEmitter = mqemitter.MQEmitter & {
  readonly closed: boolean;
  readonly counts: ForwardingCounts;
  /** Resolves when the messages that others sent before have been taken. */
  readonly ready: Promise<void>;
};

const RECEIVING_MAX = 1_000;

/** That a client has connected to a broker. */
const isNews = (topic: string): boolean => topic.startsWith('$SYS/') && topic.endsWith('/new/clients');

export function emitter(client: BrokerClient, { peers = NO_PEERS, ...options }: EmitterOptions = {}): FleetEmitter {
  const mq = mqemitter({ matchEmptyLevels: true, ...options }) as FleetEmitter;
  const local = { emit: mq.emit.bind(mq), on: mq.on.bind(mq) };
  const link = FleetLink.of(client);
  const counts = { sent: 0, unanswered: 0, received: 0 };
  const room = new Room(RECEIVING_MAX);
  const failed = (error: unknown): void => link.failed('', error);
  const handover = new Handover({
    ...{ link, peers },
    after: (ms, then) => void setTimeout(then, ms).unref(),
  });
  let last: Promise<unknown> = Promise.resolve();

  /** Resolves when the message is with the exchange. */
  const forward = async (packet: Message): Promise<void> => {
    const asked = receiversOf(packet);
    const begun = last.then(async () => {
      const to = await asked;
      if (to.length === 0) return { sending: undefined };
      counts.sent += 1;
      const { payload = '' } = packet;
      const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
      const sent = { ...packet, payload: bytes } as PublishPacket;
      return { sending: peers.send(to, encodeMessage({ kind: 'publish', sender: client.brokerId, packet: sent })) };
    });
    last = begun; // Z3
    await (await begun).sending;
  };

  const receiversOf = async ({ topic, retain }: Message): Promise<readonly string[] | 'all'> => {
    if (topic.startsWith('$SYS/')) return isNews(topic) ? 'all' : []; // Z5
    if (retain === true) return 'all';
    try {
      const { brokers, missing } = await client.router.deliveryOf(topic);
      if (missing === undefined)
        return brokers.includes('') ? 'all' : brokers.filter((each) => each !== client.brokerId);
    } catch {
      // Why is the router's to tell; what follows is the same.
    }
    counts.unanswered += 1;
    return 'all'; // Z2
  };

  const ready = peers.receive(async (bytes) => {
    const message = decodeMessage(bytes);
    if (message === undefined || mq.closed) return;
    counts.received += 1;
    if (message.kind !== 'publish') return handover.take(message);
    const { packet, sender } = message;
    await room.enter();
    const { store } = link;
    // Not waited for: the other broker may be handing over to this one.
    if (isNews(packet.topic)) handover.left(Buffer.from(packet.payload).toString('utf8'), sender).catch(failed);
    if (packet.retain === true) store?.retain(packet);
    if (packet.qos !== 0)
      for (const { clientId } of store?.subscriptionsTo(packet.topic) ?? []) store?.enqueue(clientId, packet);
    local.emit(packet, () => room.leave());
  });

  ready.catch(() => {}); // Whoever awaits it sees the error.
  return Object.assign(mq, {
    counts,
    ready,
    on(topic: string, notify: Listener, done?: () => void) {
      local.on(topic, notify, done === undefined ? undefined : () => void link.reported.then(done)); // Z6
      return mq;
    },
    emit(message: Message, done: Done = () => {}) {
      if (mq.closed) return local.emit(message, done);
      if (isNews(message.topic)) handover.came(String(message.payload));
      const handedOver = link.numbered(message as Packet);
      if (!message.topic.startsWith('$')) client.events.published(message.topic, message.payload?.length ?? 0);
      const forwarded = forward(message);
      local.emit(message, (error) => {
        handedOver();
        forwarded.then(
          () => done(error),
          (failure: Error) => done(error ?? failure),
        );
      });
      return mq;
    },
  });
}

/** Lets in at most `max` at a time, in the order in which they came. */
class Room {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(max: number) {
    this.#free = max;
  }

  async enter(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
