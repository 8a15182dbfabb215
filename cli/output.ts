// Output: what a command prints. On a terminal a bar with lines above it; elsewhere plain lines; with --json one value on
// standard output and nothing else.

import { MultiBar, type SingleBar } from 'cli-progress';

export interface OutputStreams {
  readonly out: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

export class Output {
  readonly isJson: boolean;
  readonly #out: OutputStreams['out'];
  #bars: MultiBar | undefined;
  #bar: SingleBar | undefined;

  constructor(isJson: boolean, streams: OutputStreams = { out: process.stdout }) {
    this.isJson = isJson;
    this.#out = streams.out;
  }

  /** A line for a person. */
  line(text: string): void {
    if (this.isJson) return;
    // Above a bar a line must not wrap, or the bar would be drawn over it.
    if (this.#bars !== undefined) this.#bars.log(`${shortened(text)}\n`);
    else this.#out.write(`${text}\n`);
  }

  lines(texts: readonly string[]): void {
    for (const text of texts) this.line(text);
  }

  /** The result for a program: the only thing printed with --json. */
  json(value: unknown): void {
    if (this.isJson) this.#out.write(`${JSON.stringify(value, undefined, 2)}\n`);
  }

  /** Begins a bar; nothing is drawn where there is no terminal. */
  begin(total: number, format: string, payload: Readonly<Record<string, string>>): void {
    if (this.isJson || this.#out.isTTY !== true) return;
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
  }

  end(): void {
    this.#bars?.stop();
    this.#bars = undefined;
    this.#bar = undefined;
  }
}

const shortened = (text: string): string => {
  const width = process.stdout.columns ?? 120;
  return text.length < width ? text : `${text.slice(0, width - 2)}…`;
};
