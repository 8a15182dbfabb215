// The promises of state/store.ts, as tests that every engine must pass: one suite, one line for each engine.

import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { AppError } from '../../schemas/errors.ts';
import type { Change, Mark, Store, StoreFolder } from '../../state/store.ts';
import { fc } from '../support/property.ts';

export interface StoreFixture {
  readonly folder: StoreFolder;
  /** Where the stores lie, one folder for each task; absent when they do not lie on a disk. */
  readonly dir?: string;
  /** A folder of the same engine over another directory. */
  readonly over?: (dir: string) => StoreFolder;
  /** Puts a format version that this program does not know into a closed store. */
  readonly putFormat?: (task: string, version: number) => Promise<void>;
  dispose(): Promise<void>;
}

const MARK: Mark = { changelog: 7, inputs: { 'subscriptions/0': 42 } };

const put = (key: string, value: string): Change => ({ key, value: Buffer.from(value) });
const remove = (key: string): Change => ({ key, value: undefined });
const marked = (changelog: number): Mark => ({ changelog, inputs: {} });

async function rowsOf(store: Store, prefix = '', after?: string): Promise<[string, string][]> {
  const rows: [string, string][] = [];
  for await (const [key, value] of store.entries(prefix, after)) rows.push([key, String(value)]);
  return rows;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
  return 'no error';
}

export function storeSuite(name: string, makeFixture: () => Promise<StoreFixture>): void {
  const fixtures: StoreFixture[] = [];
  const stores: Store[] = [];

  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
    for (const fixture of fixtures.splice(0)) await fixture.dispose();
  });

  async function setUp(): Promise<{ fixture: StoreFixture; open: (task?: string) => Promise<Store>; store: Store }> {
    const fixture = await makeFixture();
    fixtures.push(fixture);
    const open = async (task = 'work-0'): Promise<Store> => {
      const store = await fixture.folder.open(task);
      stores.push(store);
      return store;
    };
    return { fixture, open, store: await open() };
  }

  describe(`store: ${name}`, () => {
    test('a new store is empty and has no mark', async () => {
      const { store } = await setUp();
      expect(await store.mark()).toBeUndefined();
      expect(await store.get('a')).toBeUndefined();
      expect(await rowsOf(store)).toEqual([]);
    });

    test('a write brings its rows and its mark', async () => {
      const { store } = await setUp();
      await store.write([put('a', '1'), put('b', '')], MARK);
      expect(await store.get('a')).toEqual(Buffer.from('1'));
      expect(await store.get('b')).toEqual(Buffer.alloc(0));
      expect(await store.mark()).toEqual(MARK);
    });

    test('the last change of a key in a write counts', async () => {
      const { store } = await setUp();
      await store.write([put('a', '1'), put('a', '2'), put('b', '1'), remove('b'), remove('c'), put('c', '3')], MARK);
      expect(await rowsOf(store)).toEqual([
        ['a', '2'],
        ['c', '3'],
      ]);
    });

    test('a write of no changes still moves the mark', async () => {
      const { store } = await setUp();
      await store.write([put('a', '1')], marked(1));
      await store.write([], marked(2));
      expect(await store.mark()).toEqual(marked(2));
      expect(await rowsOf(store)).toEqual([['a', '1']]);
    });

    test('entries come in the order of their UTF-8 bytes, and only those with the prefix', async () => {
      const { store } = await setUp();
      // UTF-16 order would put the emoji, a surrogate pair, before U+FFFD.
      const keys = ['t/b', 't/', 't', 't/a/é', 't/a', 'u', 't0', '\u0000', '', 't/\ufffd', 't/😀', 's/zzz'];
      await store.write(
        keys.map((key) => put(key, key)),
        MARK,
      );
      const sorted = [...keys].sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
      expect((await rowsOf(store)).map(([key]) => key)).toEqual(sorted);
      expect((await rowsOf(store, 't/')).map(([key]) => key)).toEqual(sorted.filter((key) => key.startsWith('t/')));
      expect(await rowsOf(store, 't/a/é')).toEqual([['t/a/é', 't/a/é']]);
      expect(await rowsOf(store, 'x')).toEqual([]);
      expect((await rowsOf(store, 't/', 't/a')).map(([key]) => key)).toEqual(['t/a/é', 't/b', 't/\ufffd', 't/😀']);
      expect((await rowsOf(store, 't/', 's')).map(([key]) => key)).toEqual(
        sorted.filter((key) => key.startsWith('t/')),
      );
      expect(await rowsOf(store, 't/', 'u')).toEqual([]);
    });

    test('many keys are read at once, in the order in which they were asked for', async () => {
      const { store } = await setUp();
      await store.write([put('a', '1'), put('b', '2'), put('c', '')], MARK);
      const found = await store.getMany(['c', 'x', 'a', 'a', 'b']);
      expect(found.map((value) => value?.toString())).toEqual(['', undefined, '1', '1', '2']);
      expect(await store.getMany([])).toEqual([]);
    });

    test('entries are those of the time of the call, whatever is written while they are read', async () => {
      const { store } = await setUp();
      await store.write(
        Array.from({ length: 3000 }, (_, i) => put(`k${String(i).padStart(4, '0')}`, 'old')),
        marked(1),
      );
      const entries = store.entries('k');
      await store.write([put('k0000', 'new'), remove('k2999'), put('k9999', 'new')], marked(2));
      const seen: [string, string][] = [];
      for await (const [key, value] of entries) {
        seen.push([key, String(value)]);
        if (seen.length === 10) await store.write([put('k2000', 'newer'), remove('k2001')], marked(3));
      }
      expect(seen).toHaveLength(3000);
      expect(seen.every(([, value]) => value === 'old')).toBe(true);
    });

    test('what it was given and what it gave can be changed without changing it', async () => {
      const { store } = await setUp();
      const value = Buffer.from('mine');
      await store.write([{ key: 'a', value }], MARK);
      value.fill(0);
      (await store.get('a'))!.fill(0);
      for await (const [, found] of store.entries('a')) found.fill(0);
      expect(String(await store.get('a'))).toBe('mine');
    });

    test('it is as it was after closing and opening, as often as one likes', async () => {
      const { store, open } = await setUp();
      await store.write([put('a', '1'), put('b', '1')], marked(1));
      await store.close();
      for (let turn = 2; turn < 6; turn++) {
        const again = await open();
        expect(await again.mark()).toEqual(marked(turn - 1));
        expect(await rowsOf(again)).toEqual([
          ['a', `${turn - 1}`],
          ['b', '1'],
        ]);
        await again.write([put('a', `${turn}`)], marked(turn));
        await again.close();
      }
    });

    test('any writes fold to what a map would hold, across restarts', async () => {
      const change = fc.record({
        key: fc.constantFrom('a', 'b', 'a/b', 'ä', '😀', ''),
        value: fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }),
      });
      const act = fc.oneof(
        { weight: 5, arbitrary: fc.array(change, { maxLength: 8 }) },
        { weight: 1, arbitrary: fc.constantFrom('clear' as const, 'restart' as const) },
      );
      let runs = 0;
      const { open } = await setUp();
      await fc.assert(
        fc.asyncProperty(fc.array(act, { maxLength: 12 }), async (acts) => {
          const task = `property-${runs++}`;
          let store = await open(task);
          const model = new Map<string, string>();
          let changelog = 0;
          for (const each of acts) {
            if (each === 'clear') {
              await store.clear();
              model.clear();
              changelog = 0;
            } else if (each === 'restart') {
              await store.close();
              store = await open(task);
            } else {
              const changes = each.map(({ key, value }): Change => ({ key, value: value && Buffer.from(value) }));
              await store.write(changes, marked(++changelog));
              for (const { key, value } of changes) {
                if (value === undefined) model.delete(key);
                else model.set(key, value.toString('hex'));
              }
            }
          }
          const rows: [string, string][] = [];
          for await (const [key, value] of store.entries('')) rows.push([key, value.toString('hex')]);
          expect(new Map(rows)).toEqual(model);
          expect(await store.mark()).toEqual(changelog === 0 ? undefined : marked(changelog));
          await store.close();
        }),
        { seed: 20_263, numRuns: 25 },
      );
    });

    test('stores of different tasks share nothing', async () => {
      const { store, open } = await setUp();
      const other = await open('work-1');
      await store.write([put('a', '1')], marked(1));
      expect(await rowsOf(other)).toEqual([]);
      expect(await other.mark()).toBeUndefined();
    });

    test('clear removes everything, and the store can be filled again', async () => {
      const { store, open } = await setUp();
      const many = Array.from({ length: 25_000 }, (_, i) => put(`k${i}`, 'v'));
      await store.write(many, MARK);
      await store.clear();
      expect(await rowsOf(store)).toEqual([]);
      expect(await store.mark()).toBeUndefined();
      await store.write([put('a', '1')], marked(1));
      await store.close();
      const again = await open();
      expect(await rowsOf(again)).toEqual([['a', '1']]);
      expect(await again.mark()).toEqual(marked(1));
    });

    test('destroy removes one store and leaves the others', async () => {
      const { fixture, store, open } = await setUp();
      const other = await open('work-1');
      await store.write([put('a', '1')], MARK);
      await other.write([put('b', '1')], MARK);
      await store.close();
      await fixture.folder.destroy('work-0');
      await fixture.folder.destroy('never-there');
      expect(await rowsOf(await open())).toEqual([]);
      expect(await rowsOf(other)).toEqual([['b', '1']]);
    });

    test('close can be repeated, waits for what was written, and ends everything else', async () => {
      const { store, open } = await setUp();
      const writing = store.write([put('a', '1')], marked(1));
      await Promise.all([store.close(), store.close()]);
      await store.close();
      await writing;
      for (const call of [
        () => store.get('a'),
        () => store.write([], MARK),
        () => store.mark(),
        () => store.clear(),
        () => rowsOf(store),
      ])
        expect(await codeOf(call())).toBe('STORE_CLOSED');
      expect(await rowsOf(await open())).toEqual([['a', '1']]);
    });

    test('closing while entries are being read ends the reading', async () => {
      const { store } = await setUp();
      await store.write(
        Array.from({ length: 5000 }, (_, i) => put(`k${i}`, 'x'.repeat(200))),
        MARK,
      );
      const reading = (async () => {
        let count = 0;
        for await (const _ of store.entries('')) if (++count === 3) await store.close();
      })();
      expect(await codeOf(reading)).toBe('STORE_CLOSED');
    });
  });
}

/** For engines on a disk: what is damaged there is refused, or shows an earlier whole state; never anything else. */
export function damageSuite(name: string, makeFixture: () => Promise<StoreFixture>, tables: string): void {
  const fixtures: StoreFixture[] = [];

  afterEach(async () => {
    for (const fixture of fixtures.splice(0)) await fixture.dispose();
  });

  async function setUp() {
    const fixture = await makeFixture();
    fixtures.push(fixture);
    return { fixture, dir: fixture.dir!, over: fixture.over! };
  }

  /** Rows as they are after each write, by the write's mark. */
  type States = Map<number | undefined, Record<string, string>>;

  async function fill(store: Store, from: number, to: number, states: States): Promise<void> {
    const rows: Record<string, string> = { ...(states.get(from - 1) ?? {}) };
    for (let write = from; write < to; write++) {
      const changes: Change[] = [];
      for (let i = 0; i < 12; i++) {
        const key = `row-${(write * 5 + i * 3) % 60}`;
        if ((write + i) % 7 === 0) {
          changes.push(remove(key));
          delete rows[key];
        } else {
          const value = `${write}-${i}-${'z'.repeat((i * 37) % 200)}`;
          changes.push(put(key, value));
          rows[key] = value;
        }
      }
      await store.write(changes, marked(write));
      states.set(write, { ...rows });
    }
  }

  function copyOf(from: string, to: string): void {
    rmSync(to, { recursive: true, force: true });
    mkdirSync(to, { recursive: true });
    cpSync(from, to, { recursive: true });
  }

  /** Opens what lies at `dir`, and says which whole state it shows, or the code it is refused with. */
  async function shown(folder: StoreFolder, states: States): Promise<string> {
    let store: Store | undefined;
    try {
      store = await folder.open('work-0');
      const mark = await store.mark();
      const rows = Object.fromEntries(await rowsOf(store));
      expect(rows).toEqual(states.get(mark?.changelog) ?? {});
      for (const key of Object.keys(states.get(mark?.changelog) ?? {}))
        expect(String(await store.get(key))).toBe(rows[key]);
      return mark === undefined ? 'empty' : `state ${mark.changelog}`;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return error.code;
    } finally {
      await store?.close();
    }
  }

  const ALLOWED = /^(STORE_CORRUPT|STORE_FORMAT|empty|state \d+)$/;

  describe(`store on a damaged disk: ${name}`, () => {
    test('another format is refused as that', async () => {
      const { fixture, over, dir } = await setUp();
      const store = await fixture.folder.open('work-0');
      await store.write([put('a', '1')], MARK);
      await store.close();
      await fixture.putFormat!('work-0', 99);
      expect(await codeOf(over(dir).open('work-0'))).toBe('STORE_FORMAT');
      await over(dir).destroy('work-0');
      const again = await over(dir).open('work-0');
      expect(await rowsOf(again)).toEqual([]);
      await again.close();
    });

    test('a store that is open elsewhere is not taken for a damaged one', async () => {
      const { fixture, over, dir } = await setUp();
      const store = await fixture.folder.open('work-0');
      expect(await codeOf(over(dir).open('work-0'))).toBe('STORE_UNAVAILABLE');
      await store.close();
    });

    for (const { where, closed } of [
      { where: 'as a crash leaves it, with writes in the write-ahead log alone', closed: false },
      { where: 'closed in order, with all rows in tables', closed: true },
    ]) {
      test(`any flipped byte, cut or garbled file shows a whole state or is refused: ${where}`, async () => {
        const { fixture, dir, over } = await setUp();
        const states: States = new Map([[undefined, {}]]);
        let store = await fixture.folder.open('work-0');
        await fill(store, 1, 30, states);
        if (closed) {
          await store.close();
          store = await fixture.folder.open('work-0'); // Brings the log into tables.
          await store.close();
        }
        const image = join(dir, 'image');
        copyOf(join(dir, 'work-0'), image);
        await store.close();
        const scratch = join(dir, 'scratch');
        const outcomes = new Map<string, number>();
        const attempt = async (what: string, damage: (task: string) => void): Promise<void> => {
          copyOf(image, join(scratch, 'work-0'));
          damage(join(scratch, 'work-0'));
          const outcome = await shown(over(scratch), states).catch((error) => {
            throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
          });
          expect(outcome, what).toMatch(ALLOWED);
          const kind = outcome.replace(/ \d+/, '');
          outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1);
        };
        await attempt('nothing', () => {});
        expect(outcomes.get('state')).toBe(1);
        for (const file of readdirSync(image)) {
          const size = statSync(join(image, file)).size;
          if (/^(LOCK|LOG|IDENTITY)/.test(file) || size === 0) continue;
          const isData = file.endsWith('.log') || file.endsWith(tables);
          const flips = isData ? 24 : 6;
          for (let i = 0; i < flips; i++) {
            const at = Math.floor(((i + 0.37) * size) / flips);
            await attempt(`${file}: bit ${i % 8} of byte ${at} flipped`, (task) => {
              const bytes = readFileSync(join(task, file));
              bytes[at]! ^= 1 << (i % 8);
              writeFileSync(join(task, file), bytes);
            });
          }
          for (const share of [0, 0.3, 0.7, 0.98]) {
            await attempt(`${file}: cut to ${share}`, (task) => {
              writeFileSync(join(task, file), readFileSync(join(task, file)).subarray(0, Math.floor(size * share)));
            });
          }
          await attempt(`${file}: garbled`, (task) => writeFileSync(join(task, file), Buffer.alloc(size, 0xa5)));
          await attempt(`${file}: gone`, (task) => rmSync(join(task, file)));
        }
        expect(outcomes.get('STORE_CORRUPT')).toBeGreaterThan(10);
      });
    }

    test('an older write-ahead log in the place of the newer one is not taken for the whole', async () => {
      const { fixture, dir, over } = await setUp();
      const states: States = new Map([[undefined, {}]]);
      const store = await fixture.folder.open('work-0');
      const task = join(dir, 'work-0');
      await fill(store, 1, 5, states);
      copyOf(task, join(dir, 'early'));
      await fill(store, 5, 9, states);
      const scratch = join(dir, 'scratch');
      copyOf(task, join(scratch, 'work-0'));
      await store.close();
      for (const file of readdirSync(join(dir, 'early')))
        if (file.endsWith('.log')) copyFileSync(join(dir, 'early', file), join(scratch, 'work-0', file));
      expect(await shown(over(scratch), states)).toMatch(/^(STORE_CORRUPT|state 4)$/);
    });
  });
}
