// JSON shapes: checks that a parsed JSON value has the fields and types of a record's Avro schema, so that the JSON
// codec promises the same as Avro (codec.ts). Each type is a closure made once.
//
//   J1. Total: every value gets an answer, however deeply it is nested; only the depth of the schema is walked.
//   J2. A missing field takes its default, in place. A field that the schema does not have is kept and not checked.

/** What is wrong with the value, in an operator's words, or `undefined`. */
export type Shape = (value: unknown) => string | undefined;

interface Node {
  readonly type: unknown;
  readonly name?: string;
  readonly fields?: readonly { readonly name: string; readonly type: unknown; readonly default?: unknown }[];
  readonly symbols?: readonly string[];
  readonly items?: unknown;
  readonly values?: unknown;
}

/** The check for values of this schema (parsed Avro JSON, without references). */
export function shapeOf(schema: unknown): Shape {
  if (Array.isArray(schema)) return unionOf(schema as Node[]);
  if (typeof schema === 'string') return PRIMITIVES[schema]!;
  const node = schema as Node;
  switch (node.type) {
    case 'record':
      return recordOf(node);
    case 'enum': {
      const symbols = new Set<unknown>(node.symbols);
      return (value) => (symbols.has(value) ? undefined : `must be one of ${node.symbols!.join(', ')}`);
    }
    case 'array': {
      const item = shapeOf(node.items);
      return (value) => (Array.isArray(value) ? firstProblem(value.entries(), item) : 'must be a list');
    }
    case 'map': {
      const item = shapeOf(node.values);
      return (value) => (isObject(value) ? firstProblem(Object.entries(value), item) : 'must be an object');
    }
    default:
      return shapeOf(node.type);
  }
}

function recordOf(node: Node): Shape {
  const fields = node.fields!.map((field) => ({ ...field, shape: shapeOf(field.type) }));
  return (value) => {
    if (!isObject(value)) return 'must be an object';
    for (const { name, shape, default: fallback } of fields) {
      if (!Object.hasOwn(value, name)) {
        if (fallback === undefined) return `${name} is missing`;
        value[name] = fallback;
        continue;
      }
      const problem = shape(value[name]);
      if (problem !== undefined) return `${name} ${problem}`;
    }
    return undefined;
  };
}

function unionOf(branches: readonly Node[]): Shape {
  const shapes = new Map<unknown, Shape>(branches.map((branch) => [branch.name, recordOf(branch)]));
  return (value) => {
    if (!isObject(value)) return 'must be an object';
    const shape = Object.hasOwn(value, 'kind') ? shapes.get(value.kind) : undefined;
    return shape === undefined ? `kind must be one of ${[...shapes.keys()].join(', ')}` : shape(value);
  };
}

function firstProblem(entries: Iterable<[unknown, unknown]>, item: Shape): string | undefined {
  for (const [at, value] of entries) {
    const problem = item(value);
    if (problem !== undefined) return `[${at}] ${problem}`;
  }
  return undefined;
}

const isNumber = (value: unknown): string | undefined => (typeof value === 'number' ? undefined : 'must be a number');
const PRIMITIVES: Readonly<Record<string, Shape>> = {
  string: (value) =>
    typeof value === 'string' && !/\p{Cs}/u.test(value) ? undefined : 'must be a text of whole Unicode characters',
  boolean: (value) => (typeof value === 'boolean' ? undefined : 'must be true or false'),
  int: (value) =>
    typeof value === 'number' && value === (value | 0) ? undefined : 'must be a whole number of 32 bits',
  long: (value) => (Number.isSafeInteger(value) ? undefined : 'must be a whole number below 2^53'),
  float: isNumber,
  double: isNumber,
};

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
