import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { exportSubscriptions } from '../../cli/export.ts';
import { importSubscriptions } from '../../cli/import.ts';
import { Output } from '../../cli/output.ts';
import { Simulation } from '../../cli/simulation.ts';
import { type Config, configOf } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Subscription, SubscriptionEvent } from '../../schemas/records.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const START = eventTime(1_700_000_040_000);
const OPTIONS = { noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 7 };

let folder: TempFolder;
let said: string[];
let output: Output;
beforeEach(async () => {
  folder = await tempFolder();
  said = [];
  const out = new Writable({
    write(chunk, _encoding, done) {
      said.push(...String(chunk).trimEnd().split('\n'));
      done();
    },
  });
  output = new Output(false, { out });
});
afterEach(() => folder.remove());

const fleet = (name: string, partitions: number): Config =>
  configOf([{ source: 'test', values: { dataDir: join(folder.path, name), partitions, workerThreads: 0 } }]).config;

/** A run of the fleet, in which these come. */
async function run(config: Config, events: readonly Partial<SubscriptionEvent>[] = []): Promise<void> {
  const simulation = await Simulation.start({ config, logger: silentLogger, startAt: START, serveHttp: false });
  const whole = events.map((event, i) => ({
    ...{ action: 'SUBSCRIBE', clientId: 'x', brokerId: 'A', qos: 1, timestamp: START + i, topicFilter: 'a' },
    ...{ noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0, sessionEpoch: 0 },
    ...event,
  })) as SubscriptionEvent[];
  await simulation.step(
    whole.map((event) => simulation.subscription(event)),
    60_000,
  );
  await simulation.stop();
}

async function exported(config: Config, format: 'json' | 'avro' = 'json'): Promise<string> {
  const file = join(folder.path, `${config.partitions}.${format}`);
  await exportSubscriptions({ file, format }, config, output);
  return file;
}

/** What a fleet has, but for where its events lay. */
async function rowsOf(config: Config): Promise<object[]> {
  const rows = readFileSync(await exported(config), 'utf8')
    .trimEnd()
    .split('\n');
  return rows.filter(Boolean).map((line) => {
    const { incarnation: _, offset: __, ...row } = JSON.parse(line) as Subscription;
    return row;
  });
}

const asked = (source: string) => ({ source, from: undefined, sourcePrefix: undefined, sourceRegistryUrl: undefined });

describe('export and import', () => {
  for (const format of ['json', 'avro'] as const)
    test(`a second fleet, of another number of partitions, begins with what the first one has (${format})`, async () => {
      const [first, second] = [fleet('first', 2), fleet('second', 3)];
      await run(first, [
        { topicFilter: 'a' },
        { topicFilter: 'a', clientId: 'y' },
        { topicFilter: 'é/😀', ...OPTIONS },
        { topicFilter: 'a/+', sessionEpoch: 5 },
        { topicFilter: '$share/g/a/b', qos: 2 },
        { topicFilter: 'a', clientId: 'y', action: 'UNSUBSCRIBE' },
        { topicFilter: 'a/+', clientId: 'z', sessionEpoch: 5, action: 'UNSUBSCRIBE' },
        { topicFilter: 'a', brokerId: 'B' },
      ]);
      const file = await exported(first, format);
      const rows = await rowsOf(first);
      expect(rows).toHaveLength(4);
      expect(rows).toContainEqual(expect.objectContaining({ topicFilter: 'é/😀', ...OPTIONS }));
      await run(second);
      for (const _time of ['once', 'twice']) {
        expect(await importSubscriptions(asked(file), second, output)).toBe(true);
        await run(second);
        expect(await rowsOf(second)).toEqual(rows);
      }
      expect(existsSync(`${file}.position`)).toBe(false);
      expect(said).toContain('4 subscriptions were sent to subscriptions.');
    }, 60_000);

  test('a line that is no subscription is refused with its number and reason, and the rest goes on', async () => {
    const config = fleet('one', 2);
    await run(config);
    const file = join(folder.path, 'lines.jsonl');
    const line = (more: object) => `${JSON.stringify({ topicFilter: 'a', clientId: 'x', brokerId: 'A', ...more })}\n`;
    writeFileSync(file, line({}));
    appendFileSync(file, '{"topicFilter":\n\n[]\n');
    appendFileSync(file, line({ topicFilter: 'a/#/b' }) + line({ qos: 7 }) + line({ clientId: 5 }));
    appendFileSync(file, line({ topicFilter: 'b', clientId: 'last' }));
    expect(await importSubscriptions(asked(file), config, output, () => START)).toBe(false);
    expect(said.filter((text) => /^\d+: /.test(text)).map((text) => text.slice(0, 20))).toEqual([
      '2: it is not JSON',
      '4: it is not a subsc',
      expect.stringMatching(/^5: FILTER_INVALID/),
      expect.stringMatching(/^6: QOS_INVALID/),
      expect.stringMatching(/^7: /),
    ]);
    await run(config);
    expect((await rowsOf(config)).map((row) => (row as Subscription).topicFilter).sort()).toEqual(['a', 'b']);
  }, 60_000);

  test('goes on where a run has broken off, or where it is told to', async () => {
    const config = fleet('one', 2);
    await run(config);
    const file = join(folder.path, 'lines.jsonl');
    const client = (n: number) => JSON.stringify({ topicFilter: 'a', clientId: `client-${n}`, brokerId: 'A' });
    writeFileSync(file, Array.from({ length: 2_500 }, (_, i) => `${client(i + 1)}\n`).join(''));
    writeFileSync(`${file}.position`, '2001\n');
    await importSubscriptions(asked(file), config, output, () => START);
    expect(said).toContain('500 subscriptions were sent to subscriptions.');
    expect(existsSync(`${file}.position`)).toBe(false);
    await importSubscriptions({ ...asked(file), from: 2_499 }, config, output, () => START);
    expect(said).toContain('2 subscriptions were sent to subscriptions.');
    writeFileSync(`${file}.position`, 'half');
    await expect(importSubscriptions(asked(file), config, output)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
    await expect(importSubscriptions(asked(`${file}.none`), config, output)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  }, 60_000);

  test('an Avro file that breaks off is told', async () => {
    const config = fleet('one', 2);
    await run(config, [{ topicFilter: 'a' }]);
    const file = await exported(config, 'avro');
    writeFileSync(file, readFileSync(file).subarray(0, -10));
    await expect(importSubscriptions(asked(file), config, output)).rejects.toMatchObject({ code: 'REQUEST_INVALID' });
  }, 60_000);
});
