// Rights: what the holder of a token may do at a shard server. Tokens are compared in constant time.

import { createHash, timingSafeEqual } from 'node:crypto';

/** `read`: look-ups and what they need. `admin`: everything. */
export type Rights = 'none' | 'read' | 'admin';

export interface Tokens {
  /** `undefined`: no authentication; then everybody may do everything. */
  readonly admin: string | undefined;
  /** `undefined`: there is no token that only allows reading. */
  readonly read: string | undefined;
}

export function rightsOf(given: string, { admin, read }: Tokens): Rights {
  if (admin === undefined || isSame(given, admin)) return 'admin';
  return read !== undefined && isSame(given, read) ? 'read' : 'none';
}

const isSame = (a: string, b: string): boolean => timingSafeEqual(hashOf(a), hashOf(b));
const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();
