import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { EntryWriter, entryKey, readEntry } from '../../../log/embedded/embedded-entry.ts';
import { type EmbeddedLogOptions, embeddedLog } from '../../../log/embedded/embedded-log.ts';
import type { Log, OutRecord, RawRecord } from '../../../runtime/ports.ts';
import { AppError } from '../../../schemas/errors.ts';
import { MemoryLog } from '../../support/memory-log.ts';
import { fc } from '../../support/property.ts';
import { logSuite } from '../log-suite.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

function freshDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'embedded-log-'));
  dirs.push(dir);
  return dir;
}

const open = (dir: string, options: Partial<EmbeddedLogOptions> = {}) =>
  embeddedLog({ dir, app: 'app', partitions: 1, cleanEveryMs: 0, ...options });

logSuite(
  'embedded',
  async ({ app, partitions }) => {
    const dir = mkdtempSync(join(tmpdir(), 'embedded-log-'));
    let log = await open(dir, { app, partitions });
    return {
      log,
      restart: async () => {
        await log.close();
        log = await open(dir, { app, partitions });
        return log;
      },
      fence: async (group, partition) => log.fence(group.name, partition),
      compact: (topic) => log.compact(topic),
      dispose: async () => {
        await log.close();
        rmSync(dir, { recursive: true, force: true });
      },
    };
  },
  { cannot: { failNextCommit: 'a commit in the process is never in doubt while the disk works' } },
);

// ---- helpers ---------------------------------------------------------------------------------------------------------

const table = { name: 'table', partitions: 1, cleanup: 'compact', retentionMs: -1 } as const;
const events = { name: 'events', partitions: 1, cleanup: 'delete', retentionMs: 1000 } as const;

const record = (topic: string, key: string, value: string | null): OutRecord => ({
  topic,
  partition: 0,
  key,
  value: value === null ? null : Buffer.from(value),
});

async function readAll(log: Log, topic: string): Promise<RawRecord[]> {
  const records: RawRecord[] = [];
  const follower = await log.follow(topic, 'earliest', async (batch) => {
    records.push(...batch.records);
  });
  await follower.caughtUp;
  await follower.close();
  return records;
}

const fold = (records: readonly RawRecord[]): Record<string, string> => {
  const rows: Record<string, string> = {};
  for (const { key, value } of records) {
    if (value === null) delete rows[String(key)];
    else rows[String(key)] = String(value);
  }
  return rows;
};

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
  return 'no error';
}

// ---- entries ---------------------------------------------------------------------------------------------------------

describe('embedded log: entries', () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each));
  const someRecord = fc.record({
    gap: fc.integer({ min: 0, max: 300 }),
    time: fc.integer({ min: 0, max: 2 ** 41 }),
    key: fc.oneof(fc.constant(null), bytes),
    value: fc.oneof(fc.constant(null), bytes),
    headers: fc.option(fc.dictionary(fc.string({ maxLength: 50, unit: 'binary' }), bytes, { maxKeys: 3 }), {
      nil: undefined,
    }),
  });

  test('any records come back as they were, and any flipped bit is noticed', () => {
    fc.assert(
      fc.property(
        fc.array(someRecord, { maxLength: 30 }),
        fc.integer({ min: 0, max: 2 ** 40 }),
        fc.nat(),
        (some, first, at) => {
          const writer = new EntryWriter();
          writer.begin(first);
          let offset = first;
          const records = some.map(({ gap, time, ...rest }): RawRecord => {
            const each = { offset: offset + gap, timestamp: time, ...rest };
            writer.add(each.offset, time, each);
            offset = each.offset + 1;
            return each;
          });
          const key = entryKey(3, 7, offset);
          const value = writer.finish(key);
          const entry = readEntry(key, value)!;
          expect(entry.first).toBe(first);
          expect(entry.last).toBe(offset);
          expect(entry.records.map((each) => ({ ...each, headers: each.headers && { ...each.headers } }))).toEqual(
            records.map((each) => ({ ...each, headers: each.headers && { ...each.headers } })),
          );
          value[at % value.length]! ^= 1 << (at % 8);
          expect(readEntry(key, value)).toBeUndefined();
        },
      ),
      { seed: 20_261, numRuns: 300 },
    );
  });

  test('text keys of every length are written as their UTF-8 bytes', () => {
    const writer = new EntryWriter();
    const keys = Array.from({ length: 140 }, (_, length) => '€'.repeat(length));
    writer.begin(0);
    for (const [offset, key] of keys.entries()) writer.add(offset, 1, { key, value: null });
    const key = entryKey(0, 0, keys.length - 1);
    expect(readEntry(key, writer.finish(key))!.records.map((each) => String(each.key))).toEqual(keys);
  });
});

// ---- clean-up --------------------------------------------------------------------------------------------------------

describe('embedded log: compaction', () => {
  test('whatever is written, a compacted topic folds to the same rows as the full one, after a restart too', async () => {
    const change = fc.tuple(fc.integer({ min: 0, max: 12 }), fc.option(fc.string({ maxLength: 4 }), { nil: null }));
    const act = fc.oneof(
      { weight: 6, arbitrary: fc.array(change, { minLength: 1, maxLength: 30 }) },
      { weight: 2, arbitrary: fc.constant('compact' as const) },
      { weight: 1, arbitrary: fc.constant('restart' as const) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 20 }), async (acts) => {
        const dir = freshDir();
        let log = await open(dir, { sync: false });
        const full = new MemoryLog({ app: 'app', partitions: 1 });
        await log.prepare([table]);
        await full.prepare([table]);
        for (const each of acts) {
          if (each === 'compact') await log.compact('table');
          else if (each === 'restart') {
            await log.close();
            log = await open(dir, { sync: false });
          } else {
            const records = each.map(([key, value]) => record('table', `k${key}`, value));
            await log.append(records);
            await full.append(records);
          }
        }
        await log.compact('table');
        const compacted = await readAll(log, 'table');
        expect(fold(compacted)).toEqual(fold(full.recordsOf('table')));
        expect(new Set(compacted.map((each) => String(each.key))).size).toBe(compacted.length);
        full.compact('table');
        expect(compacted.map((each) => each.offset)).toEqual(full.recordsOf('table').map((each) => each.offset));
        await log.close();
      }),
      { seed: 20_262, numRuns: 25 },
    );
  });

  test('small entries grow together', async () => {
    const dir = freshDir();
    const log = await open(dir, { sync: false });
    await log.prepare([table]);
    for (let i = 0; i < 500; i++) await log.append([record('table', `key-${i}`, 'value')]);
    await log.compact('table');
    let batches = 0;
    const follower = await log.follow('table', 'earliest', async () => {
      batches++;
    });
    await follower.caughtUp;
    expect(batches).toBe(1);
    await log.close();
  });

  test('a partition is cleaned at the stated dirty ratio, not before', async () => {
    const log = await open(freshDir(), { sync: false, dirtyRatio: 0.5, dirtyBytesMin: 10_000 });
    await log.prepare([table]);
    const write = (count: number) =>
      log.append(Array.from({ length: count }, (_, i) => record('table', `k${i % 300}`, 'x'.repeat(50))));
    await write(100); // About 6 kB: below the least.
    await log.clean();
    expect(await readAll(log, 'table')).toHaveLength(100);
    await write(300);
    await log.clean();
    expect(await readAll(log, 'table')).toHaveLength(300); // About 18 kB, all of it clean now.
    await write(200);
    await log.clean();
    expect(await readAll(log, 'table')).toHaveLength(500); // 12 kB of 30 kB are dirty.
    await write(200);
    await log.clean();
    expect(await readAll(log, 'table')).toHaveLength(300);
    await log.close();
  });

  test('a removal is kept for its time while the log is open, and a restart begins that time anew', async () => {
    const dir = freshDir();
    let now = 1_000_000;
    const options = { sync: false, now: () => now, tombstoneMs: 1000 };
    let log = await open(dir, options);
    await log.prepare([table]);
    await log.append([record('table', 'a', '1'), record('table', 'b', '1'), record('table', 'a', null)]);
    const keys = async () => (await readAll(log, 'table')).map((each) => `${each.key}=${each.value}`);
    await log.compact('table');
    expect(await keys()).toEqual(['b=1', 'a=null']);
    await log.close();
    now += 5000;
    log = await open(dir, options);
    await log.compact('table');
    expect(await keys()).toEqual(['b=1', 'a=null']);
    now += 1001;
    await log.compact('table');
    expect(await keys()).toEqual(['b=1']);
    await log.close();
  });

  test('records that are appended and read while a pass runs are neither lost nor seen twice', async () => {
    const log = await open(freshDir(), { sync: false });
    await log.prepare([table]);
    const wide = 'x'.repeat(2000);
    const seen: number[] = [];
    const follower = await log.follow('table', 'earliest', async (batch) => {
      for (const { offset } of batch.records) seen.push(offset);
    });
    for (let round = 0; round < 10; round++) {
      const compaction = log.compact('table');
      await log.append(Array.from({ length: 300 }, (_, i) => record('table', `k${i}`, `${round} ${wide}`)));
      await compaction;
    }
    await log.whenIdle();
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.slice(-300)).toEqual(Array.from({ length: 300 }, (_, i) => 2700 + i));
    await log.compact('table');
    expect(await readAll(log, 'table')).toHaveLength(300);
    await follower.close();
    await log.close();
  });
});

describe('embedded log: retention', () => {
  test('records past their time go, but not before every group that commits here has read them', async () => {
    const dir = freshDir();
    let now = 1_000_000;
    const options = { sync: false, now: () => now };
    let log = await open(dir, options);
    await log.prepare([events]);
    for (const value of ['a', 'b', 'c', 'd']) {
      await log.append([record('events', 'k', value)]);
      now += 400;
    }
    const values = async () => (await readAll(log, 'events')).map((each) => String(each.value));
    const handler = { gained: async () => ({}), records: async () => {}, lost: async () => {} };
    let commit: ((next: number) => Promise<unknown>) | undefined;
    const member = await log.join(
      { name: 'g', gathers: false, address: '', topics: [{ name: 'events', partitions: 'all' }] },
      {
        ...handler,
        gained: async (task) => {
          commit = (next) => task.commit({ changelog: [], outputs: [], inputs: { 'events/0': next } });
          return {};
        },
      },
    );
    await log.whenIdle();
    await commit!(1);
    await log.clean();
    expect(await values()).toEqual(['b', 'c', 'd']); // `b` is too old as well, but not read.
    await commit!(3);
    await log.clean();
    expect(await values()).toEqual(['c', 'd']);
    now += 10_000;
    await commit!(4);
    await member.leave(1000);
    await log.close();
    log = await open(dir, options);
    await log.clean();
    expect(await values()).toEqual([]);
    await log.append([record('events', 'k', 'e')]);
    expect((await readAll(log, 'events')).map((each) => each.offset)).toEqual([4]);
    await log.close();
    log = await open(dir, options);
    expect((await readAll(log, 'events')).map((each) => each.offset)).toEqual([4]);
    await log.close();
  });
});

// ---- damage ----------------------------------------------------------------------------------------------------------

describe('embedded log: trouble', () => {
  test('a folder that is in use is refused', async () => {
    const dir = freshDir();
    const log = await open(dir);
    expect(await codeOf(open(dir))).toBe('LOG_UNAVAILABLE');
    await log.close();
    const again = await open(dir);
    await again.close();
  });

  test('after close nothing is taken', async () => {
    const log = await open(freshDir());
    await log.prepare([events]);
    await log.close();
    await log.close();
    expect(await codeOf(log.append([record('events', 'k', 'v')]))).toBe('LOG_UNAVAILABLE');
    expect(await codeOf(log.follow('events', 'earliest', async () => {}))).toBe('LOG_UNAVAILABLE');
  });

  test('a topic or partition that does not exist is refused, and the rest of the append with it', async () => {
    const log = await open(freshDir());
    await log.prepare([events]);
    const good = record('events', 'k', 'v');
    expect(await codeOf(log.append([good, { ...good, topic: 'nowhere' }]))).toBe('TOPIC_MISCONFIGURED');
    expect(await codeOf(log.append([good, { ...good, partition: 1 }]))).toBe('TOPIC_MISCONFIGURED');
    expect(await readAll(log, 'events')).toEqual([]);
    await log.close();
  });

  for (const { name, restarts } of [
    { name: 'in its write-ahead log', restarts: 0 },
    { name: 'in its tables', restarts: 1 },
  ]) {
    test(`a damaged file ${name} is refused or costs the tail alone, never a record in the middle`, async () => {
      const dir = freshDir();
      let log = await open(dir, { sync: false });
      await log.prepare([events, table]);
      const written: string[] = [];
      for (let i = 0; i < 60; i++) {
        const value = `${i} ${'y'.repeat(i * 40)}`;
        written.push(value);
        await log.append([record('events', `k${i}`, value), record('table', `k${i % 9}`, value)]);
      }
      const files = new Map<string, Buffer>();
      const keep = () => {
        files.clear();
        for (const file of readdirSync(dir)) files.set(file, readFileSync(join(dir, file)));
      };
      if (restarts === 0) keep();
      await log.close();
      if (restarts > 0) {
        log = await open(dir, { sync: false });
        await log.close();
        keep();
      }
      let refused = 0;
      let tails = 0;
      for (const [file, bytes] of files) {
        if (file === 'LOCK' || file.startsWith('LOG') || bytes.length === 0) continue;
        for (let i = 0; i < 12; i++) {
          const at = Math.floor(((i + 0.5) * bytes.length) / 12);
          const damaged = Buffer.from(bytes);
          damaged[at]! ^= 0x10;
          const copy = freshDir();
          for (const [name, content] of files) writeFileSync(join(copy, name), name === file ? damaged : content);
          const values = await surviving(copy);
          if (values === undefined) refused++;
          else {
            if (values.length < written.length) tails++;
            expect(values, `${file} with byte ${at} flipped`).toEqual(written.slice(0, values.length));
          }
        }
      }
      expect(refused).toBeGreaterThan(0);
      if (restarts > 0) expect(tails).toBe(0);
    });
  }

  /** The values of `events` that a log in this folder gives, or `undefined` when it refuses. */
  async function surviving(dir: string): Promise<string[] | undefined> {
    try {
      const log = await open(dir, { sync: false });
      try {
        await log.prepare([events, table]);
        const values = (await readAll(log, 'events')).map((each) => String(each.value));
        const rows = fold(await readAll(log, 'table'));
        for (let i = Math.max(0, values.length - 9); i < values.length; i++) expect(rows[`k${i % 9}`]).toBe(values[i]);
        return values;
      } finally {
        await log.close();
      }
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      expect(['STORE_CORRUPT', 'STORE_FORMAT', 'LOG_UNAVAILABLE']).toContain(error.code);
      return undefined;
    }
  }
});
