// Serial: runs asynchronous work one piece at a time, in the order in which it was requested. A store reads versions,
// compares and writes; two such writes at the same time could both pass the comparison.

export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  /** The work starts when all earlier work has ended, with or without success. */
  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work, work);
    this.#last = result.then(ignore, ignore);
    return result;
  }

  /** Resolves when everything requested so far has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

function ignore(): void {}
