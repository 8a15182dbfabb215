// Writes schemas/records.ts from the .avsc files: one TypeScript type for each record and enum, and the schemas as a
// constant, so that nothing reads files at run time. `npm run generate` writes; with `--check` it fails when the file on
// disk differs.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCHEMAS_DIR = join(dirname(fileURLToPath(import.meta.url)), '..');
const OUTPUT = join(SCHEMAS_DIR, 'records.ts');

interface Field {
  readonly name: string;
  readonly type: Schema;
  readonly doc?: string;
  readonly brand?: string;
  /** Whoever writes the record may leave it out; whoever reads it finds the default. */
  readonly optional?: boolean;
}
interface Named {
  readonly type: string;
  readonly name?: string;
  readonly doc?: string;
  readonly fields?: readonly Field[];
  readonly symbols?: readonly string[];
  readonly items?: Schema;
  readonly values?: Schema;
  readonly logicalType?: string;
  readonly brand?: string;
}
type Schema = string | Named | readonly Schema[];

/** The text of records.ts for these schemas. Same schemas, same text. */
export function recordsSource(schemas: ReadonlyMap<string, Named>): string {
  const types = new Map<string, string>();
  const brands = new Set<string>();
  for (const schema of schemas.values()) declare(schema, false, types, brands);
  const constants = [...schemas].map(([name, schema]) => `  ${name}: ${JSON.stringify(schema)},`);
  return [
    '// Generated from schemas/*.avsc by `npm run generate`. Do not edit.',
    '',
    `import type { ${[...brands].sort().join(', ')} } from './ids.ts';`,
    '',
    ...[...types.values()],
    '/** The Avro schema of each record that is a topic’s value. */',
    'export const SCHEMAS = {',
    ...constants,
    '} as const;',
    '',
    'export type RecordName = keyof typeof SCHEMAS;',
    '',
  ].join('\n');
}

/** Adds the declaration of a named type and of all it contains; returns its TypeScript expression. */
function declare(schema: Schema, tagged: boolean, types: Map<string, string>, brands: Set<string>): string {
  if (Array.isArray(schema)) return schema.map((member) => declare(member, true, types, brands)).join(' | ');
  if (typeof schema === 'string') return primitive(schema);
  const named = schema as Named;
  if (named.type === 'array') return `readonly (${declare(named.items!, false, types, brands)})[]`;
  if (named.type === 'map') return `Readonly<Record<string, ${declare(named.values!, false, types, brands)}>>`;
  if (named.type === 'enum') {
    const symbols = named.symbols!.map((symbol) => `'${symbol}'`).join(' | ');
    types.set(named.name!, `export type ${named.name} = ${symbols};\n`);
    return named.name!;
  }
  if (named.type === 'record') {
    const fields = named.fields!.map((field) => {
      const type = field.brand ? branded(field.brand, brands) : declare(field.type, false, types, brands);
      const member = field.optional ? `${field.name}?: ${type} | undefined` : `${field.name}: ${type}`;
      return `${field.doc ? `  /** ${field.doc} */\n` : ''}  readonly ${member};`;
    });
    const tag = tagged ? [`  readonly kind: '${named.name}';`] : [];
    const doc = named.doc ? `/** ${named.doc} */\n` : '';
    types.set(named.name!, `${doc}export interface ${named.name} {\n${[...tag, ...fields].join('\n')}\n}\n`);
    return named.name!;
  }
  if (named.brand) return branded(named.brand, brands);
  if (named.logicalType === 'timestamp-millis') return branded('EventTime', brands);
  return primitive(named.type);
}

function branded(brand: string, brands: Set<string>): string {
  brands.add(brand);
  return brand;
}

function primitive(type: string): string {
  if (type === 'string' || type === 'boolean' || type === 'null') return type;
  if (type === 'bytes') return 'Buffer';
  return 'number';
}

function readSchemas(): Map<string, Named> {
  const schemas = new Map<string, Named>();
  for (const file of readdirSync(SCHEMAS_DIR).sort()) {
    if (!file.endsWith('.avsc')) continue;
    const schema = JSON.parse(readFileSync(join(SCHEMAS_DIR, file), 'utf8')) as Named;
    schemas.set(schema.name!, schema);
  }
  return schemas;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const source = recordsSource(readSchemas());
  if (process.argv.includes('--check')) {
    if (readFileSync(OUTPUT, 'utf8') !== source) {
      console.error('schemas/records.ts differs from schemas/*.avsc: run `npm run generate` and commit the result');
      process.exitCode = 1;
    }
  } else {
    writeFileSync(OUTPUT, source);
  }
}
