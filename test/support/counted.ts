// Counted: whether every event was counted once, as rate windows tell it. A window closes with the first event of a later one,
// so closing events follow the last that count.

import { eventTime } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent } from '../../schemas/records.ts';
import { parseSlice, partitionOf, placeOf } from '../../state/keys.ts';
import type { EventLedger } from './event-ledger.ts';

/** Adds up windows before a time, each series once: a heavy topic's is counted in its leaf as well. */
export class Counted {
  late = 0;
  readonly #before: number;
  #inTime = 0;

  constructor(before: number) {
    this.#before = before;
  }

  take({ series, windowStart, subscribes, unsubscribes, lateEvents }: RateWindow): void {
    if (windowStart >= this.#before || parseSlice(series)?.kind === 'pin') return;
    this.#inTime += subscribes + unsubscribes;
    this.late += lateEvents;
  }

  get events(): number {
    return this.#inTime + this.late;
  }
}

export async function allDue(ledger: EventLedger): Promise<boolean> {
  await ledger.refresh();
  return ledger.dueCount === ledger.sentCount;
}

/**
 * Event time passes with the host's while nothing is told (runner.ts U2): what closes a window has to lie farther ahead than
 * a slow machine takes until then, or it is late itself. All of them within the hour that is believed at once.
 */
export const CLOSES_AFTER_MS = 15 * 60_000;

/**
 * A concrete and a wildcard event for each partition. They close every window before them, and theirs tells of events of
 * that partition's wildcard series that came late.
 */
export function closersAt(at: number, partitions: number): SubscriptionEvent[] {
  const filters = new Map<string, string>();
  for (let number = 0; filters.size < 2 * partitions; number++) {
    for (const filter of [`closer-${number}/state`, `closer-${number}/#`]) {
      const { trie, routingKey } = placeOf(filter);
      filters.set(`${trie} ${partitionOf(routingKey, partitions)}`, filter);
    }
  }
  const closer = { action: 'SUBSCRIBE', clientId: 'closer', brokerId: 'broker-0', qos: 0 } as const;
  return [...filters.values()].map((topicFilter) => ({ ...closer, topicFilter, timestamp: eventTime(at) }));
}
