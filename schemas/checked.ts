// Checked: JSON from outside, checked against a schema. A problem is described in words, with the path of the field:
// `types[0].kind must be KEY_VALUE or TRIE`. For files and answers that are read once: it does not compile schemas.
//
//   V1. Of several problems an unknown field is reported first: it is usually a missing one, misspelt.
//   V2. Where an object is expected and something else is found, its first required field is reported as missing.

import type { Static, TSchema } from 'typebox';
import { Errors } from 'typebox/value';

export interface Problem {
  /** `types[0].name`; '' for the value itself. */
  readonly path: string;
  /** Text that follows the path: `is missing`, `must be a list`. */
  readonly text: string;
}

/** The value, when it matches the schema; otherwise throws the error that `refuse` makes of the first problem. */
export function checked<Schema extends TSchema>(
  schema: Schema,
  value: unknown,
  refuse: (problem: Problem) => Error,
): Static<Schema> {
  const problem = problemOf(schema, value);
  if (problem !== undefined) throw refuse(problem);
  return value as Static<Schema>;
}

interface Found {
  readonly keyword: string;
  readonly schemaPath: string;
  readonly instancePath: string;
  readonly params: { readonly requiredProperties?: string[]; readonly additionalProperties?: string[] };
}

/** The parts of a schema that problems are described with; `must`, where a schema has it, is used whatever is wrong. */
interface Words {
  readonly must?: string;
  readonly type?: string;
  readonly required?: readonly string[];
  readonly properties?: object;
  readonly const?: unknown;
  readonly anyOf?: readonly Words[];
  readonly minimum?: number;
  readonly maximum?: number;
}

const TYPES: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  object: 'an object',
  string: 'a text',
};

export function problemOf(schema: TSchema, value: unknown): Problem | undefined {
  const found = Errors(schema, value) as readonly Found[];
  if (found.length === 0) return undefined;
  const unknown = found.find(({ params }) => params.additionalProperties !== undefined); // V1
  if (unknown !== undefined) {
    const known = Object.keys(wordsAt(schema, unknown.schemaPath).properties ?? {}).join(', ');
    const path = pathOf(unknown.instancePath, unknown.params.additionalProperties![0]!);
    return { path, text: `is not known; the fields are ${known}` };
  }
  const [first] = found;
  const { keyword, schemaPath, instancePath, params } = first!;
  const words = wordsAt(schema, schemaPath);
  const missing = params.requiredProperties?.[0] ?? (keyword === 'type' ? words.required?.[0] : undefined); // V2
  if (missing !== undefined) return { path: pathOf(instancePath, missing), text: 'is missing' };
  return { path: pathOf(instancePath), text: words.must ?? textOf(keyword, words) };
}

function textOf(keyword: string, words: Words): string {
  if (keyword === 'minItems') return 'must not be empty';
  if (words.anyOf?.every((each) => each.const !== undefined))
    return `must be ${words.anyOf.map((each) => String(each.const)).join(' or ')}`;
  if (words.const !== undefined) return `must be ${JSON.stringify(words.const)}`;
  const { minimum, maximum } = words;
  const range = minimum === undefined || maximum === undefined ? '' : ` from ${minimum} to ${maximum}`;
  return `must be ${TYPES[words.type ?? ''] ?? 'something else'}${range}`;
}

/** The schema that a problem is about; for a problem within alternatives, the schema that has them. */
function wordsAt(schema: TSchema, schemaPath: string): Words {
  let at: unknown = schema;
  for (const step of schemaPath.split('/').slice(1)) {
    if (step === 'anyOf') break;
    at = (at as Record<string, unknown>)[unescaped(step)];
  }
  return at as Words;
}

function pathOf(instancePath: string, field?: string): string {
  const steps = instancePath.split('/').slice(1).map(unescaped);
  if (field !== undefined) steps.push(field);
  return steps.reduce((path, step) => {
    if (/^\d+$/.test(step)) return `${path}[${step}]`;
    return path === '' ? step : `${path}.${step}`;
  }, '');
}

const unescaped = (step: string): string => step.replaceAll('~1', '/').replaceAll('~0', '~');
