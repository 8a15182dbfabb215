// Load: what clients do: they subscribe, subscribe again and leave, at few filters, so that events meet; some topics are hot.

import type { Oracle } from './oracle.ts';
import type { Chance } from './scheduler.ts';

export interface Deed {
  readonly action: 'SUBSCRIBE' | 'UNSUBSCRIBE';
  readonly filter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
}

const CONCRETE = [
  'a',
  'a/b',
  'a/b/c',
  'b',
  'b/c',
  'c/d',
  'd',
  'd/e/f',
  'e',
  'f/g',
  'hot',
  'hot/x',
  '/',
  '/a',
  'a/',
  'a//c',
  '$SYS/load',
  'ä/ö',
];
const TRIE = [
  '#',
  '+',
  '+/+',
  'a/#',
  'a/+',
  'a/+/c',
  '+/b',
  'a/b/#',
  '/+',
  '+/',
  '/#',
  'b/#',
  'b/+',
  '$SYS/#',
  '$SYS/+',
  '+/+/c',
  'hot/#',
  'hot/+',
  'd/+/f',
  'd/e/#',
];
const SHARED = ['$share/g/a/#', '$share/g/a', '$share/g/hot/+', '$share/h/#', '$share/h/b/c', '$share/h/+/b'];
const UNHEARD = ['nobody', 'a/b/c/d', '$SYS', '$SYS/load/1', 'd/e', '//', 'z//'];
const HOT = ['hot', 'hot/x', 'hot/#'];
const CLIENTS = 40;

export class Load {
  readonly concrete = CONCRETE;
  readonly filters: readonly string[] = [...CONCRETE, ...TRIE, ...SHARED];
  readonly topics: readonly string[] = [...CONCRETE, ...UNHEARD];
  readonly #chance: Chance;
  readonly #oracle: Oracle;
  readonly #hotShare: number;
  readonly #leaveShare: number;

  constructor(chance: Chance, oracle: Oracle) {
    this.#chance = chance;
    this.#oracle = oracle;
    this.#hotShare = chance.oneOf([0, 0.2, 0.6]);
    this.#leaveShare = chance.oneOf([0.2, 0.4, 0.5]);
  }

  next(): Deed {
    const chance = this.#chance;
    const filter = chance.hits(this.#hotShare) ? chance.oneOf(HOT) : chance.oneOf(this.filters);
    const clientId = `client-${chance.below(CLIENTS)}`;
    const held = this.#oracle.liveOf(filter, clientId);
    const brokerId = `broker-${chance.below(3)}`;
    const qos = chance.below(3);
    if (held !== undefined && chance.hits(this.#leaveShare * 1.5))
      return { action: 'UNSUBSCRIBE', filter, clientId, brokerId: held.brokerId, qos: 0 };
    if (held === undefined && chance.hits(0.05)) return { action: 'UNSUBSCRIBE', filter, clientId, brokerId, qos: 0 };
    return {
      action: 'SUBSCRIBE',
      filter,
      clientId,
      brokerId: held !== undefined && chance.hits(0.7) ? held.brokerId : brokerId,
      qos,
    };
  }

  /** A topic to publish to. */
  topic(): string {
    return this.#chance.hits(this.#hotShare / 2)
      ? this.#chance.oneOf(['hot', 'hot/x'])
      : this.#chance.oneOf(this.topics);
  }

  /** A topic that the filter matches. */
  topicOf(filter: string): string {
    const inner = filter.startsWith('$share/') ? filter.split('/').slice(2).join('/') : filter;
    const levels = inner.split('/').map((level) => (level === '+' ? 'b' : level === '#' ? 'c' : level));
    return levels.join('/');
  }

  /** What a client is subscribed to, as far as it is due. */
  heldBy(clientId: string): { readonly filter: string; readonly brokerId: string; readonly qos: number }[] {
    return this.filters.flatMap((filter) => {
      const live = this.#oracle.liveOf(filter, clientId);
      return live === undefined ? [] : [{ filter, ...live }];
    });
  }
}
