// Subscription: one filter of one client as the sessions stage stores it: what its client has said, what apply holds,
// and which event has to be written so that the two agree. Pure.
//
// The stage reads all events of a filter in the order in which apply does (ingest sends them on in the order of their
// partition), including its own. So it knows what apply holds without asking, and can correct any difference.
//
//   T1. The client's event with the highest session epoch counts; within one epoch, and so one broker, the last one.
//       Removals are stored too: a SUBSCRIBE of an earlier connection that comes late does not bring the subscription
//       back.
//   T2. A correction is written once: it is repeated only when it was read back, or after ASK_AGAIN_MS.
//   T3. A correction has the epoch of the client's event that it is about. Events of the client's later connections
//       take precedence, and the correction can be reversed, since a late record may make a session live again.

import type { ClientEvent, SubscriptionEvent } from '../../schemas/records.ts';
import { optionsOf, packOptions, unpackOptions } from '../../state/subscription-options.ts';

/** What the client said last. */
export interface Said {
  readonly subscribed: boolean;
  readonly epoch: number;
  readonly broker: string;
  /** QoS and options in one number; 0 for a removal. */
  readonly options: number;
  readonly at: number;
}

/** A subscription as apply holds it. */
export interface Held {
  readonly broker: string;
  readonly epoch: number;
  readonly options: number;
}

/** A correction that was written and has not been read back yet; `held` is absent for a removal. */
export interface Asked {
  readonly held?: Held;
  readonly at: number;
}

export interface Subscription {
  readonly said: Said;
  readonly held?: Held;
  readonly asked?: Asked;
  /** When it may be forgotten, once it is over; otherwise 0. */
  readonly forgetAt: number;
}

/**
 * The state of the client's session: subscriptions of connections up to `endedTo` are over, all others belong on
 * `broker`.
 */
export interface Standing {
  readonly endedTo: number;
  /** The broker of the last connection, and its epoch; absent while none is known. */
  readonly holder: { readonly broker: string; readonly epoch: number } | undefined;
}

/** Longer than an event takes through the log, unless its records were lost with their topic. */
const ASK_AGAIN_MS = 600_000;

/** Handles one event. `byEpoch`: whether apply orders events by session epoch. */
export function takeEvent(known: Subscription | undefined, event: ClientEvent, byEpoch: boolean): Subscription {
  const heard = heldAfter(known?.held, event, byEpoch);
  const { asked: before, ...rest } = known ?? { forgetAt: 0, said: saidIn(event) };
  const said = event.bySession === true ? rest.said : laterOf(known?.said, saidIn(event));
  const { held: _, ...kept } = rest as Subscription;
  const asked = before !== undefined && event.bySession === true && isWhatWasAsked(before, event) ? undefined : before;
  return { ...kept, said, ...(heard && { held: heard }), ...(asked && { asked }) };
}

export const isWanted = ({ said }: Subscription, { endedTo }: Standing): boolean =>
  said.subscribed && said.epoch > endedTo;

/** True when it is neither wanted nor held, and no correction is under way: it can be forgotten. */
export const isGone = (subscription: Subscription, standing: Standing): boolean =>
  subscription.held === undefined && subscription.asked === undefined && !isWanted(subscription, standing);

/** What apply should hold; `undefined` for nothing. */
export function wantedOf(subscription: Subscription, standing: Standing): Held | undefined {
  if (!isWanted(subscription, standing)) return undefined;
  const { said } = subscription;
  const { holder } = standing;
  const broker = holder !== undefined && holder.epoch >= said.epoch ? holder.broker : said.broker;
  return { broker, epoch: said.epoch, options: said.options };
}

export interface Corrected {
  readonly subscription: Subscription;
  /** The event to write to `subscriptions`; absent when apply holds what it should, or will. */
  readonly event: SubscriptionEvent | undefined;
}

/** The correction after which apply holds what it should (T2, T3). */
export function correct(
  subscription: Subscription,
  standing: Standing,
  place: { readonly clientId: string; readonly topicFilter: string; readonly now: number },
): Corrected {
  const { said, held, asked } = subscription;
  const wanted = wantedOf(subscription, standing);
  if (isSameHeld(held, wanted)) return { subscription, event: undefined };
  const { clientId, topicFilter, now } = place;
  const isAsked = asked !== undefined && isSameHeld(asked.held, wanted) && now - asked.at < ASK_AGAIN_MS;
  if (isAsked) return { subscription, event: undefined };
  const timestamp = Math.max(now, said.at) as SubscriptionEvent['timestamp'];
  const common = { topicFilter, clientId, bySession: true, timestamp };
  if (wanted === undefined)
    return {
      subscription: { ...subscription, asked: { at: now } },
      event: {
        ...common,
        action: 'UNSUBSCRIBE',
        brokerId: held!.broker,
        qos: 0,
        sessionEpoch: held!.epoch,
      },
    };
  return {
    subscription: { ...subscription, asked: { held: wanted, at: now } },
    event: {
      ...common,
      action: 'SUBSCRIBE',
      brokerId: wanted.broker,
      qos: wanted.options % QOS_VALUES,
      ...unpackOptions(Math.floor(wanted.options / QOS_VALUES)),
      sessionEpoch: wanted.epoch,
    },
  };
}

/** What apply holds after an event, by apply's own rules. */
function heldAfter(held: Held | undefined, event: ClientEvent, byEpoch: boolean): Held | undefined {
  const { action, brokerId: broker, sessionEpoch: epoch } = event;
  if (action === 'UNSUBSCRIBE') {
    const removes = held !== undefined && (byEpoch ? epoch >= held.epoch : broker === held.broker);
    return removes ? undefined : held;
  }
  if (byEpoch && held !== undefined && epoch < held.epoch) return held;
  return { broker, epoch, options: optionsIn(event) };
}

const saidIn = (event: ClientEvent): Said => ({
  subscribed: event.action === 'SUBSCRIBE',
  epoch: event.sessionEpoch,
  broker: event.brokerId,
  options: event.action === 'SUBSCRIBE' ? optionsIn(event) : 0,
  at: event.timestamp,
});

/** The later of the two (T1). */
const laterOf = (known: Said | undefined, said: Said): Said =>
  known === undefined || said.epoch >= known.epoch ? said : known;

function isWhatWasAsked({ held }: Asked, event: ClientEvent): boolean {
  if (event.action === 'UNSUBSCRIBE') return held === undefined;
  return isSameHeld(held, { broker: event.brokerId, epoch: event.sessionEpoch, options: optionsIn(event) });
}

const isSameHeld = (a: Held | undefined, b: Held | undefined): boolean =>
  a === undefined || b === undefined
    ? a === b
    : a.broker === b.broker && a.epoch === b.epoch && a.options === b.options;

const QOS_VALUES = 4;
const optionsIn = (event: ClientEvent): number => event.qos + QOS_VALUES * packOptions(optionsOf(event));
