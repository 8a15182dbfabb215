// Walk: checks Avro bytes against the schema they were written with, before anything is built from them. The decoder
// behind it (avsc) trusts lengths: it turns invalid UTF-8 into U+FFFD and allocates what an array's count asks for.
//
//   W1. Every length must be covered by existing bytes, and a whole value may contain at most STEPS_PER_BYTE items and
//       fields for each of its bytes, plus STEPS_FREE: work and memory are bounded by its size, also where items have
//       no bytes.
//   W2. Every string is valid UTF-8 (RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF). Two filters
//       that differ in bytes thus never become the same text.
//   W3. Enum and union indexes are in range, booleans are 0 or 1, numbers are within the range that can be read
//       exactly.
//   W4. A block of items is as long as its size field says: a decoder that skips it by its size continues where this
//       check did.
//
// Hot path: one Walker is reused, and each type is a closure made once.

import { AppError } from './errors.ts';

/** Moves the walker past one value of a type, or throws UNDECODABLE. */
export type Walk = (walker: Walker) => void;

/** Deep enough for any real record; a recursive or a deeply nested schema cannot exhaust the stack. */
const DEPTH_MAX = 64;
/**
 * Below this value avsc 5.7.9 reads and writes a different number, even one of the other sign. No field of ours gets
 * there.
 */
const LONG_MIN = 1 - 2 ** 52;
/**
 * A field or an item of a real value has a byte or more; nulls that another writer's schema adds are few in comparison.
 */
const STEPS_PER_BYTE = 8;
const STEPS_FREE = 4_096;

/** The check for values written with this schema (parsed Avro JSON). */
export function walkOf(schema: unknown): Walk {
  return compile(schema, '', new Map());
}

/** The position of a check in the bytes of one value. */
export class Walker {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  depth = 0;
  /** Items and fields counted so far. */
  steps = 0;
  #stepsMax = 0;

  /** Checks that `bytes` from `at` hold exactly one value. */
  whole(bytes: Uint8Array, at: number, walk: Walk): void {
    this.bytes = bytes;
    this.at = at;
    this.depth = 0;
    this.steps = 0;
    this.#stepsMax = STEPS_FREE + STEPS_PER_BYTE * bytes.length;
    walk(this);
    if (this.at !== bytes.length) malformed(`${bytes.length - this.at} bytes are left after the value`, this.at);
  }

  /** Counts items or fields before they are checked (W1). */
  spend(steps: number): void {
    this.steps += steps;
    if (this.steps > this.#stepsMax) malformed('it has too many items for its size', this.at);
  }

  enter(): void {
    if (++this.depth > DEPTH_MAX) malformed('it is nested too deeply', this.at);
  }

  skip(sizeBytes: number): void {
    if (sizeBytes > this.bytes.length - this.at) malformed('the value ends too early', this.at);
    this.at += sizeBytes;
  }

  /** A zig-zag varint of at most `bytesMax` bytes; exact between LONG_MIN and 2^53, outside only approximate. */
  varint(bytesMax: number): number {
    const bytes = this.bytes;
    let at = this.at;
    let byte = bytes[at++];
    if (byte === undefined) malformed('the value ends too early', this.at);
    const negative = (byte & 1) === 1;
    let sum = byte & 0x7f;
    let scale = 128;
    let left = bytesMax - 1;
    while (byte >= 0x80) {
      byte = bytes[at++];
      if (byte === undefined) malformed('the value ends too early', this.at);
      if (left-- === 0) malformed(`a number is longer than ${bytesMax} bytes`, this.at);
      sum += (byte & 0x7f) * scale;
      scale *= 128;
    }
    this.at = at;
    return negative ? -(sum + 1) / 2 : sum / 2;
  }

  /** A length: not negative, and at most the number of bytes left. */
  length(): number {
    const length = this.varint(10);
    if (length < 0 || length > this.bytes.length - this.at) malformed('a length goes beyond the value', this.at);
    return length;
  }

  text(): void {
    const end = this.length() + this.at;
    const bytes = this.bytes;
    let at = this.at;
    const four = end - 3;
    while (at < four && (bytes[at]! | bytes[at + 1]! | bytes[at + 2]! | bytes[at + 3]!) < 0x80) at += 4;
    while (at < end) {
      const lead = bytes[at]!;
      if (lead < 0x80) at++;
      else {
        const size = sequenceBytes(bytes, at, end);
        if (size === 0) malformed('a string is not valid UTF-8', at);
        at += size;
      }
    }
    this.at = end;
  }
}

/** Bytes of the valid multi-byte sequence at `at`; 0 when there is none (RFC 3629, section 4). */
function sequenceBytes(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!;
  const size =
    lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
  if (size === 0 || at + size > end) return 0;
  const second = bytes[at + 1]!;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < size; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  return size;
}

interface Complex {
  readonly type: unknown;
  readonly name?: string;
  readonly namespace?: string;
  readonly fields?: readonly { readonly type: unknown }[];
  readonly symbols?: readonly string[];
  readonly items?: unknown;
  readonly values?: unknown;
  readonly size?: number;
}

const PRIMITIVES: Readonly<Record<string, Walk>> = {
  null: () => {},
  boolean: (walker) => {
    const at = walker.at;
    walker.skip(1);
    if (walker.bytes[at]! > 1) malformed('a boolean is neither 0 nor 1', at);
  },
  // A number of one byte is in every range.
  int: (walker) => {
    if (walker.bytes[walker.at]! < 0x80) return void walker.at++;
    const value = walker.varint(5);
    if (value !== (value | 0)) malformed('an int does not fit 32 bits', walker.at);
  },
  long: (walker) => {
    if (walker.bytes[walker.at]! < 0x80) return void walker.at++;
    const value = walker.varint(10);
    if (value < LONG_MIN || value > Number.MAX_SAFE_INTEGER) malformed('a long is out of range', walker.at);
  },
  float: (walker) => walker.skip(4),
  double: (walker) => walker.skip(8),
  bytes: (walker) => walker.skip(walker.length()),
  string: (walker) => walker.text(),
};

function compile(schema: unknown, namespace: string, named: Map<string, { walk: Walk }>): Walk {
  if (typeof schema === 'string') return PRIMITIVES[schema] ?? reference(schema, namespace, named);
  if (Array.isArray(schema)) {
    const branches = schema.map((branch) => compile(branch, namespace, named));
    return (walker) => branches[index(walker, branches.length, 'union')]!(walker);
  }
  const complex = schema as Complex;
  switch (complex.type) {
    case 'array':
      return blocks(compile(complex.items, namespace, named));
    case 'map': {
      const value = compile(complex.values, namespace, named);
      return blocks((walker) => {
        walker.text();
        value(walker);
      });
    }
    case 'enum': {
      const size = complex.symbols!.length;
      return declare(complex, namespace, named, () => (walker) => void index(walker, size, 'enum'));
    }
    case 'fixed':
      return declare(complex, namespace, named, () => (walker) => walker.skip(complex.size!));
    case 'record':
    case 'error':
      return declare(complex, namespace, named, (inner) =>
        record(complex.fields!.map((field) => compile(field.type, inner, named))),
      );
    default:
      return compile(complex.type, namespace, named); // A primitive with attributes, for example a logical type.
  }
}

function record(fields: readonly Walk[]): Walk {
  return (walker) => {
    walker.enter();
    walker.spend(fields.length);
    for (let i = 0; i < fields.length; i++) fields[i]!(walker);
    walker.depth--;
  };
}

/** Items in blocks: a count, or a negative count and the block's size in bytes; a count of 0 ends them. */
function blocks(item: Walk): Walk {
  return (walker) => {
    walker.enter();
    for (let count = walker.varint(10); count !== 0; count = walker.varint(10)) {
      const end = count < 0 ? walker.length() + walker.at : undefined;
      count = Math.abs(count);
      walker.spend(count);
      for (let i = 0; i < count; i++) item(walker);
      if (end !== undefined && walker.at !== end) malformed('a block of items has another size than it says', end); // W4
    }
    walker.depth--;
  };
}

function index(walker: Walker, size: number, what: string): number {
  const at = walker.at;
  const value = walker.varint(5);
  if (value < 0 || value >= size) malformed(`an index of ${what} is out of range`, at);
  return value;
}

/** Registers the type's name before its contents are compiled, so that it may refer to itself. */
function declare(
  complex: Complex,
  namespace: string,
  named: Map<string, { walk: Walk }>,
  inside: (namespace: string) => Walk,
): Walk {
  const name = complex.name!;
  const space = name.includes('.') ? name.slice(0, name.lastIndexOf('.')) : (complex.namespace ?? namespace);
  const slot = { walk: PRIMITIVES.null! };
  named.set(qualified(name, space), slot);
  slot.walk = inside(space);
  return slot.walk;
}

function reference(name: string, namespace: string, named: Map<string, { walk: Walk }>): Walk {
  const slot = named.get(qualified(name, namespace)) ?? named.get(name);
  if (slot === undefined)
    throw new AppError('SCHEMA_MISMATCH', `a schema refers to the unknown type ${name}`, { name });
  return (walker) => slot.walk(walker);
}

const qualified = (name: string, namespace: string): string =>
  name.includes('.') || namespace === '' ? name : `${namespace}.${name}`;

function malformed(reason: string, position: number): never {
  throw new AppError('UNDECODABLE', `the bytes are not what their schema says: ${reason}`, { position });
}
