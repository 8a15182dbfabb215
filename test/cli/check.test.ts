import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { serveHttp } from '../../api/edge/http-server.ts';
import type { CheckView, Views } from '../../api/views.ts';
import { checkShards } from '../../cli/check.ts';
import { Output } from '../../cli/output.ts';
import { Simulation } from '../../cli/simulation.ts';
import { configOf } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime, shardId, sliceKey } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import type { SubscriptionRow } from '../../state/effects.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { CHECK, fakeViews } from '../support/fake-views.ts';
import { ADMIN_TOKEN, CLOSED, READ_TOKEN } from '../support/http-app.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

let said: string[];
let output: Output;
const outputOf = (isJson: boolean): Output =>
  new Output(isJson, {
    out: new Writable({
      write(chunk, _encoding, done) {
        said.push(...String(chunk).trimEnd().split('\n'));
        done();
      },
    }),
  });
beforeEach(() => {
  said = [];
  output = outputOf(false);
});

describe('a check from the command line', () => {
  const { config } = configOf([
    { source: 'test', values: { httpReadToken: READ_TOKEN, httpAdminToken: ADMIN_TOKEN, workerThreads: 0 } },
  ]);
  const nothing = { missing: 0, extra: 0, different: 0, stray: 0, mended: 0, unchecked: 0, differences: [] };
  const found = { ...CHECK, ...nothing, rows: 1_234, slices: 4, slicesDone: 4, reasons: [] } as CheckView;
  const difference = {
    kind: 'MISSING' as const,
    ...{ slice: sliceKey('c/0/'), shardId: shardId('shard-0001') },
    ...{ topicFilter: 'a\u001b[31m', clientId: 'x', mended: true },
  } satisfies CheckView['differences'][number];

  /** Against a process whose planner answers so, one answer after the other, the last one for ever. */
  async function checked(
    answers: readonly (Partial<CheckView> | undefined)[],
    asked: { readonly what?: string; readonly repair?: boolean; readonly isJson?: boolean } = {},
  ) {
    const left = [...answers];
    const requests: unknown[] = [];
    const views: Partial<Views> = {
      requestCheck: async (request) => {
        requests.push(request);
        return 'check-1';
      },
      checks: async () => {
        const answer = left.length > 1 ? left.shift() : left[0];
        return { kind: 'here', answer: answer === undefined ? [] : [{ ...found, ...answer }] };
      },
    };
    const server = await serveHttp(fakeViews(views), CLOSED);
    onTestFinished(() => server.close(0));
    let pauses = 0;
    const { what, repair = false, isJson = false } = asked;
    const command = { config, url: `http://127.0.0.1:${server.port}`, what, repair };
    const done = checkShards(command, isJson ? outputOf(true) : output, async () => {
      pauses += 1;
    });
    return { isRight: await done, requests, pauses };
  }

  for (const { what, asks } of [
    { what: undefined, asks: { shardId: undefined, slice: undefined } },
    { what: 'shard-0001', asks: { shardId: 'shard-0001', slice: undefined } },
    { what: 'c/0/', asks: { shardId: undefined, slice: 'c/0/' } },
  ])
    test(`asks for ${what ?? 'everything'}`, async () => {
      const { requests } = await checked([{ state: 'DONE' }], {
        ...(what === undefined ? {} : { what }),
        repair: true,
      });
      expect(requests).toMatchObject([{ ...asks, repair: true }]);
    });

  test('waits for the planner’s word, and for all partitions', async () => {
    const running = { state: 'RUNNING', partitions: 2, partitionsHeard: 1, slicesDone: 1 } as const;
    const { isRight, pauses } = await checked([undefined, undefined, running, running, { state: 'DONE' }]);
    expect(isRight).toBe(true);
    expect(pauses).toBe(4);
    expect(said.at(-1)).toBe(
      '1,234 rows in 4 steps: 0 missing, 0 too many, 0 different, 0 in the wrong shard; 0 mended.',
    );
  });

  test('gives up when no planner hears of it', async () => {
    await expect(checked([undefined])).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  test('lists what differs, with nothing that a terminal would obey', async () => {
    const { isRight } = await checked([{ state: 'DONE', missing: 2, mended: 2, differences: [difference] }]);
    expect(isRight).toBe(true);
    expect(said.find((line) => line.includes('MISSING'))).toMatch(/shard-0001 +c\/0\/ +a.*\[31m +x +mended/);
    expect(said.join('')).not.toContain('\u001b');
    expect(said.at(-1)).toBe('Not listed: 1.');
  });

  for (const { name, view, tells } of [
    { name: 'something is left as it is', view: { missing: 2, mended: 1 }, tells: '2 missing' },
    { name: 'not all was compared', view: { unchecked: 1, reasons: ['c/0/: it is moving'] }, tells: 'it is moving' },
    {
      name: 'it was refused',
      view: { state: 'REFUSED', reasons: ['There is no shard x.'] },
      tells: 'There is no shard',
    },
  ] as const)
    test(`is not right when ${name}`, async () => {
      const { isRight } = await checked([{ state: 'DONE', ...view }]);
      expect(isRight).toBe(false);
      expect(said.join('\n')).toContain(tells);
    });

  test('is one value for a program', async () => {
    await checked([{ state: 'DONE', extra: 1 }], { isJson: true });
    expect(JSON.parse(said.join('\n'))).toMatchObject({ checkId: 'check-1', extra: 1, rows: 1_234 });
  });
});

describe('a check of a whole process', () => {
  const START = eventTime(1_700_000_040_000);
  const FILTERS = ['a', 'a/b', 'b', 'a/+', 'b/#', '$share/g/a'];
  let folder: TempFolder;
  let simulation: Simulation;
  beforeEach(async () => {
    folder = await tempFolder();
    const { config } = configOf([
      {
        source: 'test',
        values: { dataDir: folder.path, partitions: 2, workerThreads: 0, httpPort: 0, checkRowsPerSecond: 1_000 },
      },
    ]);
    simulation = await Simulation.start({ config, logger: silentLogger, startAt: START, serveHttp: true });
    const events = FILTERS.flatMap((topicFilter) =>
      ['x', 'y'].map((clientId): SubscriptionEvent => {
        const options = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
        const event = { action: 'SUBSCRIBE', topicFilter, clientId, brokerId: 'A', qos: 1 } as const;
        return { ...event, ...options, timestamp: START, sessionEpoch: 0 };
      }),
    );
    await simulation.step(
      events.map((event) => simulation.subscription(event)),
      60_000,
    );
  });
  afterEach(async () => {
    await simulation.stop();
    await folder.remove();
  });

  const check = (what: string | undefined, repair: boolean): Promise<boolean> => {
    const { foreshard } = simulation;
    const { config } = configOf([{ source: 'test', values: { workerThreads: 0 } }]);
    const command = { config, url: `127.0.0.1:${foreshard.httpPort}`, what, repair };
    return checkShards(command, outputOf(true), () => simulation.step([], 1_000));
  };
  const last = (): CheckView => {
    const view = JSON.parse(said.join('\n')) as CheckView;
    said.length = 0;
    return view;
  };
  async function rows(): Promise<SubscriptionRow[]> {
    const found: SubscriptionRow[] = [];
    for (const [shard, letter] of [
      [FIRST_CONCRETE_SHARD, 'c'],
      [FIRST_TRIE_SHARD, 'w'],
    ] as const)
      for (const partition of [0, 1]) {
        const range = { slice: sliceKey(`${letter}/${partition}/`), except: [] };
        const store = await simulation.foreshard.provisioner.store(shard);
        found.push(...(await store.scan(range, undefined, 1_000)).rows.filter((row) => !row.gone));
      }
    return found;
  }
  const gauge = async (kind: string): Promise<string | undefined> =>
    (await simulation.foreshard.views.metricsText())
      .split('\n')
      .find((line) => line.startsWith('foreshard_check_differences') && line.includes(`"${kind}"`))
      ?.split(' ')
      .at(-1);

  test('finds what was planted in its stores, mends it, and its gauge tells until it is gone', async () => {
    expect(await check(undefined, false)).toBe(true);
    expect(last()).toMatchObject({ state: 'DONE', rows: 2 * FILTERS.length, missing: 0, extra: 0 });
    const right = await rows();
    expect(right).toHaveLength(2 * FILTERS.length);

    const { provisioner } = simulation.foreshard;
    const [concrete, trie] = [await provisioner.store(FIRST_CONCRETE_SHARD), await provisioner.store(FIRST_TRIE_SHARD)];
    await concrete.forget(right.filter(({ filter }) => filter === 'a/b'));
    await trie.write([{ ...right.find(({ filter }) => filter === 'a/+')!, clientId: 'nobody' }]);
    const later = { incarnation: 9, offset: 0 };
    await concrete.write([{ ...right.find(({ filter }) => filter === 'b')!, qos: 2, version: later }]);

    const found = { missing: 2, extra: 1, different: 1, stray: 0 };
    expect(await check(undefined, false)).toBe(false);
    expect(last()).toMatchObject({ ...found, state: 'DONE', mended: 0 });
    expect(await check(FIRST_TRIE_SHARD, false)).toBe(false);
    expect(last()).toMatchObject({ missing: 0, extra: 1, different: 0 });
    for (let i = 0; i < 200 && (await gauge('missing')) !== '2'; i++) await simulation.step([], 1_000);
    expect([await gauge('missing'), await gauge('extra'), await gauge('different')]).toEqual(['2', '1', '1']);

    expect(await check(undefined, true)).toBe(true);
    const mended = last();
    expect(mended).toMatchObject({ ...found, mended: 4 });
    expect(mended.differences.map(({ kind, topicFilter }) => `${kind} ${topicFilter}`).sort()).toEqual([
      'DIFFERENT b',
      'EXTRA a/+',
      'MISSING a/b',
      'MISSING a/b',
    ]);
    expect(await rows()).toEqual(right);
    expect(await check(undefined, false)).toBe(true);
    for (let i = 0; i < 200 && (await gauge('missing')) !== '0'; i++) await simulation.step([], 1_000);
    expect([await gauge('missing'), await gauge('extra'), await gauge('different')]).toEqual(['0', '0', '0']);
  }, 120_000);

  test('is refused for what is not there', async () => {
    expect(await check('shard-0099', true)).toBe(false);
    expect(last()).toMatchObject({ state: 'REFUSED', reasons: ['There is no shard shard-0099.'] });
    expect(await check('t/nothing', false)).toBe(false);
    expect(last()).toMatchObject({ state: 'REFUSED', reasons: ['There is no slice t/nothing.'] });
  }, 60_000);
});
