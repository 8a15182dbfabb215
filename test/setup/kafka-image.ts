// Makes an image of Kafka from Maven's jars: `tsx test/setup/kafka-image.ts IMAGE`.

import { join } from 'node:path';
import { kafkaJars } from '../support/kafka-jars.ts';
import { runProcess } from '../support/processes.ts';

const startedAt = performance.now();
const image = process.argv[2]!;
await runProcess('bash', [join(import.meta.dirname, 'kafka-image.sh'), await kafkaJars(), image]);
process.stdout.write(`made ${image} in ${Math.round((performance.now() - startedAt) / 1_000)} s\n`);
