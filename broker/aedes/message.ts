// Message: what one broker sends to another, and the envelope that it travels in through a log. Each is a header in JSON
// behind its length, then the rest: the payload of a packet, or a message.

import type { Packet, StoredSubscription } from './session-store.ts';

const LENGTH_BYTES = 4;

export type PublishPacket = Packet & { readonly topic: string; readonly payload: Uint8Array };

/**
 * `publish`: a packet for the receiver's clients. `session`: the subscriptions of a client that has connected to the
 * receiver; `queued`: a packet that waited for it.
 */
export type Message =
  | { readonly kind: 'publish'; readonly sender: string; readonly packet: PublishPacket }
  | { readonly kind: 'session'; readonly clientId: string; readonly subscriptions: readonly StoredSubscription[] }
  | { readonly kind: 'queued'; readonly clientId: string; readonly packet: PublishPacket };

export interface Envelope {
  readonly sender: string;
  readonly to: readonly string[] | 'all';
}

export function encodeMessage(message: Message): Buffer {
  if (message.kind === 'session') return framed(message, new Uint8Array());
  const { topic, payload, qos = 0, retain, dup, brokerId, brokerCounter, clientId } = message.packet;
  return framed({ ...message, packet: { topic, qos, retain, dup, brokerId, brokerCounter, clientId } }, payload);
}

/** `undefined` for what is no message of a broker. */
export function decodeMessage(bytes: Buffer): Message | undefined {
  const frame = unframed<Message>(bytes);
  const message = frame?.header as Message | undefined;
  if (frame === undefined || message === undefined) return undefined;
  switch (message.kind) {
    case 'session':
      return typeof message.clientId === 'string' && Array.isArray(message.subscriptions) ? message : undefined;
    case 'publish':
    case 'queued': {
      const named = message.kind === 'publish' ? message.sender : message.clientId;
      if (typeof named !== 'string' || typeof message.packet?.topic !== 'string') return undefined;
      return { ...message, packet: { cmd: 'publish', ...message.packet, payload: frame.body } };
    }
    default:
      return undefined;
  }
}

export const encodeEnvelope = (envelope: Envelope, message: Buffer): Buffer => framed(envelope, message);

/** `undefined` for what is no envelope. */
export function decodeEnvelope(bytes: Buffer): (Envelope & { readonly message: Buffer }) | undefined {
  const frame = unframed<Envelope>(bytes);
  if (typeof frame?.header.sender !== 'string') return undefined;
  const { sender, to } = frame.header;
  return to === 'all' || Array.isArray(to) ? { sender, to, message: frame.body } : undefined;
}

function framed(header: object, body: Uint8Array): Buffer {
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, body]);
}

function unframed<Header>(bytes: Buffer): { readonly header: Partial<Header>; readonly body: Buffer } | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + bytes.readUInt32BE(0);
  try {
    const header: unknown = JSON.parse(bytes.toString('utf8', LENGTH_BYTES, end));
    return typeof header === 'object' && header !== null ? { header, body: bytes.subarray(end) } : undefined;
  } catch {
    return undefined;
  }
}
