// Inline fitter: fits models in the calling thread, as `workerThreads: 0` asks for, and in simulated time, where the same
// seed must give the same day.

import { fitModels } from '../processors/forecast/fits.ts';
import type { Fitter } from './ports.ts';

export const inlineFitter: Fitter = {
  pending: 0,
  fit: async (request) => fitModels(request),
  close: async () => {},
};
