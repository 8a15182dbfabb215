// What is left of a slope and of a level after some steps, when each step keeps the same share of it. Powers are slow, and
// every series asks for the same ones.

/** How far a slope of 1 has gone after `ahead` steps when it keeps `damping` of itself with each: d + d^2 + ... */
export const travelOf = (damping: number): ((ahead: number) => number) =>
  remembered((ahead) => (damping * (1 - damping ** ahead)) / (1 - damping));

/** `of` whole steps, each worked out once. */
function remembered(of: (steps: number) => number): (steps: number) => number {
  const known: number[] = [];
  return (steps) => {
    while (known.length <= steps) known.push(of(known.length));
    return known[steps]!;
  };
}
