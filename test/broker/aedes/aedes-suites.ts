// Aedes's own suites, from its packages, over a real fleet; run by `node --test`, since that is what they are written for.
//     AEDES_SUITE=persistence|emitter AEDES_FLEET='embedded'|'over a shard server'

import { createRequire } from 'node:module';
import { after, test } from 'node:test';
import { emitter, persistence } from '../../../broker/aedes/index.ts';
import { embeddedFleet, type Where } from '../../support/embedded-fleet.ts';

const require = createRequire(import.meta.url);
const alive = setInterval(() => {}, 1_000); // Nothing of a fleet keeps a process from ending.
const fleet = await embeddedFleet(process.env.AEDES_FLEET as Where);
const client = await fleet.join('broker-42');
after(async () => {
  clearInterval(alive);
  await client.close();
  await fleet.close();
});

if (process.env.AEDES_SUITE === 'persistence')
  require('aedes-persistence/abstract.js')({
    test,
    testAsync: true,
    persistence: () => persistence(client),
    buildEmitter: () => emitter(client),
  });
else require('mqemitter/abstractTest.js')({ test, builder: (options: object) => emitter(client, options) });
