// Handover: a client with a persistent session connects to another broker, and its session follows it there: its
// subscriptions, and the messages that wait for it.
//
//   X1. The broker that has the session sends it when it hears that the client has connected elsewhere, and keeps its
//       subscriptions for `AFTERWARDS_MS`: what comes for them until the fleet names the new broker is sent after it.
//   X2. Nothing is lost, but a message may come twice, at QoS 2 as well, or behind a later one.
//   X3. A client that has connected with a clean session gets nothing of the old one. One that has gone again finds the
//       session where it was last.

import type { Peers } from './exchange.ts';
import type { FleetLink } from './fleet-link.ts';
import { encodeMessage, type Message, type PublishPacket } from './message.ts';
import type { Packet } from './session-store.ts';

/** Longer than a change of sessions takes to reach the shards. */
const AFTERWARDS_MS = 10_000;

export interface HandoverPorts {
  readonly link: FleetLink;
  readonly peers: Peers;
  /** Calls `then` once, after this time. */
  readonly after: (ms: number, then: () => void) => void;
}

export class Handover {
  readonly #ports: HandoverPorts;
  /** Clients whose session was sent elsewhere a short time ago (X1). */
  readonly #left = new Map<string, { readonly to: string }>();
  #taken = 0;

  constructor(ports: HandoverPorts) {
    this.#ports = ports;
  }

  /** The client has connected to another broker. */
  async left(clientId: string, to: string): Promise<void> {
    const { link, after } = this.#ports;
    const subscriptions = link.store?.subscriptionsOf(clientId) ?? [];
    if (subscriptions.length === 0) return;
    const going = { to };
    this.#left.set(clientId, going);
    after(AFTERWARDS_MS, () => {
      if (this.#left.get(clientId) === going) this.#ended(clientId, to).catch((error) => link.failed(clientId, error));
    });
    await this.#send(to, { kind: 'session', clientId, subscriptions });
    await this.#sendWaiting(clientId, to);
  }

  /** The client has connected here. */
  came(clientId: string): void {
    this.#left.delete(clientId);
  }

  /** Takes what the broker that had the session has sent. It is in the store when this returns. */
  take(message: Exclude<Message, { readonly kind: 'publish' }>): void {
    const { store, broker } = this.#ports.link;
    const { clientId } = message;
    const client = broker?.clients?.[clientId];
    if (client?.clean === true) return; // X3
    if (message.kind === 'session') {
      const missing = message.subscriptions.filter(({ topic }) => client?.subscriptions[topic] === undefined);
      if (client === undefined) store?.subscribe(clientId, missing);
      else if (missing.length > 0) client.subscribe(missing, () => {});
      return;
    }
    // Numbers of its own: by the sender's, Aedes would take it for one that the client has had already.
    this.#taken += 1;
    const { topic, payload, qos = 0 } = message.packet;
    const number = { brokerId: `${broker?.id}/handover`, brokerCounter: this.#taken };
    const packet = { cmd: 'publish', topic, payload, qos, retain: false, dup: false, ...number };
    store?.enqueue(clientId, packet);
    /** Unless it has gone out with all that waited, as it does while the client connects. */
    const deliver = (): void => {
      if (store?.takeUnsent(clientId, packet) === true) client?.publish(packet, () => {});
    };
    if (client?.connected === true) deliver();
    else client?.once('connected', deliver);
  }

  /** X1. */
  async #ended(clientId: string, to: string): Promise<void> {
    await this.#sendWaiting(clientId, to);
    this.#left.delete(clientId);
    this.#ports.link.store?.end(clientId);
  }

  async #sendWaiting(clientId: string, to: string): Promise<void> {
    const { store } = this.#ports.link;
    const waiting = store?.takeWaiting(clientId) ?? [];
    try {
      for (let packet = waiting[0]; packet !== undefined; packet = waiting[0]) {
        if (isPublish(packet)) await this.#send(to, { kind: 'queued', clientId, packet });
        waiting.shift();
      }
    } finally {
      for (const packet of waiting) store?.enqueue(clientId, packet); // They could not be sent.
    }
  }

  #send(to: string, message: Message): Promise<void> {
    return this.#ports.peers.send([to], encodeMessage(message));
  }
}

const isPublish = (packet: Packet): packet is PublishPacket =>
  packet.cmd !== 'pubrel' && packet.topic !== undefined && packet.payload instanceof Uint8Array;
