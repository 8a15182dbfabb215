// Protocol file: JSON that says what is judged and how. Checked strictly: a problem is reported as PROTOCOL_INVALID,
// with the file and the path of the field.

import { type Static, type TSchema, Type } from 'typebox';
import { checked } from '../schemas/checked.ts';
import { AppError } from '../schemas/errors.ts';

/** A file's content, checked against the schema. */
export function readProtocol<Schema extends TSchema>(schema: Schema, text: string, file: string): Static<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new AppError('PROTOCOL_INVALID', `${file} is not JSON: ${(cause as Error).message}`, { file }, cause);
  }
  return checked(schema, value, (problem) => protocolProblem(file, problem.path, problem.text));
}

export const protocolProblem = (file: string, path: string, text: string): AppError =>
  new AppError('PROTOCOL_INVALID', `${file}: ${path} ${text}`, { file, path });

export const positive = Type.Number({ exclusiveMinimum: 0, must: 'must be a number above 0' });
export const whole = Type.Integer({
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
  must: 'must be a whole number above 0',
});
export const wholes = Type.Array(whole);
export const text = Type.String({
  pattern: /^[^\p{Cc},"]+$/u,
  must: 'must be a text without commas, quotes and control characters',
});

/** Throws PROTOCOL_INVALID unless the numbers ascend and are from `min` to `max`. */
export function expectAscending(
  values: readonly number[],
  min: number,
  max: number,
  refuse: (text: string) => AppError,
) {
  const isSound = (value: number, index: number): boolean =>
    value >= min && value <= max && (index === 0 || value > values[index - 1]!);
  if (values.length === 0 || !values.every(isSound))
    throw refuse(`must be ascending whole numbers from ${min} to ${max}`);
}
