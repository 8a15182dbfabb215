// Perform: carries out the effects of the apply stage on the stores of a provisioner.
//
//   P1. Effects are performed in order. Consecutive writes are joined into one batch for each shard and performed for
//       all shards at the same time: their versions, not their order, decide.
//   P2. When an effect of a move cannot be performed, its outcome is `failed`, and the move decides what follows. Any
//       other failure rejects with STORE_UNAVAILABLE, and the runner repeats all effects, which are idempotent. So does
//       a write of a move with `holdMs`, until it has been repeated for that long.
//       Nothing waits for a shard that has lost its data: that would keep the partition from the command that rebuilds
//       the shard. A write with `holdMs` fails at once, and `own` and `disown` outside a move are dropped.
//   P3. A provisioner that cannot be reached is treated as a shard that is not ready yet: it is asked again at the next
//       tick. A shard that was ready once is never given up: any trouble makes it lost, and it is asked for until it is
//       back.
//   P4. Outcomes come in the order of the effects; joined writes give one outcome; `own` outside a move and `disown`
//       give none.
//   P5. A shard that has lost its data, belongs to another fleet, or does not exist although it has slices, is reported
//       to the watch at once: a task that waits for it cannot report it.
//   P6. Nothing waits for a count or a release: one that fails has no outcome, and is repeated later.
//   P7. A slice is copied from, and compared with, only a store that says it owns the slice. A store that has taken the
//       place of another knows nothing of the slice, and an empty source would not differ from an empty target.
//   P8. A failed write with `away` gives the outcome `unwritten`, with its rows: the stage keeps them.
//   P9. A reading, a check and a correction always have an outcome, which says why they were not possible. Nothing waits
//       for them.

import { AppError } from '../schemas/errors.ts';
import type { MoveId, ShardId, SliceKey } from '../schemas/ids.ts';
import type { StoreKind } from '../schemas/records.ts';
import type { Effect, Outcome, SubscriptionRow } from '../state/effects.ts';
import { isWithin } from '../state/keys.ts';
import { compareStretch, mendRows } from './check.ts';
import { LOSSES, lost } from './identity.ts';
import { holdsExactly } from './live-rows.ts';
import { writeResult } from './merge.ts';
import { RowDigest, rowBytes } from './rows.ts';
import type { Provisioner, ShardStore } from './shard-store.ts';

/**
 * Is told of shards that are lost, and of shards that are found (P5). Called for each effect; it remembers what it was
 * told.
 */
export interface ShardWatch {
  /** `isForeign`: a store exists, but belongs to another fleet. */
  lost(shard: ShardId, reason: string, isForeign: boolean): void;
  /** `afterStart`: the caller has just started, so an earlier report may be out of date. */
  found(shard: ShardId, afterStart: boolean): void;
}

export interface PerformSettings {
  /** Most rows in one call of a store: limits memory, and the time until other calls have their turn. */
  readonly rowsPerWrite: number;
  /** Number of partitions of the fleet's key space. */
  readonly partitions: number;
  /** The kind of store of a datastore type, for the outcome when a provisioner could not be asked. */
  readonly kindOf: (datastoreType: string) => StoreKind;
  readonly watch?: ShardWatch;
  /**
   * The instance of the shard by the pointer table; a store of another instance is refused from the first contact on.
   */
  readonly instanceOf?: (shard: ShardId) => string | undefined;
  /** Whether the pointer table calls the shard lost: no reader asks it, so nothing waits for it when it does not answer. */
  readonly isGivenUp?: (shard: ShardId) => boolean;
}

const NOBODY: ShardWatch = { lost() {}, found() {} };
const ALL_LOSSES: ReadonlySet<string> = new Set([...LOSSES, 'SHARD_UNKNOWN']);
const isForeign = ({ code }: AppError): boolean => code === 'FLEET_MISMATCH';

type Write = Extract<Effect, { kind: 'write' }>;
type Other = Exclude<Effect, { kind: 'write' }>;

export function effectsOver(
  provisioner: Provisioner,
  settings: PerformSettings,
): { perform(effects: readonly Effect[], waitedMs?: () => number): Promise<readonly Outcome[]> } {
  const stores = new Stores(provisioner, settings);
  return {
    async perform(effects, waitedMs = () => 0) {
      const outcomes: Outcome[] = [];
      for (let at = 0; at < effects.length; ) {
        const writes: Write[] = [];
        for (let next = effects[at]; next?.kind === 'write'; next = effects[++at]) writes.push(next);
        if (writes.length > 0) outcomes.push(...(await performWrites(stores, settings, writes, waitedMs)));
        const other = effects[at];
        if (other === undefined || other.kind === 'write') continue;
        const outcome = await performOne(stores, provisioner, settings, other);
        if (outcome !== undefined) outcomes.push(outcome);
        at += 1;
      }
      return outcomes;
    },
  };
}

/** The rows of one shard, for one move or for none: they fail together. */
interface Batch {
  readonly shard: ShardId;
  readonly move: MoveId | undefined;
  readonly holdMs: number;
  readonly away: Write['away'];
  readonly rows: SubscriptionRow[];
}

/** The stores of a provisioner, with reports to the watch (P5). */
class Stores {
  readonly #provisioner: Provisioner;
  readonly #watch: ShardWatch;
  readonly #instanceOf: (shard: ShardId) => string | undefined;
  readonly #isGivenUp: (shard: ShardId) => boolean;

  constructor(
    provisioner: Provisioner,
    { watch, instanceOf, isGivenUp }: Pick<PerformSettings, 'watch' | 'instanceOf' | 'isGivenUp'>,
  ) {
    this.#provisioner = provisioner;
    this.#watch = watch ?? NOBODY;
    this.#instanceOf = instanceOf ?? (() => undefined);
    this.#isGivenUp = isGivenUp ?? (() => false);
  }

  async on<Result>(shard: ShardId, work: (store: ShardStore) => Promise<Result>): Promise<Result> {
    try {
      const meant = { instanceId: this.#instanceOf(shard) };
      const result = await work(await this.#provisioner.store(shard, meant));
      this.#watch.found(shard, false);
      return result;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (ALL_LOSSES.has(error.code)) this.#watch.lost(shard, error.message, isForeign(error));
      const code = error.code === 'STORE_UNAVAILABLE' && this.#isGivenUp(shard) ? 'SHARD_LOST' : error.code;
      throw new AppError(code, error.message, { ...error.facts, shard }, error);
    }
  }

  async unlessLost(shard: ShardId, work: (store: ShardStore) => Promise<unknown>): Promise<void> {
    try {
      await this.on(shard, work);
    } catch (error) {
      if (!(error instanceof AppError && this.isLoss(shard, error))) throw error;
    }
  }

  /** P2. A shard that nobody has is lost if it was there once; before that its task is still about to make it. */
  isLoss(shard: ShardId, { code }: AppError): boolean {
    return code === 'SHARD_LOST' || (code === 'SHARD_UNKNOWN' && !!this.#instanceOf(shard));
  }
}

async function performWrites(
  stores: Stores,
  settings: PerformSettings,
  writes: readonly Write[],
  waitedMs: () => number,
): Promise<Outcome[]> {
  const batches = new Map<string, Batch>();
  for (const { shard, move, holdMs = 0, away, rows } of writes) {
    const key = `${shard} ${move ?? ''} ${away ?? ''}`;
    const batch = batches.get(key) ?? { shard, move, holdMs, away, rows: [] };
    batches.set(key, batch);
    for (const row of rows) batch.rows.push(row);
  }
  const isHeld = ({ holdMs }: Batch): boolean => waitedMs() < holdMs;
  const written = [...batches.values()].map((batch) =>
    unlessUnwritten(batch, () =>
      settle(
        'write',
        batch.shard,
        (error) => (isHeld(batch) && !stores.isLoss(batch.shard, error) ? undefined : batch.move),
        async (): Promise<Outcome> => {
          let stale = 0;
          let foreign = 0;
          for (let from = 0; from < batch.rows.length; from += settings.rowsPerWrite) {
            const some = batch.rows.slice(from, from + settings.rowsPerWrite);
            const result = await stores.on(batch.shard, (store) => store.write(some));
            stale += result.stale;
            foreign += result.foreign ?? 0;
          }
          const result = writeResult(batch.rows.length, stale, foreign);
          return {
            kind: 'written',
            shard: batch.shard,
            ...result,
            ...(batch.away === 'drain' ? { isDrain: true } : {}),
          };
        },
      ),
    ),
  );
  // All have ended before a failure is thrown: nothing is still running when the effects are repeated.
  const settled = await Promise.allSettled(written);
  return settled.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value;
  });
}

/** P8. */
async function unlessUnwritten({ shard, rows, away }: Batch, work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    if (away === undefined || !(error instanceof AppError)) throw error;
    const isLost = ALL_LOSSES.has(String(error.facts.code));
    if (away === 'lost' && !isLost) throw error;
    return { kind: 'unwritten', shard, rows, isDrain: away === 'drain', isLost, reason: error.message };
  }
}

function performOne(
  stores: Stores,
  provisioner: Provisioner,
  settings: PerformSettings,
  effect: Other,
): Promise<Outcome | undefined> {
  switch (effect.kind) {
    case 'provision':
      return provision(provisioner, settings, effect);
    case 'release':
      return unlessAway(async () => {
        const refused = (await provisioner.release(effect.shard)) ?? '';
        return { kind: 'released', shard: effect.shard, refused };
      });
    case 'own':
      return settle(
        effect.kind,
        effect.shard,
        () => effect.move,
        async () => {
          // Refused (shard-store.ts D4): a later record is stored; this one is a repetition or comes from a former
          // owner.
          const { shard, owner, move } = effect;
          const tell = (store: ShardStore): Promise<unknown> => store.own(owner);
          await (move === undefined ? stores.unlessLost(shard, tell) : stores.on(shard, tell));
          return move === undefined
            ? undefined
            : { kind: 'owned' as const, move, shard, slice: owner.slice, state: owner.state };
        },
      );
    case 'disown':
      return settle(effect.kind, effect.shard, NO_MOVE, async () => {
        // As with `own`: when refused, it is not this task's record to forget any more (shard-store.ts D5).
        await stores.unlessLost(effect.shard, (store) => store.disown(effect.slice, effect.right));
        return undefined;
      });
    case 'copy':
      return settle(
        effect.kind,
        effect.to,
        () => effect.move,
        () => copy(stores, settings, effect),
      );
    case 'compare':
      return settle(
        effect.kind,
        effect.to,
        () => effect.move,
        () => compare(stores, settings, effect),
      );
    case 'fill':
      return settle(
        effect.kind,
        effect.to,
        () => effect.move,
        () => fill(stores, settings, effect),
      );
    case 'match':
      return settle(
        effect.kind,
        effect.to,
        () => effect.move,
        () => match(stores, settings, effect),
      );
    case 'erase':
      return settle(
        effect.kind,
        effect.shard,
        () => effect.move,
        async () => {
          const { move, shard, range, limit, right } = effect;
          const erased = await stores.on(shard, (store) => store.erase(range, limit, right));
          const rows = erased ?? 0;
          return { kind: 'erased', move, shard, rows, done: rows < limit, refused: erased === undefined };
        },
      );
    case 'read':
      return read(stores, settings, effect);
    case 'check':
      return checked(stores, settings, effect);
    case 'mend': {
      const { check, shard, differences, stray } = effect;
      const mended = { kind: 'mended', check, shard } as const;
      return orAway(
        async () => ({
          ...mended,
          away: await stores.on(shard, (store) => mendRows(store, differences, stray, settings.partitions)),
        }),
        (away) => ({ ...mended, away }),
      );
    }
    case 'count':
      return unlessAway(async () => {
        const { shard, range, from, limit } = effect;
        const counted = await stores.on(shard, (store) => store.count(range, from, limit));
        return { kind: 'counted', slice: range.slice, ...counted };
      });
  }
}

async function provision(
  provisioner: Provisioner,
  settings: PerformSettings,
  { shard, datastoreType, resize, create, instanceId }: Extract<Effect, { kind: 'provision' }>,
): Promise<Outcome> {
  const watch = settings.watch ?? NOBODY;
  try {
    const known = create ? undefined : instanceId;
    const provisioned = await provisioner.ensure(shard, datastoreType, resize, known);
    if (provisioned.state === 'ready') watch.found(shard, !create);
    if (provisioned.state === 'lost') watch.lost(shard, provisioned.reason, provisioned.isForeign === true);
    const { isForeign: _, ...outcome } = provisioned;
    return { kind: 'provisioned', shard, datastoreType, ...outcome };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const isLost = !create && error.code !== 'STORE_UNAVAILABLE'; // P3
    if (isLost) watch.lost(shard, error.message, isForeign(error));
    return {
      kind: 'provisioned',
      shard,
      datastoreType,
      state: error.code === 'STORE_UNAVAILABLE' ? 'pending' : isLost ? 'lost' : 'failed',
      storeKind: settings.kindOf(datastoreType),
      instanceId: '',
      address: '',
      reason: error.message,
    };
  }
}

async function copy(
  stores: Stores,
  settings: PerformSettings,
  { move, from, to, range, cursor, limit }: Extract<Effect, { kind: 'copy' }>,
): Promise<Outcome> {
  const page = await stores.on(from, async (source) => {
    if (cursor === undefined) await checkOwner(source, range.slice, settings.partitions);
    return source.scan(range, cursor, limit);
  });
  if (page.rows.length > 0) await stores.on(to, (target) => target.write(page.rows));
  let bytes = 0;
  for (const row of page.rows) bytes += rowBytes(row);
  return { kind: 'copied', move, rows: page.rows.length, bytes, cursor: page.cursor ?? cursor, done: page.done };
}

function read(
  stores: Stores,
  settings: PerformSettings,
  { shard, range, after, limit }: Extract<Effect, { kind: 'read' }>,
): Promise<Outcome> {
  const about = { kind: 'read', shard, slice: range.slice } as const;
  return orAway(
    async () => {
      const { rows, cursor, done } = await stores.on(shard, async (store) => {
        await checkOwner(store, range.slice, settings.partitions);
        return store.scan(range, after, limit);
      });
      return { ...about, rows, upTo: done ? undefined : cursor, away: '' };
    },
    (away) => ({ ...about, rows: [], upTo: after, away }),
  );
}

function checked(
  stores: Stores,
  settings: PerformSettings,
  effect: Extract<Effect, { kind: 'check' }>,
): Promise<Outcome> {
  const { check, shard, range, after } = effect;
  const about = { kind: 'checked', check, shard, slice: range.slice } as const;
  return orAway(
    async () => {
      const compared = await stores.on(shard, async (store) => {
        if (effect.owned && after === undefined) await checkOwner(store, range.slice, settings.partitions);
        return compareStretch(store, effect);
      });
      return { ...about, ...compared, done: compared.upTo === undefined, away: '' };
    },
    (away) => ({ ...about, equal: 0, differences: [], upTo: after, done: false, away }),
  );
}

/** P9. */
async function orAway(work: () => Promise<Outcome>, away: (reason: string) => Outcome): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return away(`${error.code}: ${error.message}`);
  }
}

/** P6. */
async function unlessAway(work: () => Promise<Outcome>): Promise<Outcome | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return undefined;
  }
}

/**
 * Compares a page. The target is digested up to the source's last row, or after the last page to the end of the range,
 * so that surplus rows are found. Equal rows are not enough: look-ups at the target must find them.
 */
async function compare(
  stores: Stores,
  settings: PerformSettings,
  { move, from, to, range, cursor, limit }: Extract<Effect, { kind: 'compare' }>,
): Promise<Outcome> {
  const page = await stores.on(from, async (source) => {
    if (cursor === undefined) await checkOwner(source, range.slice, settings.partitions);
    return source.scan(range, cursor, limit);
  });
  const digest = new RowDigest();
  for (const row of page.rows) digest.add(row);
  const expected = digest.result();
  const upTo = page.done ? undefined : page.cursor;
  const found = await stores.on(to, (target) => target.digest(range, cursor, upTo));
  const equal = found.rows === expected.rows && found.digest === expected.digest && found.hidden === 0;
  return { kind: 'compared', move, rows: expected.rows, equal, cursor: page.cursor ?? cursor, done: page.done };
}

async function fill(
  stores: Stores,
  { rowsPerWrite }: PerformSettings,
  { move, to, passage }: Extract<Effect, { kind: 'fill' }>,
): Promise<Outcome> {
  const { rows, upTo } = passage;
  for (let from = 0; from < rows.length; from += rowsPerWrite)
    await stores.on(to, (target) => target.write(rows.slice(from, from + rowsPerWrite)));
  let bytes = 0;
  for (const row of rows) bytes += rowBytes(row);
  return { kind: 'copied', move, rows: rows.length, bytes, cursor: upTo, done: upTo === undefined };
}

async function match(
  stores: Stores,
  { partitions }: PerformSettings,
  { move, to, range, passage }: Extract<Effect, { kind: 'match' }>,
): Promise<Outcome> {
  const { rows, upTo } = passage;
  const equal = await stores.on(to, (target) => holdsExactly(target, range, passage, partitions));
  return { kind: 'compared', move, rows: rows.length, equal, cursor: upTo, done: upTo === undefined };
}

/**
 * Checks P7. Throws SHARD_LOST when the store has no owner record of the slice. A record with another state may be that
 * of a later task.
 */
async function checkOwner(source: ShardStore, slice: SliceKey, partitions: number): Promise<void> {
  const around = (await source.owners()).filter((record) => isWithin(slice, record.slice, partitions));
  if (around.some(({ state }) => state === 'owned')) return;
  if (around.length === 0) throw lost(source.instanceId, `it has no owner record for ${slice}`);
  throw new AppError('STORE_UNAVAILABLE', `${slice} is ${around[0]!.state} there`, { slice });
}

const NO_MOVE = (): undefined => undefined;

/** P2: runs the work; `moveOf` is called once it has failed. Anything but an AppError is a bug and is thrown on. */
async function settle<Result extends Outcome | undefined>(
  effect: Effect['kind'],
  asked: ShardId,
  moveOf: (error: AppError) => MoveId | undefined,
  work: () => Promise<Result>,
): Promise<Result | Extract<Outcome, { kind: 'failed' }>> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const shard = (error.facts.shard as ShardId | undefined) ?? asked;
    const reason = `${effect} on ${shard}: ${error.message}`;
    const move = moveOf(error);
    if (move !== undefined)
      return {
        kind: 'failed',
        move,
        effect,
        shard,
        lost: ALL_LOSSES.has(error.code),
        reason: `${error.code}: ${reason}`,
      };
    throw new AppError('STORE_UNAVAILABLE', reason, { shard, effect, code: error.code }, error);
  }
}
