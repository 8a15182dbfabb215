// The thread that fits models: one request in, one result out.

import { parentPort } from 'node:worker_threads';
import { type FitRequest, fitModels } from '../../processors/forecast/fits.ts';

parentPort?.on('message', (request: FitRequest) => parentPort?.postMessage(fitModels(request)));
