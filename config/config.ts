// Config: every setting, described once: its meaning, unit, default and bounds; a stage's settings by the stage itself.
// `configOf` merges the sources (defaults < file < environment < flags), checks everything and returns one frozen
// value, and for each setting its source. Reading files and the environment is done in edge/env-config.ts.
//
//   K1. Nothing is guessed: an unknown name, a wrong type, a missing unit or a value out of bounds stops the start,
//       with every problem named at once.
//   K2. A secret is never printed: not in `explain`, not in an error, not by JSON or the console.

import { APPLY_SETTINGS } from '../processors/apply/apply.ts';
import { FORECAST_SETTINGS } from '../processors/forecast/settings.ts';
import { PLAN_SETTINGS } from '../processors/plan/settings.ts';
import { RATES_SETTINGS } from '../processors/rates/settings.ts';
import { SESSION_SETTINGS } from '../processors/sessions/settings.ts';
import { AppError } from '../schemas/errors.ts';
import { isLoopback } from '../schemas/loopback.ts';
import {
  address,
  choice,
  flag,
  hosts,
  integer,
  label,
  Secret,
  type Setting,
  secret,
  text,
  type ValuesOf,
} from '../schemas/setting.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const SETTINGS = {
  // The process.
  runtime: choice(['embedded', 'kafka'], 'embedded', 'Where records are kept: in this process, or in Kafka.'),
  applicationId: label('foreshard', 'Names the consumer groups, transactions and changelogs. One for each fleet.'),
  dataDir: text('data', 'Folder of local state; of the log and the shards too when embedded.'),
  logLevel: choice(['debug', 'info', 'warn', 'error'], 'info', 'Lines below this level are not written.'),
  logPretty: flag(false, 'Log lines for people instead of JSON.'),
  partitions: integer(
    8,
    { min: 1, max: 10_000, unit: '' },
    'Partitions of the subscriptions topic; fixed once it exists.',
  ),
  shutdownDeadlineMs: integer(
    20_000,
    { min: 100, max: 600_000, unit: 'ms' },
    'How long an orderly stop may take after SIGTERM.',
  ),
  workerThreads: integer(
    1,
    { min: 0, max: 64, unit: 'threads' },
    'Threads that fit models; 0 fits in the main thread.',
  ),

  // The log.
  brokers: hosts([], 'Kafka’s bootstrap servers, host:port, separated by commas.'),
  topicPrefix: label('foreshard.', 'Prefix of every topic name.', true),
  replicationFactor: integer(3, { min: 1, max: 100, unit: '' }, 'Copies of each topic that is created.'),
  createTopics: flag(true, 'Create missing topics. When false, a start names the missing ones and ends.'),
  kafkaTls: flag(false, 'TLS to Kafka.'),
  kafkaTlsCaFile: text('', 'CA certificate that signed Kafka’s (PEM); empty uses the system’s.'),
  kafkaTlsCertFile: text('', 'Client certificate for Kafka (PEM).'),
  kafkaTlsKeyFile: text('', 'Private key of the client certificate (PEM).'),
  saslMechanism: choice(['none', 'plain', 'scram-sha-256', 'scram-sha-512'], 'none', 'How to log in to Kafka.'),
  saslUsername: text('', 'Kafka user.'),
  saslPassword: secret('Kafka password.'),
  sessionTimeoutMs: integer(
    30_000,
    { min: 6_000, max: 300_000, unit: 'ms' },
    'How long an instance may be silent before Kafka gives its tasks to another.',
  ),
  commitIntervalMs: integer(200, { min: 5, max: 60_000, unit: 'ms' }, 'Time between two commits of a task.'),
  batchRecordsMax: integer(50_000, { min: 1, max: 1_000_000, unit: 'records' }, 'Most records in one commit.'),
  changelogRetentionMs: integer(
    7 * DAY_MS,
    { min: HOUR_MS, max: 365 * DAY_MS, unit: 'ms' },
    'How long compacted topics keep the tombstones of removed keys; longer than any reader may be away. On Kafka, of topics that Foreshard creates.',
  ),

  // The registry.
  registryUrl: address('', 'Address of the schema registry, with its path.'),
  registryUsername: text('', 'Registry user.'),
  registryPassword: secret('Registry password.'),
  registerSchemas: flag(
    false,
    'Register Foreshard’s schemas at the start. Leave it false in production, and register them when you release.',
  ),

  // HTTP.
  httpHost: text('127.0.0.1', 'Address to listen on. Any but a loopback one needs both tokens.'),
  httpPort: integer(8080, { min: 0, max: 65_535, unit: '' }, 'Port to listen on; 0 takes a free one.'),
  httpAdvertised: text('', 'host:port under which other instances reach this one; empty when there is only one.'),
  httpReadToken: secret('Bearer token that may read.'),
  httpAdminToken: secret('Bearer token that may also change things.'),
  httpPeerTimeoutMs: integer(
    2_000,
    { min: 10, max: 60_000, unit: 'ms' },
    'How long another instance may take to answer for its tasks.',
  ),

  // MQTT, where this process serves it.
  mqttUsername: text('', 'User that every MQTT client has to name; empty: any client may connect, from this host.'),
  mqttPassword: secret('Password of that user.'),

  // State and shards.
  storeEngine: choice(['level', 'rocksdb'], 'level', 'Engine of local state.'),
  shardServers: hosts([], 'Shard servers, host:port, separated by commas; empty keeps shards in this process.'),
  shardServerToken: secret('Token for shard servers.'),
  shardServerReadToken: secret('Token for look-ups alone, which brokers send to a shard server; empty: there is none.'),
  catalogPath: text('', 'Prices and sizes of datastore types; empty uses the built-in catalogue.'),
  concreteType: label('level-small', 'Datastore type of the first shard of concrete filters.'),
  trieType: label('trie-small', 'Datastore type of the first shard of wildcard filters.'),
  tombstoneMs: integer(
    DAY_MS,
    { min: 60_000, max: 365 * DAY_MS, unit: 'ms' },
    'How long a removed subscription is remembered, so that a replay cannot revive it.',
  ),

  shardLostAfterMs: integer(
    900_000, // A server that is rebooted, even one that tests its memory and checks its disks, is back by then.
    { min: 0, max: 30 * DAY_MS, unit: 'ms' },
    'How long a shard may give no answer before it counts as lost and is rebuilt from the subscription table; 0: the fleet waits for it without limit.',
  ),

  // The stages.
  ...SESSION_SETTINGS,
  ...RATES_SETTINGS,
  ...FORECAST_SETTINGS,
  ...PLAN_SETTINGS,
  ...APPLY_SETTINGS,
} satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SETTINGS;
export type Config = ValuesOf<typeof SETTINGS>;

/** Values by setting name, and where they were given, for example `environment`. */
export interface Layer {
  readonly source: string;
  readonly values: Readonly<Record<string, unknown>>;
  /** How this source writes a setting's name; by default unchanged. */
  readonly spell?: (name: string) => string;
}

/** One line of `foreshard config explain`. */
export interface Explained {
  readonly name: SettingName;
  readonly environment: string;
  /** As text; `***` for a secret that is set. */
  readonly value: string;
  readonly source: string;
  readonly unit: string;
  readonly range: string;
  readonly about: string;
}

/** Merges the layers; later ones win. Throws CONFIG_INVALID with every problem found. */
export function configOf(layers: readonly Layer[]): { readonly config: Config; readonly explain: () => Explained[] } {
  const problems: string[] = [];
  const values = new Map<string, unknown>();
  const sources = new Map<string, string>();
  for (const [name, setting] of Object.entries(SETTINGS)) {
    values.set(name, setting.fallback);
    sources.set(name, 'default');
  }
  for (const { source, values: given, spell = (name: string) => name } of layers) {
    for (const [name, raw] of Object.entries(given)) {
      if (!Object.hasOwn(SETTINGS, name)) {
        problems.push(`${source}: ${spell(name)} is not a setting; did you mean ${spell(nearestSetting(name))}?`);
        continue;
      }
      const answer = SETTINGS[name as SettingName].read(raw);
      if ('problem' in answer) {
        problems.push(`${source}: ${spell(name)} ${answer.problem}`);
        continue;
      }
      values.set(name, answer.value);
      sources.set(name, source);
    }
  }
  const config = Object.freeze(Object.fromEntries(values)) as unknown as Config;
  if (problems.length === 0) problems.push(...contradictions(config));
  if (problems.length > 0) throw new AppError('CONFIG_INVALID', problems.join('; '), { problems });
  return { config, explain: () => explained(config, sources) };
}

/** `httpPort` is FORESHARD_HTTP_PORT in the environment. */
export const environmentName = (name: string): string =>
  `FORESHARD_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
/** `httpPort` is --http-port on the command line. */
export const flagName = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
export const isSecret = (name: SettingName): boolean => (SETTINGS[name] as Setting<unknown>).fallback instanceof Secret;

/** The allowed values of a setting, in short; empty when any text is allowed. */
export const rangeOf = ({ choices, min, max }: Setting<unknown>): string =>
  choices?.join(' | ') ?? (min === undefined ? '' : `${min} to ${max}`);

/** The setting with the most similar name. */
export function nearestSetting(name: string): SettingName {
  const wanted = name.toLowerCase().slice(0, 64);
  let nearest: SettingName = 'runtime';
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of Object.keys(SETTINGS) as SettingName[]) {
    const changes = distance(wanted, candidate.toLowerCase());
    if (changes < least) [nearest, least] = [candidate, changes];
  }
  return nearest;
}

/** Shorter tokens can be guessed, whatever the rate limit. */
const TOKEN_CHARACTERS_MIN = 16;

/** Problems between settings that are each valid. */
function contradictions(config: Config): string[] {
  const found: string[] = [];
  const tokens = [config.httpReadToken.reveal(), config.httpAdminToken.reveal()];
  if (!isLoopback(config.httpHost) && tokens.includes(''))
    found.push(
      `httpHost ${config.httpHost} is reachable from outside: set httpReadToken and httpAdminToken, or listen on 127.0.0.1`,
    );
  if (tokens.some((token) => token !== '' && token.length < TOKEN_CHARACTERS_MIN))
    found.push(`httpReadToken and httpAdminToken must have at least ${TOKEN_CHARACTERS_MIN} characters`);
  if (tokens[0] !== '' && tokens[0] === tokens[1]) found.push('httpReadToken and httpAdminToken must differ');
  if (tokens[0] !== '' && tokens[1] === '')
    found.push('httpReadToken without httpAdminToken would leave changes open to everybody: set both');
  if (config.runtime === 'kafka') {
    if (config.brokers.length === 0) found.push('runtime kafka needs brokers');
    if (config.registryUrl === '') found.push('runtime kafka needs registryUrl');
  }
  if (config.saslMechanism !== 'none' && (config.saslUsername === '' || config.saslPassword.reveal() === ''))
    found.push(`saslMechanism ${config.saslMechanism} needs saslUsername and saslPassword`);
  if (config.saslMechanism === 'plain' && !config.kafkaTls)
    found.push('saslMechanism plain sends the password as it is: turn kafkaTls on');
  if ((config.kafkaTlsCertFile === '') !== (config.kafkaTlsKeyFile === ''))
    found.push('kafkaTlsCertFile and kafkaTlsKeyFile belong together');
  if (!config.kafkaTls && `${config.kafkaTlsCaFile}${config.kafkaTlsCertFile}` !== '')
    found.push('files for TLS are given, but kafkaTls is off');
  if ((config.mqttUsername === '') !== (config.mqttPassword.reveal() === ''))
    found.push('mqttUsername and mqttPassword belong together');
  if (config.horizonMs < config.tickMs) found.push('horizonMs must be at least tickMs');
  if (config.shutdownDeadlineMs < config.commitIntervalMs)
    found.push('shutdownDeadlineMs must be at least commitIntervalMs');
  return found;
}

function explained(config: Config, sources: ReadonlyMap<string, string>): Explained[] {
  return (Object.keys(SETTINGS) as SettingName[]).map((name) => {
    const setting: Setting<unknown> = SETTINGS[name];
    const range = rangeOf(setting);
    const source = sources.get(name)!;
    return {
      name,
      environment: environmentName(name),
      value: String(config[name]),
      source,
      unit: setting.unit,
      range,
      about: setting.about,
    };
  });
}

/** Levenshtein distance, computed row by row. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const changed = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(changed, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[to.length]!;
}
