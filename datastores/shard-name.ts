// Shard names: a shard's name becomes a folder and a part of a URL, so it is checked before either is made.

import { AppError } from '../schemas/errors.ts';
import type { ShardId } from '../schemas/ids.ts';

/** The first character excludes `.`, `..` and options; the rest is what `refuseMetric` accepts for a shard id. */
const SHARD_NAME = /^[A-Za-z0-9][\w.-]{0,127}$/;

/** Throws SHARD_INVALID. */
export function checkedShardName(name: string): ShardId {
  if (!SHARD_NAME.test(name)) {
    throw new AppError(
      'SHARD_INVALID',
      'a shard id must begin with a letter or digit and have at most 128 letters, digits, "_", "." or "-"',
      { length: name.length },
    );
  }
  return name as ShardId;
}
