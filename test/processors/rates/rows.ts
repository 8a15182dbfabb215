import type { Rows } from '../../../processors/step.ts';

/** Rows in a Map, for tests of one step. */
export function rowsOf<Row>(): Rows<Row> {
  const map = new Map<string, Row>();
  return {
    get: (key) => map.get(key),
    set: (key, row) => void map.set(key, row),
    delete: (key) => void map.delete(key),
    entries: () => map.entries(),
    get size() {
      return map.size;
    },
  };
}
