// Watched: long work as a generator, in one thread: between its steps the terminal gets its turn, for the bar and for Ctrl-C.

/** What the generator returns; of every `every`th step `at` is told, and then there is a pause. */
export async function watch<Step, Result>(
  work: Generator<Step, Result>,
  at: (step: Step) => void,
  every = 1,
): Promise<Result> {
  for (let count = 0; ; count++) {
    const next = work.next();
    if (next.done === true) return next.value;
    if (count % every !== 0) continue;
    at(next.value);
    await pause();
  }
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
