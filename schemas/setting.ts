// Setting: one kind of value in the configuration, and how it is read from JSON (as the type itself) or from the
// environment and flags (as text). Each stage exports its own settings; config/config.ts composes them.
//
//   S1. A value that is read is within its bounds; otherwise there is a problem described in words.
//   S2. A secret is never part of those words, nor printed by JSON or the console.

/** A text that must not be printed. `reveal` is for the code that sends it. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return this.#text === '' ? '' : '***';
  }

  toJSON(): string {
    return this.toString();
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

export interface Setting<Value> {
  readonly about: string;
  readonly fallback: Value;
  readonly unit: string;
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  /** The checked value, or what is wrong with it, as the end of the sentence "<name> …". Never repeats a secret. */
  readonly read: (given: unknown) => { readonly value: Value } | { readonly problem: string };
}

/** The values of these settings. */
export type ValuesOf<Settings extends Record<string, Setting<unknown>>> = {
  readonly [Name in keyof Settings]: Settings[Name] extends Setting<infer Value> ? Value : never;
};

/** The values when nothing is configured. */
export function fallbacksOf<Settings extends Record<string, Setting<unknown>>>(settings: Settings): ValuesOf<Settings> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, { fallback }]) => [name, fallback]),
  ) as ValuesOf<Settings>;
}

/** The subset of all values that belongs to these settings. */
export function valuesOf<Settings extends Record<string, Setting<unknown>>>(
  settings: Settings,
  values: ValuesOf<Settings>,
): ValuesOf<Settings> {
  return Object.fromEntries(Object.keys(settings).map((name) => [name, values[name]])) as ValuesOf<Settings>;
}

export interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly unit: string;
}

export function integer(fallback: number, bounds: Bounds, about: string): Setting<number> {
  return numeric(fallback, bounds, about, /^-?\d{1,15}$/, 'a whole number');
}

export function number(fallback: number, bounds: Bounds, about: string): Setting<number> {
  return numeric(fallback, bounds, about, /^-?\d{1,15}(\.\d{1,15})?$/, 'a number');
}

function numeric(fallback: number, bounds: Bounds, about: string, written: RegExp, kind: string): Setting<number> {
  const { min, max, unit } = bounds;
  const wanted = `must be ${kind}${unit === '' ? '' : ` of ${unit}`} from ${min} to ${max}`;
  return {
    ...{ about, fallback, unit, min, max },
    read(given) {
      const value = typeof given === 'string' && written.test(given) ? Number(given) : given;
      const fits = typeof value === 'number' && value >= min && value <= max;
      return fits && (kind === 'a number' || Number.isInteger(value))
        ? { value }
        : { problem: `${wanted}, ${told(given)}` };
    },
  };
}

export function flag(fallback: boolean, about: string): Setting<boolean> {
  return {
    ...{ about, fallback, unit: '', choices: ['true', 'false'] },
    read: (given) =>
      given === true || given === 'true'
        ? { value: true }
        : given === false || given === 'false'
          ? { value: false }
          : { problem: `must be true or false, ${told(given)}` },
  };
}

export function choice<const Options extends readonly string[]>(
  options: Options,
  fallback: Options[number],
  about: string,
): Setting<Options[number]> {
  return {
    ...{ about, fallback, unit: '', choices: options },
    read: (given) =>
      options.includes(given as string)
        ? { value: given as Options[number] }
        : { problem: `must be one of ${options.join(', ')}, ${told(given)}` },
  };
}

export function text(fallback: string, about: string): Setting<string> {
  return {
    ...{ about, fallback, unit: '' },
    read: (given) =>
      typeof given === 'string' && isLine(given) && given.length <= 4_096
        ? { value: given }
        : { problem: 'must be one line of text of at most 4,096 characters' },
  };
}

/** Part of a topic's or group's name: characters that Kafka allows in one. */
export function label(fallback: string, about: string, empty = false): Setting<string> {
  return {
    ...{ about, fallback, unit: '' },
    read: (given) =>
      typeof given === 'string' && /^[\w.-]{0,100}$/.test(given) && (empty || given !== '')
        ? { value: given }
        : { problem: `must be ${empty ? 'at most' : '1 to'} 100 letters, digits, ".", "_" or "-", ${told(given)}` },
  };
}

/** A list of host:port. */
export function hosts(fallback: readonly string[], about: string): Setting<readonly string[]> {
  return listed(fallback, about, isHostPort, 'must be host:port, separated by commas');
}

/** A list of some of these names, each at most once. */
export function names(
  known: readonly string[],
  fallback: readonly string[],
  about: string,
): Setting<readonly string[]> {
  const isKnown = (part: unknown, at: number, parts: readonly unknown[]): boolean =>
    known.includes(part as string) && parts.indexOf(part) === at;
  return listed(fallback, about, isKnown, `must be some of ${known.join(', ')}, separated by commas, each once`);
}

function listed(
  fallback: readonly string[],
  about: string,
  fits: (part: unknown, at: number, parts: readonly unknown[]) => boolean,
  wanted: string,
): Setting<readonly string[]> {
  return {
    ...{ about, fallback, unit: '' },
    read(given) {
      const parts = typeof given === 'string' ? given.split(',').map((part) => part.trim()) : given;
      if (given === '') return { value: [] };
      return Array.isArray(parts) && parts.length <= 1_000 && parts.every(fits)
        ? { value: Object.freeze([...parts]) }
        : { problem: `${wanted}, ${told(given)}` };
    },
  };
}

export function address(fallback: string, about: string): Setting<string> {
  return {
    ...{ about, fallback, unit: '' },
    read: (given) =>
      given === '' || (typeof given === 'string' && /^https?:\/\/[^\s/@?#]+(\/[^\s?#]*)?$/.test(given))
        ? { value: given.replace(/\/+$/, '') }
        : { problem: 'must be an http(s) address without a user, query or fragment' },
  };
}

export function secret(about: string): Setting<Secret> {
  return {
    ...{ about, fallback: new Secret(''), unit: '' },
    read: (given) =>
      typeof given === 'string' && isLine(given) && given.length <= 4_096
        ? { value: new Secret(given) }
        : { problem: 'must be one line of text of at most 4,096 characters' },
  };
}

export function isHostPort(part: unknown): boolean {
  const match = typeof part === 'string' ? /^([\w.-]{1,253}|\[[0-9a-fA-F:]{2,39}\]):(\d{1,5})$/.exec(part) : null;
  return match !== null && Number(match[2]) >= 1 && Number(match[2]) <= 65_535;
}

/** True for a text without control characters, which cannot forge a line of a log or a header. */
function isLine(given: string): boolean {
  for (let i = 0; i < given.length; i++) if (given.charCodeAt(i) < 0x20 || given.charCodeAt(i) === 0x7f) return false;
  return true;
}

const told = (given: unknown): string => {
  const shown = JSON.stringify(given) ?? String(given);
  return `not ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}`;
};
