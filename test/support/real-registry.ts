// Real registry: an Apicurio schema registry that keeps its schemas in memory, for system tests. Looked for like Kafka:
// SCHEMA_REGISTRY_URL in the environment, else a JDK with Maven; where there is none the caller skips and says so.

import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CACHE_FOLDER } from './kafka-jars.ts';
import { endProcess, freePort, hasCommand, runProcess, startProcess, untilReady } from './processes.ts';
import { unavailable } from './real-kafka.ts';

/** The last line that runs on Java 17. */
export const APICURIO_VERSION = '3.0.9';
const START_PATIENCE_MS = 90_000;

export interface RealRegistry {
  /** Where the Confluent API answers, path included. */
  readonly url: string;
  stop(): Promise<void>;
}

export async function startRegistry(): Promise<RealRegistry | undefined> {
  const given = process.env.SCHEMA_REGISTRY_URL;
  if (given !== undefined && given !== '') return { url: given, stop: async () => {} };
  if (!(await hasCommand('java', '-version')) || !(await hasCommand('mvn', '-version')))
    return unavailable('no SCHEMA_REGISTRY_URL, no JDK with Maven');
  const app = await registryFolder();
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-registry-'));
  const port = await freePort();
  const jar = (await readdir(app)).find((name) => name.endsWith('-runner.jar'));
  if (jar === undefined) throw new Error(`no runner jar in ${app}: remove that folder and run again`);
  const child = startProcess('java', ['-Xmx384m', '-XX:+UseSerialGC', '-jar', join(app, jar)], {
    logPath: join(folder, 'registry.log'),
    cwd: app,
    env: { QUARKUS_HTTP_PORT: String(port), QUARKUS_HTTP_HOST: '127.0.0.1' },
  });
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  await untilReady(
    'the schema registry',
    async () => {
      const answer = await fetch(`${url}/subjects`);
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    },
    START_PATIENCE_MS,
    child,
  );
  return {
    url,
    async stop() {
      await endProcess(child, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function registryFolder(): Promise<string> {
  const given = process.env.FORESHARD_REGISTRY_APP;
  if (given !== undefined) return given;
  const folder = join(CACHE_FOLDER, `apicurio-${APICURIO_VERSION}`);
  if (existsSync(folder)) return folder;
  await mkdir(CACHE_FOLDER, { recursive: true });
  const artifact = `io.apicurio:apicurio-registry-app:${APICURIO_VERSION}:tar.gz:all`;
  await runProcess('mvn', ['-q', 'dependency:get', `-Dartifact=${artifact}`, '-Dtransitive=false']);
  const archive = join(
    process.env.FORESHARD_MAVEN_REPOSITORY ?? join(homedir(), '.m2/repository'),
    `io/apicurio/apicurio-registry-app/${APICURIO_VERSION}/apicurio-registry-app-${APICURIO_VERSION}-all.tar.gz`,
  );
  const work = await mkdtemp(join(CACHE_FOLDER, 'download-'));
  await runProcess('tar', ['-xzf', archive, '-C', work]);
  // Another run may have finished first; what it unpacked is the same.
  await rename(work, folder).catch(() => rm(work, { recursive: true, force: true }));
  return folder;
}
