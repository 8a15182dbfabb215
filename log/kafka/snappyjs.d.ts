declare module 'snappyjs' {
  /** Throws when the bytes are not snappy, or declare more than `bytesMax`. */
  function uncompress(compressed: Buffer, bytesMax: number): Buffer;
  const snappy: { uncompress: typeof uncompress };
  export default snappy;
}
