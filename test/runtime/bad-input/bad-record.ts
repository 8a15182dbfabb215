// One bad record of the catalogue, and bytes that no encoder would write.

import type { RawRecord } from '../../../runtime/ports.ts';
import type { ErrorCode } from '../../../schemas/errors.ts';

export interface BadRecord {
  /** Its number in the catalogue of bad input. */
  readonly number: number;
  readonly name: string;
  readonly topic: 'subscriptions' | 'metrics' | 'wildcard-subscriptions';
  readonly key: Buffer | string | null;
  /** By default where the key belongs. */
  readonly partition?: number;
  readonly value: Buffer | null;
  readonly headers?: NonNullable<RawRecord['headers']>;
  /** `ACCEPTED`: it is odd, but worked as any other. */
  readonly expected: ErrorCode | 'ACCEPTED';
}

/** A number of the catalogue that does not arise with our records, and why. */
export interface NotOurs {
  readonly number: number;
  readonly reason: string;
}

// ---- Avro by hand ---------------------------------------------------------------------------------------------------

export function varint(value: number | bigint): Buffer {
  let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
  const bytes: number[] = [];
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

export const avroText = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text as string);
  return Buffer.concat([varint(bytes.length), bytes]);
};

export const header = (schemaId: number): Buffer =>
  Buffer.from([0, schemaId >>> 24, (schemaId >>> 16) & 255, (schemaId >>> 8) & 255, schemaId & 255]);

/** A SubscriptionEvent whose every part may be anything. */
export function rawEvent(
  parts: {
    readonly action?: number;
    readonly filter?: string | Buffer;
    readonly client?: string | Buffer;
    readonly broker?: string | Buffer;
    readonly qos?: number | bigint;
    readonly timestamp?: number | bigint;
  } = {},
): Buffer {
  return Buffer.concat([
    header(1),
    varint(parts.action ?? 0),
    avroText(parts.filter ?? 'a/b'),
    avroText(parts.client ?? 'client-1'),
    avroText(parts.broker ?? 'broker-1'),
    varint(parts.qos ?? 1),
    varint(parts.timestamp ?? 1_767_225_600_000),
  ]);
}
