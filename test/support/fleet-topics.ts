// Fleet topics: seeded filters and topics as a large installation of machines and vehicles has them. A few sites, lines
// and metrics are in most of them (Zipf), most filters put + for one level, some go on with #, some begin with a wildcard.

import { randomFrom, zipf } from '../../evaluation/random.ts';

export interface FleetTopics {
  readonly filters: readonly string[];
  readonly topics: readonly string[];
}

const METRICS =
  'temperature humidity pressure vibration speed torque current voltage power state alarm battery signal uptime firmware position count flow level acidity'.split(
    ' ',
  );
const LINES = 20;
const DEVICES_OF_LINE = 50;
const VEHICLES_OF_FLEET = 1_000;

/** `filterCount` distinct filters with a wildcard, and topics of which each is matched by some ten of them. */
export function fleetTopics(filterCount: number, topicCount: number, seed: number): FleetTopics {
  const random = randomFrom(seed);
  const draw = topicDraw(Math.max(4, Math.round(filterCount / 2_500)), random);
  const filters = new Set(['#', 'site/#', 'fleet/#', '$SYS/#', '$SYS/broker/+/load']);
  while (filters.size < filterCount) filters.add(filterOf(draw(), random).join('/'));
  const topics = Array.from({ length: topicCount }, () => {
    const levels = draw();
    const chance = random();
    if (chance < 0.005) return `$SYS/broker/${levels[1]}/load`;
    return (chance < 0.01 ? levels.slice(0, -1) : levels).join('/');
  });
  return { filters: shuffled([...filters].map(flat), random), topics: topics.map(flat) };
}

/** site/<site>/line/<line>/device/<device>/<metric> and fleet/<fleet>/vehicle/<vehicle>/<metric>. */
function topicDraw(sites: number, random: () => number): () => string[] {
  const site = zipf(sites, 0.8, random);
  const line = zipf(LINES, 0.6, random);
  const device = zipf(DEVICES_OF_LINE, 0.7, random);
  const metric = zipf(METRICS.length, 0.9, random);
  const fleet = zipf(Math.max(4, sites >> 2), 0.8, random);
  const vehicle = zipf(VEHICLES_OF_FLEET, 0.6, random);
  return () => {
    if (random() < 0.8) {
      const onSite = site();
      const onLine = line();
      const serial = (onSite * LINES + onLine) * DEVICES_OF_LINE + device();
      return ['site', `s${onSite}`, 'line', `l${onLine}`, 'device', `d${hex(serial, 7)}`, METRICS[metric()]!];
    }
    const ofFleet = fleet();
    const serial = ofFleet * VEHICLES_OF_FLEET + vehicle();
    return ['fleet', `f${ofFleet}`, 'vehicle', `v${hex(serial, 6)}`, METRICS[metric()]!];
  };
}

// Levels that applications put + for, from the topic's end, with how often.
const PLUS_PLACES: readonly (readonly [share: number, fromEnd: readonly number[]])[] = [
  [0.4, [1]],
  [0.22, [2]],
  [0.1, [4]],
  [0.06, [1, 2]],
  [0.06, [2, 4]],
  [0.06, [1, 4]],
];

function filterOf(topic: readonly string[], random: () => number): string[] {
  const filter = [...topic];
  let chance = random();
  for (const [share, places] of PLUS_PLACES) {
    chance -= share;
    if (chance >= 0) continue;
    for (const place of places) filter[filter.length - place] = '+';
    return filter;
  }
  // The rest goes on with #, after a prefix that is mostly long; a third of it has a + on the way.
  const kept = random() < 0.75 ? filter.length - 1 : filter.length - 3;
  if (random() < 0.33) filter[random() < 0.5 ? 0 : 1] = '+';
  return [...filter.slice(0, kept), '#'];
}

function shuffled(items: string[], random: () => number): string[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** A string of its own, as if decoded from a packet: joined strings are ropes, which would cost their first reader. */
const flat = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');
