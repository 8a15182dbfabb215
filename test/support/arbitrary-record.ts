// Random values of a record, made from its Avro schema: for tests that must hold for every record there is.

import { fc } from './property.ts';

interface Node {
  readonly type: unknown;
  readonly name?: string;
  readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
  readonly symbols?: readonly string[];
  readonly items?: unknown;
  readonly values?: unknown;
}

/** Values as our code holds them: members of a union carry `kind`. */
export function recordArbitrary(schema: unknown): fc.Arbitrary<unknown> {
  if (Array.isArray(schema)) {
    return fc.oneof(
      ...schema.map((branch: Node) =>
        recordArbitrary(branch).map((value) => ({ kind: branch.name, ...(value as object) })),
      ),
    );
  }
  if (typeof schema === 'string') return primitive(schema);
  const node = schema as Node;
  switch (node.type) {
    case 'record':
      return fc.record(Object.fromEntries(node.fields!.map(({ name, type }) => [name, recordArbitrary(type)])));
    case 'array':
      return fc.array(recordArbitrary(node.items), { maxLength: 5 });
    case 'map':
      return fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), recordArbitrary(node.values), {
        maxKeys: 4,
        noNullPrototype: true,
      });
    case 'enum':
      return fc.constantFrom(...node.symbols!);
    default:
      return recordArbitrary(node.type);
  }
}

function primitive(type: string): fc.Arbitrary<unknown> {
  switch (type) {
    case 'string':
      return fc.string({ unit: 'binary', maxLength: 40 });
    case 'boolean':
      return fc.boolean();
    case 'int':
      return fc.integer();
    case 'long':
      return fc.integer({ min: 1 - 2 ** 52, max: Number.MAX_SAFE_INTEGER - 1 }); // What avsc carries exactly.
    case 'float':
      return fc.float();
    case 'double':
      return fc.double();
    default:
      throw new Error(`no values for the type ${type}`);
  }
}
