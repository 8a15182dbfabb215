// Identity: stored in a store beside its rows, so that it is never mistaken for another one: which instance it is,
// and the key space of the fleet that its rows belong to.
//
//   N1. It is written when the store is created, before the shard is called ready, and checked whenever the store is
//       opened.
//   N2. A store without an identity, where a shard was, is empty: its data is lost. So is that of a shard with another
//       instance.
//   N3. A store created by an earlier release has none. It gets one, once, if it holds owner records: they are the
//       first rows that are written to a shard in use.

import { AppError } from '../schemas/errors.ts';
import type { KeySpace } from '../state/keys.ts';

export interface StoreIdentity extends KeySpace {
  readonly instanceId: string;
}

export interface Opening {
  readonly identity: StoreIdentity;
  /**
   * `new`: an empty folder. `known`: the store has its identity. `earlier`: it may be of a release that wrote none
   * (N3).
   */
  readonly as: 'new' | 'known' | 'earlier';
}

/** Whether the identity has to be written now. Throws SHARD_LOST or FLEET_MISMATCH. */
export function lacksIdentity(
  found: StoreIdentity | undefined,
  { identity, as }: Opening,
  holdsRecords: boolean,
): boolean {
  if (found === undefined) {
    if (as === 'new' || (as === 'earlier' && holdsRecords)) return true;
    throw gone(identity.instanceId, 'its store is empty');
  }
  if (found.instanceId !== identity.instanceId)
    throw lost(identity.instanceId, `the store there is ${found.instanceId}, another instance`);
  checkKeySpace(found, identity);
  return false;
}

/** What a store says of itself when it is not the one that was meant: asking again does not help. */
export const LOSSES: ReadonlySet<string> = new Set(['SHARD_LOST', 'FLEET_MISMATCH']);

/** Throws FLEET_MISMATCH. */
export function checkKeySpace(made: KeySpace, asked: KeySpace): void {
  const isTheFleet = made.fleet === undefined || asked.fleet === undefined || made.fleet === asked.fleet;
  if (made.partitions === asked.partitions && made.keyFormat === asked.keyFormat && isTheFleet) return;
  const setting = isTheFleet ? 'FORESHARD_PARTITIONS' : 'FORESHARD_TOPIC_PREFIX';
  throw new AppError(
    'FLEET_MISMATCH',
    `the shard was made for ${spaceText(made)} and is asked by a fleet of ${spaceText(asked)}: if it belongs to this fleet, set ${setting} to what the shard was made for; if not, give the fleet its own shard server`,
    { made: spaceText(made), asked: spaceText(asked) },
  );
}

export const lost = (instanceId: string, why: string): AppError =>
  new AppError(
    'SHARD_LOST',
    `the data of ${instanceId === '' ? 'the shard' : instanceId} is lost: ${why}. Nothing is read from it or written to it. What it held is rebuilt on another shard by itself, if the subscription table has it; if not, put its folder back from a copy or a snapshot of the disk`,
    { instanceId },
  );

/** The error for a lost store of which nothing is left that could be repaired. */
export const gone = (instanceId: string, why: string): AppError => {
  const { code, message, facts } = lost(instanceId, why);
  return new AppError(code, message, { ...facts, isGone: true });
};

export const isGone = ({ code, facts }: AppError): boolean => code === 'SHARD_LOST' && facts.isGone === true;

const spaceText = ({ partitions, keyFormat, fleet }: KeySpace): string =>
  `${partitions} partitions${keyFormat === 1 ? '' : ` and key format ${keyFormat}`}${fleet === undefined ? '' : ` and topics ${fleet}*`}`;
