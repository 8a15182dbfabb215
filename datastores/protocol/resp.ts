// RESP: the protocol of Redis's clients, versions 2 and 3, as far as a server needs it: parses commands and writes
// replies. https://redis.io/docs/latest/develop/reference/protocol-spec/
//
//   Z1. `push` takes bytes in pieces of any size, and returns complete commands only. Malformed bytes are a problem;
//       nothing after them is read, since it is not known where a next command would begin.
//   Z2. The size of a command is limited before it is stored: number of words and number of bytes.
//   Z3. Replies are the same in both versions, except for maps and push messages, which version 2 does not have.

class RespError extends Error {}

export interface RespLimits {
  readonly wordsMax: number;
  /** Of one command. */
  readonly bytesMax: number;
}

const CR = 13;
const LF = 10;
const STAR = 42;
const DOLLAR = 36;
/** A command without lengths, as typed by a person. */
const INLINE_BYTES_MAX = 64 * 1024;
/** Digits of a length, with its sign and line end. */
const HEADER_BYTES_MAX = 32;

export class RespReader {
  readonly #limits: () => RespLimits;
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** With fewer bytes there is no complete command. */
  #needed = 1;

  /** `limits` is asked for each command: what came before it may have changed them. */
  constructor(limits: () => RespLimits) {
    this.#limits = limits;
  }

  /** Gives each command that is complete now to `take` (Z1). Returns what follows them that is not a command. */
  push(chunk: Buffer, take: (words: readonly Buffer[]) => void): string | undefined {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#needed) return undefined;
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#bytes);
    let at = 0;
    this.#needed = 1;
    while (at < bytes.length) {
      const words: Buffer[] = [];
      let end: number;
      try {
        end = bytes[at] === STAR ? this.#array(bytes, at, words) : this.#inline(bytes, at, words);
      } catch (error) {
        if (error instanceof RespError) return error.message;
        throw error;
      }
      if (end < 0) break;
      if (words.length > 0) take(words);
      at = end;
    }
    this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
    this.#bytes = bytes.length - at;
    return undefined;
  }

  /**
   * Adds the words of the command at `start` to `words`; returns the position of the next command, or -1 when bytes are
   * missing.
   */
  #array(bytes: Buffer, start: number, words: Buffer[]): number {
    let lineEnd = this.#lineEnd(bytes, start + 1);
    if (lineEnd < 0) return -1;
    const count = numberIn(bytes, start + 1, lineEnd, 'the number of words');
    const { wordsMax, bytesMax } = this.#limits();
    if (count > wordsMax) throw new RespError(`a command has at most ${wordsMax} words`);
    let at = lineEnd + 2;
    for (let i = 0; i < count; i++) {
      if (at >= bytes.length) return this.#wait(at - start + 1);
      if (bytes[at] !== DOLLAR) throw new RespError(`expected '$', got '${String.fromCharCode(bytes[at]!)}'`);
      lineEnd = this.#lineEnd(bytes, at + 1);
      if (lineEnd < 0) return -1;
      const length = numberIn(bytes, at + 1, lineEnd, 'the length of a word');
      const from = lineEnd + 2;
      if (from - start + length > bytesMax) throw new RespError(`a command has at most ${bytesMax} bytes`); // Z2
      at = from + length + 2;
      if (at > bytes.length) return this.#wait(at - start);
      if (bytes[at - 2] !== CR || bytes[at - 1] !== LF) throw new RespError('a word is not as long as it says');
      words.push(bytes.subarray(from, from + length));
    }
    return at;
  }

  #inline(bytes: Buffer, start: number, words: Buffer[]): number {
    const end = bytes.indexOf(LF, start);
    if ((end < 0 ? bytes.length : end) - start > INLINE_BYTES_MAX) throw new RespError('too big inline request');
    if (end < 0) return -1;
    for (const word of bytes.toString('utf8', start, end).trim().split(/\s+/)) if (word) words.push(Buffer.from(word));
    return end + 1;
  }

  #lineEnd(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(CR, from);
    if (end >= 0 && end + 1 < bytes.length && end - from <= HEADER_BYTES_MAX) {
      if (bytes[end + 1] !== LF) throw new RespError('a line does not end');
      return end;
    }
    if ((end < 0 ? bytes.length : end) - from > HEADER_BYTES_MAX) throw new RespError('a length is too long');
    return -1;
  }

  #wait(bytes: number): number {
    this.#needed = bytes;
    return -1;
  }
}

function numberIn(bytes: Buffer, from: number, to: number, what: string): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = bytes[i]! - 48;
    if (digit < 0 || digit > 9) throw new RespError(`${what} is no number`);
    value = 10 * value + digit;
  }
  if (to === from || value > Number.MAX_SAFE_INTEGER) throw new RespError(`${what} is no number`);
  return value;
}

/** A reply, or a part of one, as it is sent. */
export type Reply = string;

export const OK: Reply = '+OK\r\n';
export const simple = (text: string): Reply => `+${text}\r\n`;
export const integer = (value: number): Reply => `:${value}\r\n`;
export const bulk = (text: string): Reply => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
export const array = (items: readonly Reply[]): Reply => `*${items.length}\r\n${items.join('')}`;
/** `code` is one word in capitals. */
export const failure = (code: string, message: string): Reply => `-${code} ${message.replace(/[\r\n]+/g, ' ')}\r\n`;
export const nothing = (version: RespVersion): Reply => (version === 3 ? '_\r\n' : '$-1\r\n');
/** A map (Z3). */
export const map = (version: RespVersion, entries: readonly (readonly [Reply, Reply])[]): Reply =>
  version === 3 ? `%${entries.length}\r\n${entries.flat().join('')}` : array(entries.flat());
/** A push message (Z3); only in version 3. */
export const push = (items: readonly Reply[]): Reply => `>${items.length}\r\n${items.join('')}`;

export type RespVersion = 2 | 3;
