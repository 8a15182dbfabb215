// Layout: which part of a flat array of numbers lies where. Parts lie one after the other, in the order in which they
// are named; their offsets follow from the sizes, and no other code computes an offset. Such arrays are stored as they
// are, so the order and the sizes are part of the stored format.

export interface Layout<Part extends string> {
  /** Length of the array. */
  readonly size: number;
  /** Where each part begins. */
  readonly at: Readonly<Record<Part, number>>;
  /** A view of one part of such an array: what is written to the view is written to the array. */
  view(array: Float32Array, part: Part): Float32Array;
}

/** The parts by name, and how many numbers each has. */
export function layoutOf<Part extends string>(sizes: Readonly<Record<Part, number>>): Layout<Part> {
  const at = {} as Record<Part, number>;
  let size = 0;
  for (const part of Object.keys(sizes) as Part[]) {
    at[part] = size;
    size += sizes[part];
  }
  return { size, at, view: (array, part) => array.subarray(at[part], at[part] + sizes[part]) };
}
