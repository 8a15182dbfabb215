// Calls: Foreshard's requests to a shard's store over the network, from a checked body to an answer that can be written
// as JSON (wire.ts).

import { Compile } from 'typebox/compile';
import { problemOf } from '../../schemas/checked.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime, sliceKey } from '../../schemas/ids.ts';
import { cursorAt, rowBytes } from '../rows.ts';
import { checkedShardName } from '../shard-name.ts';
import type { Meant, Page, Provisioner, ShardStore } from '../shard-store.ts';
import { bodyProblem, ownerOf, REQUESTS, type Request, rangeOf, rowOf, wireRow } from './wire.ts';

/** A write of 10,000 rows with texts of some hundred bytes; longer writes are divided. */
export const CALL_BYTES_MAX = 16 * 1024 * 1024;
/** A page ends before it is larger than this, so that answers are bounded whatever the texts are. */
const PAGE_BYTES_MAX = 8 * 1024 * 1024;

type StoreCall = Exclude<keyof typeof REQUESTS, 'ensure'>;
type Calls = { readonly [Call in StoreCall]: (store: ShardStore, body: Request<Call>) => Promise<unknown> };

/** Each call on a shard's store, with its checked body. */
const CALLS: Calls = {
  write: (store, body) => store.write(body.rows.map(rowOf)),
  forget: (store, body) => store.forget(body.rows.map(rowOf)),
  own: (store, body) => store.own(ownerOf(body.owner)),
  disown: (store, { slice, right }) => store.disown(sliceKey(slice), { state: right.state, epoch: epoch(right.epoch) }),
  owners: (store) => store.owners(),
  lookup: (store, body) => store.lookup(body.filters, epoch(body.asker)),
  match: (store, body) =>
    store.match(
      body.queries.map((each) => ({ topic: each.topic, slice: sliceKey(each.slice), epoch: epoch(each.epoch) })),
    ),
  scan: async (store, body) => {
    const page = bounded(await store.scan(rangeOf(body.range), body.cursor, body.limit));
    return { rows: page.rows.map(wireRow), cursor: page.cursor, done: page.done };
  },
  digest: (store, body) => store.digest(rangeOf(body.range), body.after, body.upTo),
  erase: async (store, { range, limit, right }) =>
    (await store.erase(rangeOf(range), limit, { ...right, epoch: epoch(right.epoch) })) ?? null,
  count: (store, body) => store.count(rangeOf(body.range), body.cursor, body.limit),
  dropTombstones: (store, body) => store.dropTombstones(eventTime(body.before)),
};

/** The names of the calls on a shard's store. */
export const STORE_CALLS = Object.keys(CALLS);

/** A request to a provisioner (`ensure`, `find`, `release`) or to a shard's store. */
export interface ShardCall {
  readonly shard: string;
  readonly meant: Meant;
  readonly call: string;
  /** Nothing for `find` and `release`. */
  readonly body?: unknown;
}

/**
 * Carries the call out. Throws REQUEST_INVALID before anything is done, and what the provisioner or the store throws.
 */
export async function carryOutCall(
  provisioner: Provisioner,
  { shard, meant, call, body }: ShardCall,
): Promise<unknown> {
  const name = checkedShardName(shard);
  if (call === 'find') {
    const { kind, instanceId } = await provisioner.store(name, meant);
    return { kind, instanceId };
  }
  if (call === 'release') {
    const resident = await provisioner.release(name, meant);
    return resident === undefined ? {} : { resident };
  }
  if (!Object.hasOwn(REQUESTS, call)) throw new AppError('REQUEST_INVALID', `there is no call ${call.slice(0, 32)}`);
  const asked = call as keyof typeof REQUESTS;
  if (!CHECKS[asked].Check(body)) {
    const problem = problemOf(REQUESTS[asked], body);
    throw new AppError('REQUEST_INVALID', `body${problem === undefined ? '' : `${problem.path} ${problem.text}`}`);
  }
  if (asked === 'ensure') {
    const { datastoreType, resize, known } = body as Request<'ensure'>;
    return provisioner.ensure(name, datastoreType, resize, known, meant.keySpace);
  }
  const problem = bodyProblem(body);
  if (problem !== undefined) throw new AppError('REQUEST_INVALID', problem);
  return CALLS[asked](await provisioner.store(name, meant), body as never);
}

const CHECKS = Object.fromEntries(
  Object.entries(REQUESTS).map(([call, schema]) => [call, Compile(schema)]),
) as unknown as Readonly<Record<keyof typeof REQUESTS, { Check(body: unknown): boolean }>>;

/** The first rows of the page up to PAGE_BYTES_MAX, at least one. */
function bounded(page: Page): Page {
  let bytes = 0;
  for (const [i, row] of page.rows.entries()) {
    bytes += rowBytes(row);
    if (bytes <= PAGE_BYTES_MAX || i === 0) continue;
    const rows = page.rows.slice(0, i);
    return { rows, cursor: cursorAt(rows[i - 1]!), done: false };
  }
  return page;
}
