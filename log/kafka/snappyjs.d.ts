declare module 'snappyjs' {
  /** Throws when the bytes are no snappy, or say that they are more than `bytesMax`. */
  function uncompress(compressed: Buffer, bytesMax: number): Buffer;
  const snappy: { uncompress: typeof uncompress };
  export default snappy;
}
