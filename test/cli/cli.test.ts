import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { main } from '../../cli/cli.ts';

let out = '';
let err = '';

beforeEach(() => {
  out = '';
  err = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

const folder = (): string => mkdtempSync(join(tmpdir(), 'foreshard-cli-'));
const fileWith = (text: string): string => {
  const path = join(folder(), 'trace.csv');
  writeFileSync(path, text);
  return path;
};

describe('the command line', () => {
  for (const { name, argv, code, says } of [
    { name: 'a command that there is not', argv: ['dmo'], code: 2, says: "unknown command 'dmo'" },
    { name: 'an option that there is not', argv: ['demo', '--sed', '1'], code: 2, says: "unknown option '--sed'" },
    { name: 'a seed that is no number', argv: ['demo', '--seed', 'x'], code: 2, says: 'whole number' },
    { name: 'no days', argv: ['demo', '--days', '0'], code: 2, says: 'whole number from 1' },
    { name: 'provisioning of no protocol', argv: ['provision'], code: 2, says: "required option '--protocol <file>'" },
    {
      name: 'a policy that there is not',
      argv: ['provision', '--protocol', 'p.json', '--policy', 'magic'],
      code: 2,
      says: 'all, or one of balanced, cautious',
    },
    {
      name: 'a setting out of bounds',
      argv: ['config', 'explain', '--http-port', '70000'],
      code: 2,
      says: '--http-port must be',
    },
    {
      name: 'settings that contradict each other',
      argv: ['run', '--runtime', 'kafka'],
      code: 2,
      says: 'runtime kafka needs brokers',
    },
    { name: 'a share above one', argv: ['replay', 'x.csv', '--wildcards', '2'], code: 2, says: 'from 0 to 1' },
    { name: 'a speed of nothing', argv: ['replay', 'x.csv', '--speed', '0'], code: 2, says: 'above 0' },
    {
      name: 'both a topic and a filter',
      argv: ['pointers', '--topic', 'a', '--filter', 'b'],
      code: 2,
      says: 'exclude each other',
    },
    { name: 'no trace', argv: ['replay'], code: 2, says: 'missing required argument' },
    {
      name: 'a trace that is not there',
      argv: ['replay', '/nowhere/x.csv'],
      code: 1,
      says: 'TRACE_INVALID: /nowhere/x.csv cannot be read',
    },
    { name: 'a backtest of nothing', argv: ['backtest'], code: 2, says: 'give either a trace or --protocol' },
    {
      name: 'a backtest of two things',
      argv: ['backtest', 'x.csv', '--protocol', 'p.json'],
      code: 2,
      says: 'give either a trace or --protocol',
    },
    {
      name: 'a model that there is not',
      argv: ['backtest', 'x.csv', '--model', 'crystal-ball'],
      code: 2,
      says: 'or one of: Foreshard, level',
    },
    {
      name: 'a set of origins that there is not',
      argv: ['backtest', 'x.csv', '--set', 'half'],
      code: 2,
      says: 'Allowed choices are all, sub',
    },
    {
      name: 'a series of a protocol',
      argv: ['backtest', '--protocol', 'p.json', '--series', 'a'],
      code: 2,
      says: '--series needs a trace',
    },
    {
      name: 'scores to compare a trace of one’s own with',
      argv: ['backtest', 'x.csv', '--baselines', 'b.csv'],
      code: 2,
      says: '--baselines needs --protocol',
    },
    {
      name: 'a protocol that is not there',
      argv: ['backtest', '--protocol', '/nowhere/p.json'],
      code: 1,
      says: 'PROTOCOL_INVALID: /nowhere/p.json cannot be read',
    },
    {
      name: 'a folder without a log',
      argv: ['shards', '--data-dir', '/nowhere'],
      code: 1,
      says: 'NOT_FOUND: there is no log in /nowhere',
    },
    {
      name: 'a folder without a log, by a command that asks no process',
      argv: ['dead-letters', 'replay', '0', '--data-dir', '/nowhere'],
      code: 1,
      says: 'NOT_FOUND: there is no log in /nowhere: name the folder with --data-dir\n',
    },
    { name: 'an invalid filter', argv: ['pointers', '--filter', 'a/#/b'], code: 1, says: 'FILTER_INVALID' },
    {
      name: 'a process that is not there',
      argv: ['shards', '--url', 'http://127.0.0.1:9'],
      code: 1,
      says: 'OWNER_UNREACHABLE: http://127.0.0.1:9',
    },
    {
      name: 'a shard server for everybody without a token',
      argv: ['shard-server', '--host', '0.0.0.0'],
      code: 2,
      says: 'SHARD_SERVER_TOKEN',
    },
  ])
    test(`${name}: exit code ${code}, and why on standard error`, async () => {
      expect(await main(argv)).toBe(code);
      expect(err).toContain(says);
      expect(err).not.toMatch(/\n\s+at /); // No stack.
      expect(out).toBe('');
    });

  test('a wrong line of a trace is named', async () => {
    const path = fileWith('t,rate\n0,1\n60,many\n');
    expect(await main(['replay', path])).toBe(1);
    expect(err).toContain(`TRACE_INVALID: ${path}, line 3: rate is not a number: "many"`);
  });

  test('config explain tells where a value comes from', async () => {
    expect(await main(['config', 'explain', '--json', '--http-port', '9000'])).toBe(0);
    const settings = JSON.parse(out) as { name: string; value: string; source: string }[];
    expect(settings.find(({ name }) => name === 'httpPort')).toMatchObject({ value: '9000', source: 'flag' });
    expect(settings.find(({ name }) => name === 'runtime')).toMatchObject({ source: 'default' });
  });

  test('there is no flag for a secret', async () => {
    expect(await main(['config', 'explain', '--sasl-password', 'x'])).toBe(2);
    expect(err).toContain("unknown option '--sasl-password'");
  });

  test('a replayed trace leaves a folder that the other commands can read', async () => {
    const dataDir = folder();
    const trace = fileWith(`t,rate\n${[1, 2, 3].map((rate, row) => `${row * 60},${rate}`).join('\n')}\n`);
    const common = ['--json', '--data-dir', dataDir, '--partitions', '2'];
    expect(await main(['replay', trace, ...common, '--events', '300', '--filters', '40'])).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ events: 300, refused: 0 });

    const answer = async (...argv: string[]): Promise<unknown> => {
      out = '';
      expect(await main([...argv, ...common])).toBe(0);
      return JSON.parse(out);
    };
    expect(await answer('pointers')).toMatchObject({ epoch: 1, partitions: 2 });
    expect(await answer('pointers', '--topic', 'site-0/line-0/device-0/temperature')).toMatchObject({
      mode: 'SINGLE',
      shards: [{ shardId: 'shard-0001' }],
      publishAsks: ['shard-0001', 'shard-0002'],
    });
    const place = ['pointers', '--topic', 'site-0/line-0/device-0/temperature'];
    const known = await answer(...place);
    out = '';
    expect(await main([...place, '--json', '--data-dir', dataDir, '--partitions', '64'])).toBe(0);
    expect(JSON.parse(out)).toEqual(known); // The log knows better.
    expect(await answer('shards')).toMatchObject([
      { shardId: 'shard-0001', slices: 2 },
      { shardId: 'shard-0002', slices: 2 },
    ]);
    expect(await answer('moves')).toEqual([]);
    expect(await answer('plans')).toEqual([]);
    expect(await answer('explain', 'cell')).toMatchObject([{ kind: 'START' }]);
    expect(await main(['explain', 'shard-0009', ...common])).toBe(1);
    expect(err).toContain(
      'NOT_FOUND: nothing was decided about shard-0009: `foreshard shards` lists the shards there are',
    );
    expect(await answer('dead-letters', 'list')).toEqual([]);
    expect(await main(['dead-letters', 'show', '3', ...common])).toBe(1);
    expect(err).toContain('NOT_FOUND: there is no dead letter 3');
  }, 60_000);
});

describe('the help', () => {
  test('of run names each setting with its default and range, and no preset', async () => {
    expect(await main(['run', '--help'])).toBe(0);
    const said = out.replace(/\s+/g, ' ');
    expect(said).toContain(
      '--partitions <value> Partitions of the subscriptions topic; fixed once it exists. [8; 1 to 10000]',
    );
    expect(said).toContain('--kafka-tls [bool] TLS to Kafka. [false; true | false]');
    expect(said).toContain('[60000 ms; 1000 to 3600000]');
    expect(said).not.toContain('preset');
  });

  test('of shard-server names its own settings alone', async () => {
    expect(await main(['shard-server', '--help'])).toBe(0);
    for (const own of ['--data-dir', '--catalog-path', '--log-level', '--port']) expect(out).toContain(own);
    for (const other of ['--brokers', '--models', '--moves-max', '--http-port']) expect(out).not.toContain(other);
    expect(out).toContain('7070');
  });

  test('a flag without a word is true', async () => {
    expect(await main(['config', 'explain', '--log-pretty', '--json'])).toBe(0);
    expect(JSON.parse(out).find(({ name }: { name: string }) => name === 'logPretty').value).toBe('true');
  });
});
