import { chmodSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../../config/edge/env-config.ts';
import { AppError } from '../../../schemas/errors.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'foreshard-config-'));
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

describe('reading the configuration', () => {
  test('defaults < file < environment < flags', () => {
    const file = written('layers.json', JSON.stringify({ httpPort: 1, movesMax: 2, leafBits: 3 }));
    const { config, explain } = readConfig({
      environment: { FORESHARD_CONFIG: file, FORESHARD_HTTP_PORT: '11', FORESHARD_MOVES_MAX: '12', PATH: '/bin' },
      flags: { httpPort: 111 },
    });
    expect(config).toMatchObject({ httpPort: 111, movesMax: 12, leafBits: 3, mode: 'auto' });
    const source = Object.fromEntries(explain().map((line) => [line.name, line.source]));
    expect(source).toMatchObject({
      httpPort: 'flag',
      movesMax: 'environment',
      leafBits: `file ${file}`,
      mode: 'default',
    });
  });

  test('an empty environment is enough', () => {
    expect(readConfig({ environment: {} }).config.runtime).toBe('embedded');
  });

  test('an unknown variable fails with the nearest one, and its value is not told', () => {
    const message = failure({ FORESHARD_HTTP_REED_TOKEN: 'canary' });
    expect(message).toContain('FORESHARD_HTTP_REED_TOKEN is not a setting; did you mean FORESHARD_HTTP_READ_TOKEN?');
    expect(message).not.toContain('canary');
  });

  test('an unknown flag fails as it was typed', () => {
    expect(() => readConfig({ environment: {}, flags: { htpPort: 1 } })).toThrow(
      '--htp-port is not a setting; did you mean --http-port?',
    );
  });

  const bytes = (text: string | Buffer) => (typeof text === 'string' ? Buffer.from(text) : text);
  for (const { name, content, says } of [
    { name: 'empty', content: '', says: 'is not JSON' },
    { name: 'YAML', content: 'a: &a [*a]\n', says: 'is not JSON' },
    { name: 'not UTF-8', content: Buffer.from([0x7b, 0xff, 0x7d]), says: 'is not UTF-8' },
    { name: 'a list', content: '[]', says: 'one JSON object' },
    { name: 'null', content: 'null', says: 'one JSON object' },
    {
      name: 'a key twice',
      content: '{"httpPort": 1, "mode": "auto", "httpPort": 2}',
      says: 'has the key "httpPort" twice',
    },
    {
      name: 'a key twice, once escaped',
      content: '{"httpPort": 1, "http\\u0050ort": 2}',
      says: 'has the key "httpPort" twice',
    },
    { name: 'an unknown key', content: '{"htpPort": 1}', says: 'did you mean httpPort?' },
    { name: '__proto__', content: '{"__proto__": {"polluted": 1}}', says: '__proto__ is not a setting' },
    { name: 'nested too deeply', content: '['.repeat(200_000), says: 'is not JSON' },
  ])
    test(`a file that is ${name} is refused`, () => {
      expect(failure({ FORESHARD_CONFIG: written('bad.json', bytes(content)) })).toContain(says);
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    });

  test('a file that is missing, a folder or huge is refused, without being read', () => {
    expect(failure({ FORESHARD_CONFIG: join(FOLDER, 'nothing.json') })).toContain('cannot be read: ENOENT');
    mkdirSync(join(FOLDER, 'folder.json'));
    expect(failure({ FORESHARD_CONFIG: join(FOLDER, 'folder.json') })).toContain('is not a file');
    truncateSync(written('huge.json', '{}'), 2 ** 30);
    expect(failure({ FORESHARD_CONFIG: join(FOLDER, 'huge.json') })).toContain('more than 1048576 bytes');
  });

  test('a broken file is not quoted: it may hold a secret', () => {
    const message = failure({ FORESHARD_CONFIG: written('broken.json', '{"saslPassword": canary-secret}') });
    expect(message).toContain('is not JSON');
    expect(message).not.toContain('canary');
  });

  test('a secret may come from a file; its line break at the end is not part of it', () => {
    const file = written('password', 'pass word\n', 0o640);
    const { config } = readConfig({ environment: { FORESHARD_SASL_PASSWORD_FILE: file } });
    expect(config.saslPassword.reveal()).toBe('pass word');
  });

  for (const { name, content, mode, says } of [
    { name: 'readable by everybody', content: 'x', mode: 0o644, says: 'is open to every user of this machine' },
    { name: 'empty', content: '', mode: 0o600, says: 'is empty' },
    { name: 'a line break alone', content: '\n', mode: 0o600, says: 'is empty' },
    { name: 'two lines', content: 'a\nb\n', mode: 0o600, says: 'must be one line' },
    { name: 'huge', content: 'x'.repeat(10_000), mode: 0o600, says: 'more than 8192 bytes' },
  ])
    test(`a secret file that is ${name} is refused`, () => {
      expect(failure({ FORESHARD_SASL_PASSWORD_FILE: written('secret', content, mode) })).toContain(says);
    });

  test('a secret given twice, and a file for what is no secret, are refused', () => {
    const file = written('twice', 'x', 0o600);
    expect(failure({ FORESHARD_SASL_PASSWORD: 'x', FORESHARD_SASL_PASSWORD_FILE: file })).toContain('are both set');
    expect(failure({ FORESHARD_HTTP_PORT_FILE: file })).toContain('FORESHARD_HTTP_PORT_FILE is not a setting');
  });
});

function written(name: string, content: string | Buffer, mode = 0o600): string {
  const path = join(FOLDER, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

function failure(environment: Record<string, string>): string {
  try {
    readConfig({ environment });
  } catch (error) {
    if (error instanceof AppError && error.code === 'CONFIG_INVALID') return error.message;
    throw error;
  }
  throw new Error('the configuration was accepted');
}
