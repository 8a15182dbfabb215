// UTF-8: compares texts by their UTF-8 bytes, the order in which stores and logs keep their keys.

/** Compares two texts by their UTF-8 bytes without encoding them. */
export function compareUtf8(a: string, b: string): number {
  return compareUtf8Parts(a, 0, a.length, b, 0, b.length);
}

/** `compareUtf8` of a[aFrom, aTo) and b[bFrom, bTo). */
export function compareUtf8Parts(a: string, aFrom: number, aTo: number, b: string, bFrom: number, bTo: number): number {
  const length = Math.min(aTo - aFrom, bTo - bFrom);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(aFrom + i);
    const right = b.charCodeAt(bFrom + i);
    if (left !== right) return codePointRank(left) - codePointRank(right);
  }
  return aTo - aFrom - (bTo - bFrom);
}

/** UTF-16 orders surrogates (code points above U+FFFF) below U+E000..U+FFFF; UTF-8 orders them above. */
function codePointRank(code: number): number {
  return code < 0xd800 || code > 0xdfff ? code : code + 0x2800;
}
