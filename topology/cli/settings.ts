// Settings on the command line: every setting but secrets is a flag, under the name that config.ts gives it. Secrets come
// from the environment or a file: a flag would stand in every list of processes.

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Setting } from '../../schemas/setting.ts';
import { flagName, isSecret, SETTINGS, type SettingName } from '../config.ts';
import { readConfig } from '../edge/env-config.ts';

const HEADING = 'Settings (also FORESHARD_… in the environment; `foreshard config explain` tells all):';

/** Adds `--config` and a flag for each setting. */
export function withSettings(command: Command): Command {
  command.addOption(new Option('--config <file>', 'a flat JSON object of settings').helpGroup(HEADING));
  for (const name of Object.keys(SETTINGS) as SettingName[]) {
    if (isSecret(name) || command.options.some((option) => option.attributeName() === name)) continue;
    const setting: Setting<unknown> = SETTINGS[name];
    const isFlag = typeof setting.fallback === 'boolean';
    const option = new Option(`${flagName(name)} ${isFlag ? '[bool]' : '<value>'}`, setting.about).helpGroup(HEADING);
    command.addOption(isFlag ? option.preset('true') : option);
  }
  return command;
}

/** The configuration that a command was given. Throws CONFIG_INVALID. */
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

/** `max`, or how many times as fast as the trace. */
export function speed(text: string): number {
  const value = text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
  if (text.trim() === '' || !(value > 0)) throw new InvalidArgumentError('It must be "max" or a number above 0.');
  return value;
}
