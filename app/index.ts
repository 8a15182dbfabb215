// Foreshard as part of another program: `foreshard run` with an installation's own constraints or models
// (examples/own-constraint.ts).

export { readConfig } from '../config/edge/env-config.ts';
export { createLogger } from '../runtime/edge/telemetry.ts';
export { type Foreshard, type StartOptions, start } from './main.ts';
