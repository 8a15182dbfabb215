// Bad tokens: how many wrong ones an address has shown, and how long it has to wait for that. Pure: time is an argument.
//
//   B1. An address may be wrong FREE_TRIES times; each further try doubles its wait, up to WAIT_MAX_MS. While it waits
//       nothing it shows is looked at, so it cannot learn whether a guess was right.
//   B2. At most `addressesMax` addresses are remembered; the one that was wrong longest ago is forgotten first.
//   B3. IPv6 hosts own whole /64 networks, so such a network counts as one address.

const FREE_TRIES = 10;
const WAIT_MIN_MS = 1_000;
/** Fifteen minutes: under a hundred guesses a day, and an operator's mistake is over by the next coffee. */
const WAIT_MAX_MS = 900_000;
/** An address that was not wrong for so long begins anew. */
const FORGET_MS = 3_600_000;
/** About a MiB. */
const ADDRESSES_MAX = 10_000;

interface Tries {
  readonly count: number;
  readonly at: number;
}

export class BadTokens {
  readonly #tries = new Map<string, Tries>();
  readonly #addressesMax: number;

  constructor(addressesMax = ADDRESSES_MAX) {
    this.#addressesMax = addressesMax;
  }

  /** How long this address still has to wait; 0 when it may try. */
  waitMs(ip: string, now: number): number {
    const tries = this.#tries.get(network(ip));
    if (tries === undefined || tries.count < FREE_TRIES) return 0;
    const waitMs = Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** Math.min(30, tries.count - FREE_TRIES));
    return Math.max(0, tries.at + waitMs - now);
  }

  /** This address has shown a wrong token. */
  add(ip: string, now: number): void {
    const key = network(ip);
    const before = this.#tries.get(key);
    const count = before === undefined || now - before.at > FORGET_MS ? 1 : before.count + 1;
    this.#tries.delete(key); // Put again at the end: the map's order is the order of the last wrong try (B2).
    this.#tries.set(key, { count, at: now });
    if (this.#tries.size > this.#addressesMax) this.#tries.delete(this.#tries.keys().next().value!);
  }

  get size(): number {
    return this.#tries.size;
  }
}

/** An IPv4 address as it is; the first 64 bits of an IPv6 one (B3). */
export function network(ip: string): string {
  if (!ip.includes(':')) return ip;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip);
  if (mapped) return mapped[1]!;
  const [head = '', tail] = (ip.split('%')[0] ?? '').split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  const groups = [...left, ...new Array<string>(zeros).fill('0'), ...right];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
