// Subscription options: what a SUBSCRIBE of MQTT 5 says about a topic filter besides its QoS (3.8.3.1, 3.8.2.1.2). They
// do not affect sharding; the broker that delivers needs them, so rows and answers carry them.
//
//   P1. When all have their defaults the row has no options, so it is stored as in releases before there were any.

import type { SubscriptionEvent } from '../schemas/records.ts';

export interface SubscriptionOptions {
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0 to RETAIN_HANDLING_MAX. */
  readonly retainHandling: number;
  /** 1 to IDENTIFIER_MAX; 0 for none. */
  readonly subscriptionIdentifier: number;
}

export const RETAIN_HANDLING_MAX = 2;
/** MQTT 5, 3.8.2.1.2: a variable byte integer, of 28 bits. */
export const IDENTIFIER_MAX = 0xfff_ffff;

const NO_LOCAL = 1;
const RETAIN_AS_PUBLISHED = 2;
/** Position of retainHandling in the packed number: two bits from here. */
const RETAIN_HANDLING = 4;
const IDENTIFIER = 16;

/** The options of a valid event; `undefined` when all have their defaults (P1). */
export function optionsOf(
  event: Pick<SubscriptionEvent, 'noLocal' | 'retainAsPublished' | 'retainHandling' | 'subscriptionIdentifier'>,
): SubscriptionOptions | undefined {
  const { noLocal = false, retainAsPublished = false, retainHandling = 0, subscriptionIdentifier = 0 } = event;
  if (!noLocal && !retainAsPublished && retainHandling === 0 && subscriptionIdentifier === 0) return undefined;
  return { noLocal, retainAsPublished, retainHandling, subscriptionIdentifier };
}

/** All options as one 32-bit number; 0 for none. */
export function packOptions(options: SubscriptionOptions | undefined): number {
  if (options === undefined) return 0;
  const flags = (options.noLocal ? NO_LOCAL : 0) + (options.retainAsPublished ? RETAIN_AS_PUBLISHED : 0);
  return flags + options.retainHandling * RETAIN_HANDLING + options.subscriptionIdentifier * IDENTIFIER;
}

export const unpackOptions = (packed: number): SubscriptionOptions | undefined =>
  optionsOf({
    noLocal: (packed & NO_LOCAL) !== 0,
    retainAsPublished: (packed & RETAIN_AS_PUBLISHED) !== 0,
    retainHandling: (packed >>> 2) & 3,
    subscriptionIdentifier: packed >>> 4,
  });
