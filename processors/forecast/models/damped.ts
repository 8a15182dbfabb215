// What is left of a slope and of a level after some steps, when each step keeps the same share of it. Powers are slow, and
// every series asks for the same ones: a function that is kept works each out once.

export type OfSteps = (steps: number) => number;

/** How far a slope of 1 has gone after `steps` when it keeps `damping` of itself with each: d + d^2 + ... */
export const travelOf = (damping: number): OfSteps =>
  remembered((steps) => (damping * (1 - damping ** steps)) / (1 - damping));

/** The share that is left after whole steps of what halves every `halfLife` steps. */
export const fadingOf = (halfLife: number): OfSteps => remembered((steps) => 0.5 ** (steps / halfLife));

function remembered(of: OfSteps): OfSteps {
  const known: number[] = [];
  return (steps) => {
    while (known.length <= steps) known.push(of(known.length));
    return known[steps]!;
  };
}
