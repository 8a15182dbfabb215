// Live subscriptions: of a fleet, from its topic `subscription-table`, and in files: one JSON object for each line, or
// an Avro object container. Records are gathered in a folder on disk, since for each subscription the last record
// counts, and there may be more subscriptions than fit in memory.

import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import avsc from 'avsc';
import { AppError } from '../schemas/errors.ts';
import { shapeOf } from '../schemas/json-shape.ts';
import { SCHEMAS, type Subscription } from '../schemas/records.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { subscriptionTable } from '../topology/topics.ts';
import { type Reading, readRaw } from './reading.ts';

const MARK = { changelog: 0, inputs: {} };

/**
 * Hands over every live subscription, some thousand at a time, in the order of their keys; resolves with their number.
 */
export async function eachLive(
  { log, codec }: Reading,
  take: (some: readonly Subscription[]) => Promise<void>,
): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'foreshard-subscriptions-'));
  const store = await levelFolder(dir, { sync: false }).open('table');
  try {
    await readRaw(log, subscriptionTable, (records) =>
      store.write(
        records.map(({ key, value }) => ({ key: key?.toString('utf8') ?? '', value: value ?? undefined })),
        MARK,
      ),
    );
    let some: Subscription[] = [];
    let live = 0;
    for await (const [, value] of store.entries('')) {
      await codec.prepare(subscriptionTable.record!, [value]);
      const row = codec.decode(subscriptionTable.record!, value) as Subscription;
      if (row.removed) continue;
      live += 1;
      if (some.push(row) < BATCH_ROWS) continue;
      await take(some);
      some = [];
    }
    if (some.length > 0) await take(some);
    return live;
  } finally {
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

const BATCH_ROWS = 1_000;

/** A subscription of a file, with its line or record number, counted from 1; or the reason why the entry is not one. */
export type Entry =
  | { readonly at: number; readonly row: Subscription }
  | { readonly at: number; readonly problem: string };

/** Throws NOT_FOUND when the file cannot be read, and REQUEST_INVALID when it is an incomplete Avro file. */
export async function* entriesOf(file: string, now: () => number): AsyncGenerator<Entry> {
  const isAvro = (await head(file)) === AVRO_MAGIC;
  let at = 0;
  if (isAvro) {
    for await (const value of avroIn(file)) yield entryOf(++at, value, now);
    return;
  }
  for await (const line of createInterface({
    input: createReadStream(file, 'utf8'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    at += 1;
    if (line.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      yield { at, problem: 'it is not JSON' };
      continue;
    }
    yield entryOf(at, value, now);
  }
}

/** Writes the container format that `createFileEncoder` writes. */
export const avroEncoder = (file: string): avsc.streams.BlockEncoder =>
  avsc.createFileEncoder(file, SCHEMAS.Subscription as unknown as avsc.Schema);

// ---- private -------------------------------------------------------------------------------------------------------

const AVRO_MAGIC = 'Obj\u0001';
const isSubscription = shapeOf(SCHEMAS.Subscription);

function entryOf(at: number, value: unknown, now: () => number): Entry {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return { at, problem: 'it is not a subscription' };
  // Fields that another system does not have get values here.
  const row = { incarnation: 0, offset: 0, timestamp: now(), ...value };
  const problem = isSubscription(row);
  return problem === undefined ? { at, row: row as unknown as Subscription } : { at, problem };
}

async function head(file: string): Promise<string> {
  try {
    for await (const chunk of createReadStream(file, { end: AVRO_MAGIC.length - 1, encoding: 'latin1' }))
      return chunk as string;
    return '';
  } catch (cause) {
    throw new AppError('NOT_FOUND', `${file} cannot be read`, { file }, cause);
  }
}

async function* avroIn(file: string): AsyncGenerator<unknown> {
  try {
    for await (const value of avsc.createFileDecoder(file)) yield { ...value };
  } catch (cause) {
    throw new AppError('REQUEST_INVALID', `${file} is not a whole Avro file`, { file }, cause);
  }
}
