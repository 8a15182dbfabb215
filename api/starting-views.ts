// Starting views: the views of a process that is still starting. Until Kafka and the registry have answered, it is
// alive but not ready, and says what it waits for; then it hands over to the running views.
//
//   V1. Until `handOver` every question except those about health is answered NOT_READY; afterwards the given views
//       answer.

import { AppError } from '../schemas/errors.ts';
import type { Views } from './views.ts';

export interface StartingViews {
  readonly views: Views;
  handOver(views: Views): void;
}

export function startingViews(reasons: () => readonly string[], metricsText: () => Promise<string>): StartingViews {
  const health: Partial<Views> = {
    live: () => ({ live: true, reasons: [] }),
    ready: () => ({
      ...{ ready: false, reasons: ['starting', ...reasons()], restorePercent: 0 },
      ...{ waiting: [], lagRecords: -1, standing: [] },
    }),
    metricsText,
  };
  const notReady = async (): Promise<never> => {
    throw new AppError('NOT_READY', ['starting', ...reasons()].join('; '));
  };
  let views: Views | undefined;
  return {
    views: new Proxy({} as Views, {
      get: (_, name) => Reflect.get(views ?? health, name) ?? notReady, // V1
    }),
    handOver(running) {
      views = running;
    },
  };
}
