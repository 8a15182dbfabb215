// Foreshard as a part of a program of one's own: `foreshard run` with what an installation adds (examples/own-constraint.ts).

export { readConfig } from '../config/edge/env-config.ts';
export { createLogger } from '../runtime/edge/telemetry.ts';
export { type Foreshard, type StartOptions, start } from './main.ts';
