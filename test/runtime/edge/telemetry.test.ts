import { describe, expect, test } from 'vitest';
import { createLogger, createTelemetry } from '../../../runtime/edge/telemetry.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';
import { Secret } from '../../../schemas/setting.ts';

function logged(write: (logger: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = [];
  write(createLogger({ level: 'info', pretty: false, destination: { write: (line) => void lines.push(line) } }));
  return lines;
}

describe('the log', () => {
  test('a line holds time, level, facts and message', () => {
    const [line] = logged((logger) => logger.warn({ task: 'work/3' }, 'the shard does not answer'));
    expect(JSON.parse(line!)).toMatchObject({ level: 'warn', task: 'work/3', msg: 'the shard does not answer' });
  });

  test('lines below the level are not written', () => {
    expect(logged((logger) => logger.debug({}, 'x'))).toEqual([]);
  });

  for (const text of [
    'x\n{"level":"info","msg":"admin login"}',
    'a\r\nb',
    '\u001b[2J\u001b[1;1H',
    '\u2028\u2029\u0085',
    'a\u0000b',
  ])
    test(`no text makes a second line or moves a cursor: ${JSON.stringify(text)}`, () => {
      const lines = logged((logger) => logger.info({ clientId: text }, `a client: ${text}`));
      expect(lines).toHaveLength(1);
      expect(lines[0]!.trimEnd()).not.toMatch(/\p{Cc}/u);
      const { msg, clientId } = JSON.parse(lines[0]!);
      expect(clientId).toBe(text);
      expect(msg).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    });

  test('secrets are not written', () => {
    const canary = 'canary-0123456789';
    const [line] = logged((logger) =>
      logger.error(
        {
          token: canary,
          headers: { authorization: canary },
          config: { password: canary, saslPassword: new Secret(canary) },
        },
        'x',
      ),
    );
    expect(line).not.toContain('canary');
    expect(line).toContain('***');
  });

  test('an error is written with its cause', () => {
    const error = new Error('outer', { cause: new Error('inner') });
    const [line] = logged((logger) => logger.error({ error }, 'failed'));
    expect(JSON.parse(line!).error.stack).toContain('inner');
  });
});

describe('the metrics', () => {
  test('counters, gauges and histograms appear under their labels', async () => {
    const { meter, text } = createTelemetry(silentLogger, false);
    meter.add('foreshard_consumed_total', 3, { group: 'work', topic: 'subscriptions' });
    meter.add('foreshard_consumed_total', 4, { group: 'work', topic: 'subscriptions' });
    meter.set('foreshard_moves', 2, { state: 'COPYING' });
    meter.observe('foreshard_commit_seconds', 0.02, { group: 'work' });
    const lines = (await text()).split('\n');
    expect(lines).toContain('foreshard_consumed_total{group="work",topic="subscriptions"} 7');
    expect(lines).toContain('foreshard_moves{state="COPYING"} 2');
    expect(lines).toContain('foreshard_commit_seconds_bucket{le="0.025",group="work"} 1');
    expect(lines).toContain('foreshard_commit_seconds_count{group="work"} 1');
  });

  test('a gauge that is replaced forgets the series that are no longer there', async () => {
    const { meter, text } = createTelemetry(silentLogger, false);
    const waits = (partition: string, value: number) => ({ value, labels: { group: 'work', partition } });
    meter.replace('foreshard_store_waiting_seconds', [waits('1', 5), waits('2', 7)]);
    meter.replace('foreshard_store_waiting_seconds', [waits('2', 9)]);
    const series = (await text()).split('\n').filter((line) => line.startsWith('foreshard_store_waiting_seconds'));
    expect(series).toEqual(['foreshard_store_waiting_seconds{group="work",partition="2"} 9']);
  });

  test('what is not declared, of the wrong kind or no number is left out, and nothing throws', async () => {
    const warned: unknown[] = [];
    const { meter, text } = createTelemetry({ ...silentLogger, warn: (facts) => void warned.push(facts.name) }, false);
    meter.add('foreshard_nothing_total', 1);
    meter.add('foreshard_nothing_total', 1);
    meter.set('constructor', 1);
    meter.set('foreshard_commits_total', 5, { group: 'x' });
    meter.add('foreshard_commits_total', -1, { group: 'x' });
    meter.add('foreshard_commits_total', Number.NaN, { group: 'x' });
    expect(warned).toEqual(['foreshard_nothing_total', 'constructor']);
    expect(await text()).not.toMatch(/foreshard_nothing|foreshard_commits_total\{/);
  });

  test('a label that is not declared is dropped, and its value cannot break out of the text', async () => {
    const { meter, text } = createTelemetry(silentLogger, false);
    meter.add('foreshard_refused_total', 1, { topic: 'a"}\nforeshard_forged 1\n', code: 'UNDECODABLE', clientId: 'c' });
    const lines = (await text()).split('\n');
    expect(lines).toContain('foreshard_refused_total{topic="a\\"}\\nforeshard_forged 1\\n",code="UNDECODABLE"} 1');
    expect(lines.filter((line) => line.startsWith('foreshard_forged'))).toEqual([]);
  });

  test('labels without end end in one series', async () => {
    const { meter, text } = createTelemetry(silentLogger, false);
    for (let i = 0; i < 20_100; i++) meter.add('foreshard_commits_total', 1, { group: `g${i}` });
    const lines = (await text()).split('\n').filter((line) => line.startsWith('foreshard_commits_total{'));
    expect(lines).toHaveLength(20_001);
    expect(lines).toContain('foreshard_commits_total{group="other"} 100');
  });
});
