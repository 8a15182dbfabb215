// Level batch: writes many operations to a LevelDB together. As a chained batch: abstract-level copies each operation of an
// array, which costs several times as much as LevelDB's own part of the work.

export type LevelOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer };

/** What is needed of a `Level`. */
interface Batching {
  batch(): {
    put(key: Buffer, value: Buffer): unknown;
    del(key: Buffer): unknown;
    write(options: { readonly sync: boolean }): Promise<void>;
    close(): Promise<void>;
  };
}

/** All of them, or none, after a crash too. The last of a key counts. */
export async function writeLevel(
  db: Batching,
  operations: Iterable<LevelOperation>,
  options: { readonly sync: boolean },
): Promise<void> {
  const batch = db.batch();
  try {
    for (const each of operations) {
      if (each.type === 'put') batch.put(each.key, each.value);
      else batch.del(each.key);
    }
  } catch (error) {
    await batch.close();
    throw error;
  }
  await batch.write(options);
}
