// The host's clock, as the Clock port.

import type { Clock } from '../ports.ts';

export function systemClock(): Clock {
  return {
    now: () => Date.now(),
    every(ms, tick) {
      const timer = setInterval(tick, ms);
      timer.unref();
      return () => clearInterval(timer);
    },
    sleep: (ms) =>
      new Promise((resolve) => {
        setTimeout(resolve, ms).unref();
      }),
  };
}
