// Reads the configuration file, the environment and flags; config/config.ts says what each setting means.
//
//   FORESHARD_HTTP_PORT=8080       a setting
//   FORESHARD_SASL_PASSWORD_FILE   the same for a secret, from a file that others may not read
//   FORESHARD_CONFIG=fleet.json    the file: a flat JSON object of settings
//
// Environment and flags win over the file. A missing HOME, an unusual TZ or locale make no difference.

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { AppError } from '../../schemas/errors.ts';
import {
  type Config,
  configOf,
  type Explained,
  environmentName,
  flagName,
  isSecret,
  type Layer,
  SETTINGS,
  type SettingName,
} from '../config.ts';

/** Larger than any real file: a path to something huge by mistake is refused before it is read. */
const FILE_BYTES_MAX = 1_048_576;
const SECRET_BYTES_MAX = 8_192;
/** Variables of the tests and of the image, which are not settings of a process. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set([
  'FORESHARD_CONFIG',
  'FORESHARD_CACHE',
  'FORESHARD_TEST_CACHE',
  'FORESHARD_KAFKA_IMAGE',
  'FORESHARD_KAFKA_LIB',
  'FORESHARD_MAVEN_REPOSITORY',
  'FORESHARD_REGISTRY_APP',
]);

export interface ConfigSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** By setting name; only the flags that were given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** Wins over FORESHARD_CONFIG. */
  readonly file?: string;
}

/** Throws CONFIG_INVALID with every problem found, and never with a secret in it. */
export function readConfig(sources: ConfigSources): { readonly config: Config; readonly explain: () => Explained[] } {
  const path = sources.file ?? sources.environment.FORESHARD_CONFIG;
  const layers: Layer[] = [];
  if (path !== undefined && path !== '') layers.push({ source: `file ${path}`, values: fileValues(path) });
  layers.push(environmentLayer(sources.environment));
  if (sources.flags !== undefined) layers.push({ source: 'flag', values: sources.flags, spell: flagName });
  return configOf(layers);
}

function environmentLayer(environment: Readonly<Record<string, string | undefined>>): Layer {
  const byVariable = new Map((Object.keys(SETTINGS) as SettingName[]).map((name) => [environmentName(name), name]));
  const values: Record<string, unknown> = Object.create(null);
  for (const [variable, given] of Object.entries(environment)) {
    if (given === undefined || !variable.startsWith('FORESHARD_') || OTHER_VARIABLES.has(variable)) continue;
    const name = byVariable.get(variable);
    if (name !== undefined) {
      values[name] = given;
      continue;
    }
    const secret = variable.endsWith('_FILE') ? byVariable.get(variable.slice(0, -'_FILE'.length)) : undefined;
    if (secret !== undefined && isSecret(secret)) {
      if (environment[environmentName(secret)] !== undefined)
        throw invalid(`environment: ${variable} and ${environmentName(secret)} are both set`);
      values[secret] = secretFrom(given, variable);
    } else values[camelCase(variable)] = given; // Unknown: `configOf` names the nearest.
  }
  return { source: 'environment', values, spell: environmentName };
}

function fileValues(path: string): Record<string, unknown> {
  const text = textOf(path, `file ${path}`, FILE_BYTES_MAX);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    // The parser's own message may quote a secret.
    throw invalid(`file ${path} is not JSON${cause instanceof SyntaxError ? positionIn(cause.message) : ''}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw invalid(`file ${path} must hold one JSON object of settings`);
  const twice = repeatedKey(text);
  if (twice !== undefined) throw invalid(`file ${path} has the key ${JSON.stringify(twice)} twice`);
  return parsed as Record<string, unknown>;
}

/**
 * The text of a secret's file, which must be one line; a final line break is dropped. Only owner and group may have
 * access.
 */
function secretFrom(path: string, variable: string): string {
  const text = textOf(path, variable, SECRET_BYTES_MAX, 0o006).replace(/\r?\n$/, '');
  if (text === '') throw invalid(`${variable}: ${path} is empty`);
  return text;
}

function textOf(path: string, what: string, bytesMax: number, forbiddenMode = 0): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw invalid(`${what} cannot be read: ${(cause as NodeJS.ErrnoException).code}`, cause);
  }
  try {
    const facts = fstatSync(file);
    if (!facts.isFile()) throw invalid(`${what}: ${path} is not a file`);
    if (facts.size > bytesMax) throw invalid(`${what}: ${path} has more than ${bytesMax} bytes`);
    if ((facts.mode & forbiddenMode) !== 0)
      throw invalid(`${what}: ${path} is open to every user of this machine: chmod o-rw it`);
    const bytes = Buffer.alloc(facts.size);
    const size = readSync(file, bytes, 0, facts.size, 0);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, size));
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw invalid(`${what}: ${path} is not UTF-8`, cause);
  } finally {
    closeSync(file);
  }
}

/** A key that occurs twice in the outermost object of valid JSON; `JSON.parse` would silently take the last. */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (const [token, key] of json.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}[\]]/g)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    else if (key !== undefined && depth === 1) {
      const name = JSON.parse(key) as string;
      if (seen.has(name)) return name;
      seen.add(name);
    }
  }
  return undefined;
}

const positionIn = (message: string): string => /at position \d+/.exec(message)?.[0].replace(/^/, ' ') ?? '';
const camelCase = (variable: string): string =>
  variable
    .slice('FORESHARD_'.length)
    .toLowerCase()
    .replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const invalid = (message: string, cause?: unknown): AppError => new AppError('CONFIG_INVALID', message, {}, cause);
