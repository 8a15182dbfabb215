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
//   Z5. `$SYS` topics stay here, but for the news of a connected client, by which other brokers close older connections
//       of the same client.
//   Z6. `on` ends when what its client has subscribed to is durable in the fleet's log: Aedes sends its SUBACK then.

import mqemitter from 'mqemitter';
import type { BrokerClient } from '../../join-fleet.ts';
import { NO_PEERS, type Peers } from '../exchange.ts';
import { FleetLink } from '../fleet-link.ts';
import { decodeMessage, encodeMessage } from '../message.ts';
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

export function emitter(client: BrokerClient, { peers = NO_PEERS, ...options }: EmitterOptions = {}): FleetEmitter {
  const mq = mqemitter({ matchEmptyLevels: true, ...options }) as FleetEmitter;
  const local = { emit: mq.emit.bind(mq), on: mq.on.bind(mq) };
  const link = FleetLink.of(client);
  const counts = { sent: 0, unanswered: 0, received: 0 };
  const room = new Room(RECEIVING_MAX);
  let last: Promise<unknown> = Promise.resolve();

  /** Resolves when the message is with the exchange. */
  const forward = async (packet: Message): Promise<void> => {
    const asked = receiversOf(packet);
    const begun = last.then(async () => {
      const to = await asked;
      if (to.length === 0) return { sending: undefined };
      counts.sent += 1;
      return { sending: peers.send(to, encodeMessage(packet as Packet)) };
    });
    last = begun; // Z3
    await (await begun).sending;
  };

  const receiversOf = async ({ topic, retain }: Message): Promise<readonly string[] | 'all'> => {
    if (topic.startsWith('$SYS/')) return topic.endsWith('/new/clients') ? 'all' : []; // Z5
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
    const packet = decodeMessage(bytes);
    if (packet === undefined) return;
    await room.enter();
    if (mq.closed) return;
    counts.received += 1;
    const { store } = link;
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
