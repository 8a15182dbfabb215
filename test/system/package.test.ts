// The package as whoever installs it has it: packed, installed in an empty folder, compiled against its types, and run
// beside a real Kafka, registry and shard server.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { AMPLE_TYPES } from '../support/counted-fleet.ts';
import { Deployment, startServices } from '../support/deployment.ts';
import { runProcess } from '../support/processes.ts';
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
  'a broker in a project of its own compiles against the package, joins, and is told where a PUBLISH goes',
  async () => {
    const starting = Deployment.start(services!, {
      app: 'package',
      settings: { partitions: 4, concreteType: 'kv', trieType: 'trie' },
      catalog: { types: AMPLE_TYPES },
    });
    const [folder, deployment] = await Promise.all([project(), starting]);
    onTestFinished(() => deployment.stop());
    await (await deployment.instance('one')).ready();

    copyFileSync(join(EXAMPLES, 'broker.ts'), join(folder, 'broker.ts'));
    await runProcess(NODE, [join(folder, 'node_modules/typescript/bin/tsc'), '-p', folder]);
    const output = await runProcess(NODE, [
      ...[join(folder, 'out/broker.js'), '--kafka', services!.kafka.brokers.join(',')],
      ...['--registry', services!.registry.url, '--prefix', deployment.config.topicPrefix],
      ...['--shard-servers', deployment.config.shardServers.join(',')],
    ]);
    expect(output).toContain('A PUBLISH to home/kitchen/t goes to broker-1.');
  },
);
