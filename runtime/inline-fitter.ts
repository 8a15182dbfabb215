// Inline fitter: fits models in the calling thread: for `workerThreads: 0`, and for simulated time, where the same
// seed must give the same result.

import { fitModels } from '../processors/forecast/fits.ts';
import type { Fitter } from './ports.ts';

export const inlineFitter: Fitter = {
  pending: 0,
  fit: async (request) => fitModels(request),
  close: async () => {},
};
