// Message: a packet of Aedes as one broker sends it to another, and the envelope that it travels in through a log. Each is
// a header in JSON behind its length, then the rest.

import type { Packet } from './session-store.ts';

const LENGTH_BYTES = 4;

export type Message = Packet & { readonly topic: string; readonly payload: Buffer };

export interface Envelope {
  readonly sender: string;
  readonly to: readonly string[] | 'all';
}

export function encodeMessage(packet: Packet): Buffer {
  const { topic, payload = '', qos = 0, retain, dup, brokerId, brokerCounter, clientId } = packet;
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload;
  return framed({ topic, qos, retain, dup, brokerId, brokerCounter, clientId }, body);
}

/** `undefined` for what is no message of a broker. */
export function decodeMessage(bytes: Buffer): Message | undefined {
  const frame = unframed<Packet>(bytes);
  if (typeof frame?.header.topic !== 'string') return undefined;
  return { cmd: 'publish', ...frame.header, topic: frame.header.topic, payload: frame.body };
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
