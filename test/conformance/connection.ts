// A connection that conformance is checked over: it sends bytes as they are, and reads any reply of RESP 2 or 3.

import { connect, type Socket } from 'node:net';

/** An error reply. */
export class Refused {
  readonly code: string;
  readonly message: string;

  constructor(text: string) {
    const space = text.indexOf(' ');
    this.code = space < 0 ? text : text.slice(0, space);
    this.message = space < 0 ? '' : text.slice(space + 1);
  }
}

export type Value = string | number | null | Refused | Map<Value, Value> | readonly Value[];

/** What a server sent: a reply, or a push of its own accord. */
export interface Sent {
  readonly isPush: boolean;
  readonly value: Value;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** How long a reply may take. */
const ANSWER_MS = 5_000;

export class Connection {
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #sent: Sent[] = [];
  #isClosed = false;
  /** Why nothing more can be read: the server sent what is no reply. */
  #broken: unknown;
  #changed = (): void => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      try {
        this.#read();
      } catch (error) {
        this.#broken ??= error;
      }
      this.#changed();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      this.#changed();
    });
  }

  static async open({ host, port }: Address): Promise<Connection> {
    const socket = connect(port, host);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    socket.setNoDelay(true);
    return new Connection(socket);
  }

  send(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** What comes next. Throws when nothing does in time, or the connection has been closed. */
  async next(): Promise<Sent> {
    const deadline = Date.now() + ANSWER_MS;
    for (;;) {
      const sent = this.#sent.shift();
      if (sent !== undefined) return sent;
      if (this.#broken !== undefined) throw this.#broken;
      if (this.#isClosed) throw new Error('the server closed the connection');
      if (!(await this.#change(deadline - Date.now()))) throw new Error(`no reply within ${ANSWER_MS} ms`);
    }
  }

  /** The reply to one command. Pushes before it are kept for `pushes`. */
  async ask(...words: readonly string[]): Promise<Value> {
    this.send(commandOf(words));
    return this.reply();
  }

  async reply(): Promise<Value> {
    for (;;) {
      const sent = await this.next();
      if (!sent.isPush) return sent.value;
      this.pushes.push(sent.value);
    }
  }

  readonly pushes: Value[] = [];

  /** Throws when the server does not close the connection in time. */
  async closed(): Promise<void> {
    const deadline = Date.now() + ANSWER_MS;
    while (!this.#isClosed)
      if (!(await this.#change(deadline - Date.now()))) throw new Error('the server does not close the connection');
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(): void {
    if (this.#broken !== undefined) return;
    for (let end = 0; ; ) {
      const parser = new Parser(this.#bytes, end);
      const found = parser.sent();
      if (found === undefined) {
        this.#bytes = this.#bytes.subarray(end);
        return;
      }
      end = parser.at;
      this.#sent.push(found);
    }
  }

  #change(withinMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), Math.max(0, withinMs));
      this.#changed = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }
}

export function commandOf(words: readonly string[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)];
  for (const word of words) {
    const bytes = Buffer.from(word);
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

class Incomplete extends Error {}

class Parser {
  readonly #bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** `undefined` while it is not all there. Throws when the bytes are no RESP. */
  sent(): Sent | undefined {
    try {
      const isPush = this.#bytes[this.at] === '>'.charCodeAt(0);
      return { isPush, value: this.#value() };
    } catch (error) {
      if (error instanceof Incomplete) return undefined;
      throw error;
    }
  }

  #value(): Value {
    const line = this.#line();
    const [mark, rest] = [line[0], line.slice(1)];
    switch (mark) {
      case '+':
        return rest;
      case '-':
        return new Refused(rest);
      case ':':
        return Number(rest);
      case '_':
        return null;
      case '$':
        return rest === '-1' ? null : this.#text(Number(rest));
      case '*':
      case '>':
        return rest === '-1' ? null : this.#list(Number(rest));
      case '%': {
        const items = this.#list(2 * Number(rest));
        return new Map(Array.from({ length: items.length / 2 }, (_, i) => [items[2 * i]!, items[2 * i + 1]!]));
      }
      default:
        throw new Error(`a reply begins with ${JSON.stringify(line.slice(0, 20))}`);
    }
  }

  #list(length: number): Value[] {
    const items: Value[] = [];
    for (let i = 0; i < length; i++) items.push(this.#value());
    return items;
  }

  #text(length: number): string {
    const end = this.at + length;
    if (end + 2 > this.#bytes.length) throw new Incomplete();
    const text = this.#bytes.toString('utf8', this.at, end);
    if (this.#bytes[end] !== 13 || this.#bytes[end + 1] !== 10) throw new Error('a text is not as long as it says');
    this.at = end + 2;
    return text;
  }

  #line(): string {
    const end = this.#bytes.indexOf('\r\n', this.at);
    if (end < 0) throw new Incomplete();
    const line = this.#bytes.toString('utf8', this.at, end);
    this.at = end + 2;
    return line;
  }
}
