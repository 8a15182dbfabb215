// Settings on the command line: every setting except secrets is a flag, with the name that config.ts gives it. Secrets
// come from the environment or a file: a flag would be visible in every list of processes.

import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { flagName, isSecret, rangeOf, SETTINGS, type SettingName } from '../config/config.ts';
import { readConfig } from '../config/edge/env-config.ts';
import type { Setting } from '../schemas/setting.ts';

const HEADING =
  'Settings (also FORESHARD_… in the environment; `foreshard config explain` tells all) [default; range]:';

/** The settings of a shard server; the others belong to the processes that use it. */
export const SHARD_SERVER_SETTINGS: readonly SettingName[] = [
  'dataDir',
  'logLevel',
  'logPretty',
  'partitions',
  'catalogPath',
  'shutdownDeadlineMs',
  'shardServerToken',
  'shardServerReadToken',
];

/** The settings of an MQTT broker on Kafka. */
export const BROKER_SETTINGS: readonly SettingName[] = [
  ...(['dataDir', 'logLevel', 'logPretty', 'shutdownDeadlineMs'] as const),
  ...(['brokers', 'topicPrefix', 'replicationFactor', 'createTopics'] as const),
  ...(['kafkaTls', 'kafkaTlsCaFile', 'kafkaTlsCertFile', 'kafkaTlsKeyFile', 'saslMechanism', 'saslUsername'] as const),
  ...(['registryUrl', 'registryUsername', 'shardServers', 'mqttUsername'] as const),
];

/** Adds `--config` and a flag for each of these settings, with its default and bounds. */
export function withSettings(
  command: Command,
  names: readonly SettingName[] = Object.keys(SETTINGS) as SettingName[],
): Command {
  command.addOption(new Option('--config <file>', 'a flat JSON object of settings').helpGroup(HEADING));
  for (const name of names) {
    if (isSecret(name) || command.options.some((option) => option.attributeName() === name)) continue;
    const setting: Setting<unknown> = SETTINGS[name];
    const isFlag = typeof setting.fallback === 'boolean';
    const about = `${setting.about} ${boundsText(setting)}`;
    command.addOption(new Option(`${flagName(name)} ${isFlag ? '[bool]' : '<value>'}`, about).helpGroup(HEADING));
  }
  return command;
}

/** `[60000 ms; 1000 to 3600000]`: the default and the bounds. */
function boundsText(setting: Setting<unknown>): string {
  const value = String(setting.fallback);
  const usual = value === '' ? 'none' : `${value} ${setting.unit}`.trim();
  const range = rangeOf(setting);
  return `[${usual}${range === '' ? '' : `; ${range}`}]`;
}

/** The configuration of a command. Throws CONFIG_INVALID. */
export function configFrom(
  command: Command,
  over: Readonly<Record<string, unknown>> = {},
): ReturnType<typeof readConfig> {
  const given: Record<string, unknown> = command.opts();
  const flags = Object.fromEntries(
    Object.entries(given).filter(
      ([name]) => Object.hasOwn(SETTINGS, name) && command.getOptionValueSource(name) === 'cli',
    ),
  );
  return readConfig({
    environment: process.env,
    flags: { ...flags, ...over },
    ...(typeof given.config === 'string' ? { file: given.config } : {}),
  });
}

/** A whole number from `min` on, as an argument parser. */
export const wholeNumber =
  (min: number) =>
  (text: string): number => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < min)
      throw new InvalidArgumentError(`It must be a whole number from ${min} on.`);
    return Number(text);
  };

export function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError('It must be a number from 0 to 1.');
  return value;
}

/** `max`, or a factor relative to the trace. */
export function speed(text: string): number {
  const value = text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
  if (text.trim() === '' || !(value > 0)) throw new InvalidArgumentError('It must be "max" or a number above 0.');
  return value;
}

/** Threads for a long computation: one fewer than there are cores, since the main thread scores and draws. */
export const workersByDefault = (): number => Math.max(1, availableParallelism() - 1);
