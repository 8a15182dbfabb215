// Message: a packet of Aedes as one broker sends it to another: a header in JSON behind its length, then the payload.

import type { Packet } from './session-store.ts';

const LENGTH_BYTES = 4;

export function encodeMessage({
  topic,
  payload = '',
  qos = 0,
  retain,
  dup,
  brokerId,
  brokerCounter,
  clientId,
}: Packet): Buffer {
  const header = Buffer.from(JSON.stringify({ topic, qos, retain, dup, brokerId, brokerCounter, clientId }));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(header.length);
  return Buffer.concat([length, header, typeof payload === 'string' ? Buffer.from(payload) : payload]);
}

/** `undefined` for what is no message of a broker. */
export function decodeMessage(
  bytes: Buffer,
): (Packet & { readonly topic: string; readonly payload: Buffer }) | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + bytes.readUInt32BE(0);
  try {
    const header = JSON.parse(bytes.toString('utf8', LENGTH_BYTES, end)) as Packet;
    if (typeof header.topic !== 'string') return undefined;
    return { cmd: 'publish', ...header, topic: header.topic, payload: bytes.subarray(end) };
  } catch {
    return undefined;
  }
}
