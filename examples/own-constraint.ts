// A constraint of one's own: no moves between two hours of the day, for example while backups run. A constraint is a
// pure function: it gets the cluster as it would be, and one action, and returns why the action is refused, or nothing.
// Its answer becomes a decision record that people read with `foreshard explain`, so it says what, why and until when.
//
// It is used beside the planner's own constraints, the cheapest first, in a program that runs Foreshard:
//
//   import { CONSTRAINTS } from 'foreshard/constraint';
//   import { createLogger, readConfig, start } from 'foreshard/run';
//   const { config } = readConfig({ environment: process.env });
//   const logger = createLogger({ level: config.logLevel, pretty: config.logPretty });
//   await start(config, { logger, constraints: [...CONSTRAINTS, noMovesBetween(22, 2)] });

import { type Constraint, refusal } from 'foreshard/constraint';

const HOUR_MS = 3_600_000;

/** Hours of the day in UTC, 0 to 24; from 22 to 2 is four hours around midnight. */
export function noMovesBetween(fromHour: number, toHour: number): Constraint {
  return (cluster, action) => {
    if (action.kind !== 'MOVE') return undefined; // Shards may still be allocated, which disturbs nobody.
    const hour = (cluster.snapshot.now / HOUR_MS) % 24; // Event time: a constraint never reads a clock, so that a replay gives the same result.
    const isWithin = fromHour < toHour ? hour >= fromHour && hour < toHour : hour >= fromHour || hour < toHour;
    if (!isWithin) return undefined;
    const refused = refusal(action, 'own-maintenance', `From ${fromHour}:00 to ${toHour}:00 UTC nothing is moved.`);
    return { ...refused, later: true }; // The action is right and only has to wait, so nothing dearer is tried instead.
  };
}
