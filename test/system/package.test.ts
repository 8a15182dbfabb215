// The package as whoever installs it has it: packed, installed in an empty folder, compiled against its types, and run
// beside a real Kafka, registry and shard server. Then Kafka is killed, and the broker after it.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { subscriptions } from '../../topology/topics.ts';
import { AMPLE_TYPES } from '../support/counted-fleet.ts';
import { Deployment, startServices, until } from '../support/deployment.ts';
import { endProcess, runProcess, startProcess } from '../support/processes.ts';
import { EXAMPLES } from '../support/python.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ROOT = join(import.meta.dirname, '../..');
const OWN = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly devDependencies: Readonly<Record<string, string>>;
};
const NODE = process.execPath;
const COMPILER_OPTIONS = {
  ...{ target: 'ES2023', module: 'nodenext', moduleResolution: 'nodenext', types: ['node'] },
  ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, outDir: 'out' },
};

const TOKENS = { admin: 'may do everything', read: 'may look up' };

/** A broker that subscribes without end where it is told to; says what was confirmed, and ends when nothing waits. */
const REPORTER = `
import { connect } from 'foreshard/broker';
const [brokers, url, topicPrefix, folder, mode] = process.argv.slice(2);
const broker = await connect({
  kafka: { brokers: brokers.split(','), topicPrefix }, registry: { url }, brokerId: 'reporter', outbox: { folder },
});
const pause = () => new Promise((resolve) => setTimeout(resolve, 5));
if (mode === 'subscribe')
  for (let i = 0; ; i++) {
    await broker.events.subscribe(\`reported/\${i}\`, 'c', 0);
    process.stdout.write(\`\${i} \${broker.events.trouble ?? 'well'}\\n\`);
    await pause();
  }
while (broker.events.queued > 0) await pause();
await broker.close();
`;

const services = await startServices();
afterAll(() => services?.stop());

/** An empty project that has installed the package, and a compiler. */
async function project(): Promise<string> {
  const temp = await tempFolder();
  onTestFinished(() => temp.remove());
  const packed = await runProcess('npm', ['pack', '--silent', '--pack-destination', temp.path], ROOT);
  const folder = join(temp.path, 'project');
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module', private: true }));
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['*.ts'] }),
  );
  const others = ['typescript', '@types/node'].map((name) => `${name}@${OWN.devDependencies[name]}`);
  const tarball = join(temp.path, packed.trim().split('\n').at(-1)!);
  await runProcess('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball, ...others], folder);
  return folder;
}

test.skipIf(services === undefined)(
  'a broker in a project of its own compiles against the package, joins, is told where a PUBLISH goes, and loses nothing',
  async () => {
    const { kafka, registry } = services!;
    const starting = Deployment.start(services!, {
      app: 'package',
      settings: { partitions: 4, concreteType: 'kv', trieType: 'trie' },
      catalog: { types: AMPLE_TYPES },
      tokens: TOKENS,
    });
    const [folder, deployment] = await Promise.all([project(), starting]);
    onTestFinished(() => deployment.stop());
    await (await deployment.instance('one')).ready();
    const { topicPrefix, shardServers } = deployment.config;

    copyFileSync(join(EXAMPLES, 'broker.ts'), join(folder, 'broker.ts'));
    await runProcess(NODE, [join(folder, 'node_modules/typescript/bin/tsc'), '-p', folder]);
    const output = await runProcess(NODE, [
      ...[join(folder, 'out/broker.js'), '--kafka', kafka.brokers.join(','), '--registry', registry.url],
      ...['--prefix', topicPrefix, '--shard-servers', shardServers.join(','), '--token', TOKENS.read],
      ...['--outbox', join(folder, 'outbox-1')],
    ]);
    expect(output).toContain('A PUBLISH to home/kitchen/t goes to broker-1.');

    // Kafka goes away, and the broker is killed meanwhile.
    if (kafka.origin === 'given') return;
    writeFileSync(join(folder, 'reporter.js'), REPORTER);
    const logPath = join(folder, 'reporter.log');
    writeFileSync(logPath, '');
    const where = [kafka.brokers.join(','), registry.url, topicPrefix, join(folder, 'outbox-2')];
    const reporter = startProcess(NODE, [join(folder, 'reporter.js'), ...where, 'subscribe'], { logPath });
    const confirmed = (): string[] => readFileSync(logPath, 'utf8').split('\n').slice(0, -1);
    await until('it subscribes', () => confirmed().length > 10);
    await kafka.kill9();
    const before = confirmed().length;
    await until('it subscribes without Kafka', () => confirmed().length > before + 30);
    await endProcess(reporter, 'SIGKILL');
    const told = confirmed().map((line) => `reported/${line.split(' ')[0]}`);
    await kafka.restart();
    await runProcess(NODE, [join(folder, 'reporter.js'), ...where, 'send']);

    const seen = new Set<string>();
    await deployment.observe<SubscriptionEvent>(subscriptions, (_event, key) => seen.add(key));
    await until('every confirmed event is in Kafka', () => told.every((filter) => seen.has(filter)));
  },
);
