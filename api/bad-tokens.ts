// Bad tokens: counts the wrong tokens of each address, and how long it must wait for them. Pure: time is an argument.
//
//   B1. An address may send FREE_TRIES wrong tokens; each further one doubles its wait, up to WAIT_MAX_MS. While it
//       waits, its tokens are not compared, so it cannot learn whether a guess was right.
//   B2. At most `addressesMax` addresses are remembered; the one whose last wrong token is oldest is forgotten first.
//   B3. An IPv6 host usually owns a whole /64 network, so such a network counts as one address.

const FREE_TRIES = 10;
const WAIT_MIN_MS = 1_000;
/**
 * Fifteen minutes: allows under a hundred guesses a day, and does not lock an operator out for long after a mistake.
 */
const WAIT_MAX_MS = 900_000;
/** After this long without a wrong token an address starts again from zero. */
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
    this.#tries.delete(key); // Moved to the end: the map is ordered by the last wrong token (B2).
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
