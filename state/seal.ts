// Seal: a checksum for bytes that are stored on a disk, so that a flipped bit or a value under a wrong key is noticed.
//
//   E1. `unseal` returns exactly what was sealed under the same key, or `undefined`.

/** CRC-32 of `data`, continuing from `seed`. An edge passes Node's own. */
export type Checksum = (data: Buffer, seed?: number) => number;

const SEAL_BYTES = 4;

export function seal(checksum: Checksum, key: Buffer, value: Buffer): Buffer {
  const sealed = Buffer.allocUnsafe(SEAL_BYTES + value.length);
  value.copy(sealed, SEAL_BYTES);
  sealInPlace(checksum, key, sealed);
  return sealed;
}

/** Fills the first four bytes of `sealed`, which the caller left free. */
export function sealInPlace(checksum: Checksum, key: Buffer, sealed: Buffer): void {
  sealed.writeUInt32LE(checksum(sealed.subarray(SEAL_BYTES), checksum(key)), 0);
}

export function unseal(checksum: Checksum, key: Buffer, sealed: Buffer): Buffer | undefined {
  if (sealed.length < SEAL_BYTES) return undefined;
  const value = sealed.subarray(SEAL_BYTES);
  return checksum(value, checksum(key)) === sealed.readUInt32LE(0) ? value : undefined;
}
