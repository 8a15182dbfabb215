// How much of a slope and of a level is left after some steps, when each step keeps the same share. Powers are slow,
// and every series asks for the same ones: the functions made here compute each once.

export type OfSteps = (steps: number) => number;

/** The sum that a slope of 1 adds up to over `steps` when each step keeps `damping` of it: d + d^2 + ... */
export const travelOf = (damping: number): OfSteps =>
  remembered((steps) => (damping * (1 - damping ** steps)) / (1 - damping));

/** The share that is left after a number of steps when half is left after `halfLife` steps. */
export const fadingOf = (halfLife: number): OfSteps => remembered((steps) => 0.5 ** (steps / halfLife));

function remembered(of: OfSteps): OfSteps {
  const known: number[] = [];
  return (steps) => {
    while (known.length <= steps) known.push(of(known.length));
    return known[steps]!;
  };
}
