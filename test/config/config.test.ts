import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  configOf,
  environmentName,
  flagName,
  isSecret,
  nearestSetting,
  SETTINGS,
  type SettingName,
} from '../../config/config.ts';
import { AppError } from '../../schemas/errors.ts';
import { fc } from '../support/property.ts';

const NAMES = Object.keys(SETTINGS) as SettingName[];
const TOKENS = { httpReadToken: 'read-0123456789abcdef', httpAdminToken: 'admin-0123456789abcdef' };
const KAFKA = { runtime: 'kafka', brokers: 'localhost:9092', registryUrl: 'http://localhost:8081' };

describe('the configuration', () => {
  test('without anything given is the defaults, frozen, and names each of them as such', () => {
    const { config, explain } = configOf([]);
    expect(config).toMatchObject({ runtime: 'embedded', httpHost: '127.0.0.1', commitIntervalMs: 200, mode: 'auto' });
    expect(Object.isFrozen(config)).toBe(true);
    expect(explain().map(({ source }) => source)).toEqual(NAMES.map(() => 'default'));
  });

  test('every default is what its own setting accepts, every setting says what it means', () => {
    for (const name of NAMES) {
      const setting = SETTINGS[name];
      expect(setting.about.length).toBeGreaterThan(10);
      if (isSecret(name)) continue;
      expect(setting.read(setting.fallback)).toEqual({ value: setting.fallback });
    }
  });

  test('a later source wins, and is named', () => {
    const { config, explain } = configOf([
      { source: 'file x.json', values: { httpPort: 1000, movesMax: 7, leafBits: 2 } },
      { source: 'environment', values: { httpPort: '2000', movesMax: '8' } },
      { source: 'flag', values: { httpPort: 3000 } },
    ]);
    expect(config).toMatchObject({ httpPort: 3000, movesMax: 8, leafBits: 2 });
    const source = Object.fromEntries(explain().map((line) => [line.name, line.source]));
    expect(source).toMatchObject({
      httpPort: 'flag',
      movesMax: 'environment',
      leafBits: 'file x.json',
      mode: 'default',
    });
  });

  test('explain gives a line for each setting, with its variable, bounds and unit', () => {
    const lines = configOf([{ source: 'flag', values: { movesMax: 9 } }]).explain();
    expect(lines).toHaveLength(NAMES.length);
    expect(lines.find(({ name }) => name === 'movesMax')).toEqual({
      name: 'movesMax',
      environment: 'FORESHARD_MOVES_MAX',
      value: '9',
      source: 'flag',
      unit: 'moves',
      range: '1 to 1000',
      about: 'Most moves under way at once.',
    });
  });

  test('variables and flags are spelled from the name, each its own', () => {
    expect(environmentName('kafkaTlsCaFile')).toBe('FORESHARD_KAFKA_TLS_CA_FILE');
    expect(flagName('kafkaTlsCaFile')).toBe('--kafka-tls-ca-file');
    expect(new Set(NAMES.map(environmentName)).size).toBe(NAMES.length);
  });

  for (const { typed, meant } of [
    { typed: 'htpPort', meant: 'httpPort' },
    { typed: 'HTTPPORT', meant: 'httpPort' },
    { typed: 'comitIntervalMs', meant: 'commitIntervalMs' },
    { typed: 'broker', meant: 'brokers' },
    { typed: '__proto__', meant: nearestSetting('__proto__') },
    { typed: 'constructor', meant: nearestSetting('constructor') },
    { typed: 'x'.repeat(100_000), meant: nearestSetting('x'.repeat(64)) },
  ])
    test(`an unknown key fails with the nearest name: ${typed.slice(0, 20)}`, () => {
      const values = Object.fromEntries([[typed, 1]]);
      expect(problemsOf(values)).toContain(`${typed} is not a setting; did you mean ${meant}?`);
    });

  for (const { name, values, says } of [
    {
      name: 'a number with a unit',
      values: { commitIntervalMs: '5s' },
      says: 'commitIntervalMs must be a whole number of ms from 5 to 60000, not "5s"',
    },
    { name: 'a number of no digits', values: { commitIntervalMs: '' }, says: 'not ""' },
    { name: 'a negative number', values: { movesMax: -1 }, says: 'from 1 to 1000, not -1' },
    { name: 'an interval of zero', values: { commitIntervalMs: 0 }, says: 'from 5 to 60000, not 0' },
    { name: 'a number far too large', values: { commitIntervalMs: 1e12 }, says: 'not 1000000000000' },
    { name: 'a fraction', values: { movesMax: 1.5 }, says: 'must be a whole number' },
    { name: 'a number in hexadecimal', values: { movesMax: '0x10' }, says: 'not "0x10"' },
    { name: 'a number with an exponent', values: { dollarsPerHourMax: '1e3' }, says: 'not "1e3"' },
    { name: 'a decimal comma', values: { churnShareMax: '0,5' }, says: 'not "0,5"' },
    { name: 'NaN', values: { churnShareMax: Number.NaN }, says: 'must be a number' },
    { name: 'an infinite number', values: { churnShareMax: 'Infinity' }, says: 'not "Infinity"' },
    { name: 'null', values: { movesMax: null }, says: 'not null' },
    { name: 'a list for a number', values: { movesMax: [1] }, says: 'not [1]' },
    { name: 'port 70000', values: { httpPort: 70_000 }, says: 'from 0 to 65535, not 70000' },
    { name: 'yes for a flag', values: { kafkaTls: 'yes' }, says: 'must be true or false, not "yes"' },
    { name: 'a number for a flag', values: { kafkaTls: 1 }, says: 'must be true or false, not 1' },
    { name: 'an unknown mode', values: { mode: 'AUTO' }, says: 'must be one of observe, approve, auto, not "AUTO"' },
    { name: 'a Turkish dotless i', values: { logLevel: 'ınfo' }, says: 'must be one of' },
    { name: 'a broker without a port', values: { brokers: 'kafka' }, says: 'must be host:port' },
    { name: 'a broker with port 0', values: { brokers: 'kafka:0' }, says: 'must be host:port' },
    { name: 'a broker with a scheme', values: { brokers: 'http://kafka:9092' }, says: 'must be host:port' },
    { name: 'an empty broker among others', values: { brokers: 'a:1,,b:2' }, says: 'must be host:port' },
    { name: 'a variable that was not replaced', values: { brokers: '$' + '{BROKERS}' }, says: 'must be host:port' },
    {
      name: 'a model that there is not',
      values: { models: 'arima,oracle' },
      says: 'models must be some of level, seasonal-naive-day',
    },
    { name: 'a model twice', values: { models: 'arima,arima' }, says: 'each once' },
    {
      name: 'a grace above one window, of which two are open',
      values: { rateGraceMs: 10_001 },
      says: 'from 0 to 10000',
    },
    { name: 'a prefix with a slash', values: { topicPrefix: 'a/b' }, says: 'must be at most 100 letters' },
    { name: 'no application id', values: { applicationId: '' }, says: 'must be 1 to 100 letters' },
    {
      name: 'a registry with a password in it',
      values: { registryUrl: 'http://u:p@h/' },
      says: 'must be an http(s) address',
    },
    {
      name: 'a registry that is a file',
      values: { registryUrl: 'file:///etc/passwd' },
      says: 'must be an http(s) address',
    },
    { name: 'a line break in a text', values: { dataDir: 'a\nb' }, says: 'must be one line of text' },
    { name: 'a NUL in a text', values: { dataDir: 'a\u0000b' }, says: 'must be one line of text' },
    { name: 'Kafka without brokers', values: { ...KAFKA, brokers: '' }, says: 'runtime kafka needs brokers' },
    {
      name: 'Kafka without a registry',
      values: { ...KAFKA, registryUrl: '' },
      says: 'runtime kafka needs registryUrl',
    },
    {
      name: 'SASL without a password',
      values: { saslMechanism: 'scram-sha-256', saslUsername: 'u' },
      says: 'needs saslUsername and saslPassword',
    },
    {
      name: 'SASL PLAIN without TLS',
      values: { saslMechanism: 'plain', saslUsername: 'u', saslPassword: 'p' },
      says: 'turn kafkaTls on',
    },
    {
      name: 'a certificate without its key',
      values: { kafkaTls: true, kafkaTlsCertFile: 'a.pem' },
      says: 'belong together',
    },
    { name: 'TLS files without TLS', values: { kafkaTlsCaFile: 'ca.pem' }, says: 'but kafkaTls is off' },
    {
      name: 'a horizon below a tick',
      values: { tickMs: 3_600_000, horizonMs: 60_000 },
      says: 'horizonMs must be at least tickMs',
    },
    { name: 'all interfaces without tokens', values: { httpHost: '0.0.0.0' }, says: 'is reachable from outside' },
    {
      name: 'all interfaces with one token',
      values: { httpHost: '::', httpAdminToken: TOKENS.httpAdminToken },
      says: 'is reachable from outside',
    },
    {
      name: 'a loopback look-alike without tokens',
      values: { httpHost: '127.0.0.1.example.org' },
      says: 'is reachable from outside',
    },
    {
      name: 'a short token',
      values: { httpReadToken: 'short', httpAdminToken: 'shorter' },
      says: 'at least 16 characters',
    },
    {
      name: 'one token for both roles',
      values: { httpReadToken: 'a'.repeat(20), httpAdminToken: 'a'.repeat(20) },
      says: 'must differ',
    },
    { name: 'a read token alone', values: { httpReadToken: TOKENS.httpReadToken }, says: 'would leave changes open' },
  ])
    test(`${name} is refused`, () => {
      expect(problemsOf(values).join('\n')).toContain(says);
    });

  for (const { name, values, expected } of [
    {
      name: 'all interfaces with both tokens',
      values: { httpHost: '0.0.0.0', ...TOKENS },
      expected: { httpHost: '0.0.0.0' },
    },
    { name: 'Kafka', values: KAFKA, expected: { brokers: ['localhost:9092'] } },
    {
      name: 'several brokers with spaces',
      values: { brokers: 'a:1, [::1]:2' },
      expected: { brokers: ['a:1', '[::1]:2'] },
    },
    { name: 'models', values: { models: 'arima, theta,lstm' }, expected: { models: ['arima', 'theta', 'lstm'] } },
    { name: 'no models', values: { models: '' }, expected: { models: [] } },
    { name: 'brokers as a list', values: { brokers: ['a:1'] }, expected: { brokers: ['a:1'] } },
    { name: 'no brokers', values: { brokers: '' }, expected: { brokers: [] } },
    {
      name: 'a registry with a path',
      values: { registryUrl: 'http://h:1/apis/ccompat/v7/' },
      expected: { registryUrl: 'http://h:1/apis/ccompat/v7' },
    },
    { name: 'an empty prefix', values: { topicPrefix: '' }, expected: { topicPrefix: '' } },
    {
      name: 'flags as text',
      values: { kafkaTls: 'true', createTopics: 'false' },
      expected: { kafkaTls: true, createTopics: false },
    },
  ])
    test(`${name} is accepted`, () => {
      expect(configOf([{ source: 'test', values }]).config).toMatchObject(expected);
    });

  test('every problem is told at once', () => {
    expect(problemsOf({ movesMax: 0, htpPort: 1, mode: 'x' })).toHaveLength(3);
  });

  test('a secret is never printed', () => {
    const canary = 'canary-0123456789abcdef';
    const values = {
      httpReadToken: canary,
      httpAdminToken: `${canary}-admin`,
      saslPassword: canary,
      registryPassword: canary,
    };
    const { config, explain } = configOf([{ source: 'flag', values }]);
    expect(config.httpReadToken.reveal()).toBe(canary);
    for (const shown of [
      JSON.stringify(config),
      inspect(config, { depth: 9, showHidden: true }),
      `${config.saslPassword}`,
      JSON.stringify(explain()),
    ])
      expect(shown).not.toContain('canary');
    expect(explain().find(({ name }) => name === 'saslPassword')?.value).toBe('***');
    for (const bad of [
      { ...values, httpAdminToken: canary },
      { ...values, saslPassword: `${canary}\n` },
      { ...values, movesMax: 0 },
    ])
      expect(problemsOf(bad).join()).not.toContain('canary');
  });

  test('whatever is given, the answer is a configuration or CONFIG_INVALID', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...NAMES), fc.anything()), (values) => {
        problemsOf(values);
        expect(({} as Record<string, unknown>).polluted).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });
});

function problemsOf(values: Readonly<Record<string, unknown>>): string[] {
  try {
    configOf([{ source: 'test', values }]);
    return [];
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'CONFIG_INVALID') throw error;
    return (error.facts.problems as string[]).map((problem) => problem.replace(/^test: /, ''));
  }
}
