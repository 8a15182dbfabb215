// Rates step: how many concrete subscription events one thread counts in a second, from decoded records to windows. The
// peer is a plain implementation: one Map of window objects by series, and a Set of clients for each.

import { countRates, type Row } from '../processors/rates/rates.ts';
import { RATES_DEFAULTS } from '../processors/rates/settings.ts';
import type { Rows } from '../processors/step.ts';
import type { EventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { filterHash, leadingBits } from '../state/keys.ts';
import type { Measurement } from './measurement.ts';

const EVENTS = 1_000_000;
const TOPICS = 100_000;
const ROUNDS = 5;
const BAR_PER_SECOND = 2_000_000;

export async function ratesStep(): Promise<readonly Measurement[]> {
  const events = eventsOfFleet();
  let best = 0;
  let bestPlain = 0;
  for (let round = 0; round < ROUNDS; round++) {
    best = Math.max(
      best,
      perSecond(() => throughStep(events)),
    );
    bestPlain = Math.max(
      bestPlain,
      perSecond(() => throughMaps(events)),
    );
  }
  return [
    {
      name: `rates step, ${TOPICS.toLocaleString('en')} topics, one thread`,
      figure: best,
      unit: 'events/s',
      peer: 'a Map of windows by series',
      peerFigure: bestPlain,
      ratio: best / bestPlain,
      bar: 'at least 2 M events/s',
      met: best >= BAR_PER_SECOND,
    },
  ];
}

/**
 * 5,000 events in each second of event time, half of them for a hundred busy topics. Strings are made as by a decoder.
 */
function eventsOfFleet(): SubscriptionEvent[] {
  let state = 42;
  const draw = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return Array.from({ length: EVENTS }, (_, i) => {
    const topic = draw(2) === 0 ? draw(100) : draw(TOPICS);
    return {
      action: draw(3) === 0 ? ('UNSUBSCRIBE' as const) : ('SUBSCRIBE' as const),
      topicFilter: fresh(`site/${topic % 100}/device/${topic}/state`),
      clientId: fresh(`client-${draw(50_000)}`),
      brokerId: 'broker-1',
      qos: 1,
      timestamp: (1_704_067_200_000 + Math.floor(i / 5)) as EventTime,
    };
  });
}

const fresh = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');

function perSecond(work: () => void): number {
  const start = performance.now();
  work();
  return (EVENTS * 1000) / (performance.now() - start);
}

function throughStep(events: readonly SubscriptionEvent[]): void {
  const map = new Map<string, Row>();
  const rows: Rows<Row> = {
    get: (key) => map.get(key),
    set: (key, row) => void map.set(key, row),
    delete: (key) => void map.delete(key),
    entries: () => map.entries(),
    size: 1,
  };
  const step = countRates({ ...RATES_DEFAULTS, partitions: 8 });
  let offset = 0;
  for (const value of events)
    step(rows, { topic: 'subscriptions', partition: 0, offset: offset++, key: value.topicFilter, value });
}

function throughMaps(events: readonly SubscriptionEvent[]): void {
  const open = new Map<string, { subscribes: number; unsubscribes: number; clients: Set<string> }>();
  let windowStart = 0;
  for (const event of events) {
    if (event.timestamp >= windowStart + 10_000) {
      windowStart = event.timestamp - (event.timestamp % 10_000);
      open.clear();
    }
    for (const series of [`c/0/${leadingBits(filterHash(event.topicFilter), 3)}`, `t/${event.topicFilter}`]) {
      let window = open.get(series);
      if (window === undefined) {
        window = { subscribes: 0, unsubscribes: 0, clients: new Set() };
        open.set(series, window);
      }
      if (event.action === 'SUBSCRIBE') window.subscribes++;
      else window.unsubscribes++;
      window.clients.add(event.clientId);
    }
  }
}
