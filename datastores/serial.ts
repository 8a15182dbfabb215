// Serial: runs asynchronous work one piece at a time, in the order it was asked for. A store reads versions, decides and
// writes; two such writes side by side could both pass the check.

export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  /** The work starts when all earlier work has ended, well or badly. */
  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work, work);
    this.#last = result.then(ignore, ignore);
    return result;
  }

  /** Resolves when everything asked for so far has ended. */
  async idle(): Promise<void> {
    await this.#last;
  }
}

function ignore(): void {}
