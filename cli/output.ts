// Output: what a command prints. On a terminal: a progress bar with lines above it. Elsewhere: plain lines, and
// progress in tenths on standard error. With --json: one value on standard output and nothing else.

import { MultiBar, type SingleBar } from 'cli-progress';

export interface OutputStreams {
  readonly out: NodeJS.WritableStream & { readonly isTTY?: boolean };
  /** Where progress is written when there is no terminal; absent: nowhere. */
  readonly err?: NodeJS.WritableStream;
}

/** Progress in tenths, where there is no terminal to draw a bar on. */
interface Tenths {
  readonly total: number;
  readonly format: string;
  said: number;
}

export class Output {
  readonly isJson: boolean;
  readonly #out: OutputStreams['out'];
  readonly #err: OutputStreams['err'];
  #tenths: Tenths | undefined;
  #bars: MultiBar | undefined;
  #bar: SingleBar | undefined;

  constructor(isJson: boolean, streams: OutputStreams = { out: process.stdout, err: process.stderr }) {
    this.isJson = isJson;
    this.#out = streams.out;
    this.#err = streams.err;
  }

  /** Prints a line for people; nothing with --json. */
  line(text: string): void {
    if (this.isJson) return;
    // Above a bar a line must not wrap, or the bar would be drawn over it.
    if (this.#bars !== undefined) this.#bars.log(`${shortened(text)}\n`);
    else this.#out.write(`${text}\n`);
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** Prints the result for programs: the only output with --json. */
  json(value: unknown): void {
    if (this.isJson) this.#out.write(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Starts a bar, or, without a terminal, a line for each tenth. */
  begin(total: number, format: string, payload: Readonly<Record<string, string>>): void {
    if (this.isJson) return;
    if (this.#out.isTTY !== true) {
      this.#tenths = { total, format: format.replace(/^\{bar\} /, ''), said: 0 };
      return;
    }
    this.#bars = new MultiBar({
      format,
      stream: this.#out,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      hideCursor: true,
      clearOnComplete: true,
      stopOnComplete: false,
      forceRedraw: true,
      fps: 10,
    });
    this.#bar = this.#bars.create(total, 0, payload);
  }

  progress(done: number, payload: Readonly<Record<string, string>>): void {
    this.#bar?.update(done, payload);
    if (this.#tenths !== undefined) this.#sayTenth(this.#tenths, done, payload);
  }

  end(): void {
    this.#tenths = undefined;
    this.#bars?.stop();
    this.#bars = undefined;
    this.#bar = undefined;
  }

  #sayTenth(tenths: Tenths, done: number, payload: Readonly<Record<string, string>>): void {
    const { total, format, said } = tenths;
    const tenth = Math.floor((10 * done) / total);
    if (tenth <= said || tenth >= 10) return; // At the end the result is printed.
    tenths.said = tenth;
    const values: Readonly<Record<string, string>> = { percentage: String(10 * tenth), ...payload };
    this.#err?.write(`${format.replace(/\{(\w+)\}/g, (name, key: string) => values[key] ?? name)}\n`);
  }
}

const shortened = (text: string): string => {
  const width = process.stdout.columns ?? 120;
  return text.length < width ? text : `${text.slice(0, width - 2)}…`;
};
