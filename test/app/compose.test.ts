// docker-compose.yml held to what it is for: settings that the configuration knows and accepts, addresses that some
// service listens on, and services that wait for each other's health.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readConfig } from '../../config/edge/env-config.ts';
import { KAFKA_VERSION } from '../support/kafka-jars.ts';
import { APICURIO_VERSION } from '../support/real-registry.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly user?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
}

const compose = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const services = Object.entries(compose.services);
const ours = services.filter(([, service]) => service.build !== undefined);
const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');

/** What a person would put into `.env`. */
const TOKENS = {
  FORESHARD_HTTP_READ_TOKEN: 'read-token-of-the-test',
  FORESHARD_HTTP_ADMIN_TOKEN: 'admin-token-of-the-test',
  FORESHARD_SHARD_SERVER_TOKEN: 'shard-token-of-the-test',
};

/** Fills in `${NAME:?why}` and `${NAME:-default}` as compose does, and throws as it does. */
function filledIn(text: string, given: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)(?::([?-])([^}]*))?\}/g, (_, name: string, kind: string | undefined, rest: string) => {
    const value = given[name] ?? '';
    if (value !== '' || kind === undefined) return value;
    if (kind === '?') throw new Error(`${name}: ${rest}`);
    return rest;
  });
}

const environmentOf = (service: Service, given: Readonly<Record<string, string>> = TOKENS): Record<string, string> =>
  Object.fromEntries(Object.entries(service.environment ?? {}).map(([name, value]) => [name, filledIn(value, given)]));

const configOf = (name: string) => readConfig({ environment: environmentOf(compose.services[name]!) }).config;

/** The ports on which a service says it listens, inside the network. */
function portsOf(name: string): number[] {
  const service = compose.services[name]!;
  const inside = (service.ports ?? []).map((each) => Number(each.split(':').at(-1)));
  const listeners = [...(service.environment?.KAFKA_LISTENERS ?? '').matchAll(/:\/\/:(\d+)/g)].map((each) =>
    Number(each[1]),
  );
  const flag = service.command?.indexOf('--port') ?? -1;
  return [...inside, ...listeners, ...(flag < 0 ? [] : [Number(service.command![flag + 1])])];
}

describe('docker-compose.yml', () => {
  test('it has the four services, and no version key, which compose has done away with', () => {
    expect(Object.keys(compose.services).sort()).toEqual(['foreshard', 'kafka', 'registry', 'shards']);
    expect(compose).not.toHaveProperty('version');
  });

  test.each(ours)('%s: every setting is known, and the configuration accepts them together', (_, service) => {
    expect(() => readConfig({ environment: environmentOf(service) })).not.toThrow();
  });

  test('foreshard runs on this Kafka, this registry and these shards, one copy of each topic', () => {
    expect(configOf('foreshard')).toMatchObject({
      runtime: 'kafka',
      replicationFactor: 1,
      registerSchemas: true,
      httpHost: '0.0.0.0',
    });
  });

  test.each([
    { what: 'Kafka', address: configOf('foreshard').brokers[0]! },
    { what: 'the registry', address: new URL(configOf('foreshard').registryUrl).host },
    { what: 'the shard server', address: configOf('foreshard').shardServers[0]! },
    { what: 'itself', address: configOf('foreshard').httpAdvertised },
  ])('foreshard reaches $what where it listens, at $address', ({ address }) => {
    const [name, port] = address.split(':');
    expect(portsOf(name!)).toContain(Number(port));
  });

  test('Kafka advertises each listener but the controller’s, under its own name inside and this machine’s outside', () => {
    const { KAFKA_LISTENERS, KAFKA_ADVERTISED_LISTENERS } = environmentOf(compose.services.kafka!);
    expect(KAFKA_LISTENERS).toBe('INSIDE://:19092,OUTSIDE://:9092,CONTROLLER://:9093');
    expect(KAFKA_ADVERTISED_LISTENERS).toBe('INSIDE://kafka:19092,OUTSIDE://127.0.0.1:9092');
  });

  test('foreshard and the shard server share the token and keep their state in a volume', () => {
    expect(configOf('foreshard').shardServerToken.reveal()).toBe(configOf('shards').shardServerToken.reveal());
    for (const [name, service] of ours) expect(service.volumes, name).toEqual([`${name}:${configOf(name).dataDir}`]);
    expect(dockerfile).toContain(`VOLUME ${configOf('foreshard').dataDir}\n`);
  });

  test.each(Object.keys(TOKENS))('without %s nothing starts, and the message says what to do', (name) => {
    const start = () => ours.map(([, service]) => environmentOf(service, { ...TOKENS, [name]: '' }));
    expect(start).toThrow(new RegExp(`^${name}: change me - `));
  });

  test.each(services)('%s: what it waits for is there and healthy', (name, service) => {
    expect(service.healthcheck?.test.length, `${name} has a health check`).toBeGreaterThan(1);
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      expect(compose.services).toHaveProperty(other);
      expect(condition).toBe('service_healthy');
    }
  });

  test('foreshard waits for all others', () => {
    expect(Object.keys(compose.services.foreshard!.depends_on!).sort()).toEqual(['kafka', 'registry', 'shards']);
  });

  test.each(ours)('%s: the health check asks the port that it listens on', (name, service) => {
    const port = /127\.0\.0\.1:(\d+)\/(readyz|livez)'/.exec(service.healthcheck!.test.join(' '))?.[1];
    expect(portsOf(name)).toContain(Number(port));
  });

  test.each(services)('%s: no root, no capability, no port open to the network', (name, service) => {
    expect(service.user, name).toMatch(/^(?!root$|0$)\w+$/);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.security_opt).toContain('no-new-privileges:true');
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    if (service.build !== undefined) expect(service).toMatchObject({ read_only: true, tmpfs: ['/tmp'] });
  });

  test('every volume that is named exists', () => {
    for (const [, service] of services)
      for (const volume of service.volumes ?? []) expect(compose.volumes).toHaveProperty(volume.split(':')[0]!);
  });

  test('images are pinned, to the versions that the system tests run', () => {
    expect(compose.services.kafka!.image).toBe(`apache/kafka:${KAFKA_VERSION}`);
    expect(compose.services.registry!.image).toBe(`apicurio/apicurio-registry:${APICURIO_VERSION}`);
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map((match) => match[1]!);
    expect(bases.length).toBeGreaterThan(0);
    for (const base of bases) expect(base).toMatch(/^node:(22|24)\.\d+\.\d+-/);
  });
});

describe('Dockerfile', () => {
  test('no package runs a script, and the image runs as node, with a health check', () => {
    for (const [install] of dockerfile.matchAll(/npm (ci|prune).*/g)) expect(install).toContain('--ignore-scripts');
    expect(dockerfile).toMatch(/\nUSER node\n/);
    expect(dockerfile).toMatch(/\nHEALTHCHECK /);
  });

  test('what it runs is the package’s own command', () => {
    const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin: { foreshard: string } };
    expect(dockerfile).toContain(`ENTRYPOINT ["node", "${bin.foreshard}"]`);
  });

  test('secrets, history and what was built elsewhere stay out of it', () => {
    const ignored = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
    expect(ignored).toEqual(expect.arrayContaining(['.env', '.git', '.cache', 'node_modules', 'dist', 'data']));
  });
});
