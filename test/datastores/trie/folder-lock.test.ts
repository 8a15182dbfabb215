import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openTrieStore } from '../../../datastores/trie/trie-store.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const HOLDER = `
  const { openTrieStore } = await import(process.argv[1]);
  await openTrieStore(process.argv[2], { partitions: 1 });
  console.log('open');
  setInterval(() => {}, 1_000);
`;

describe('a trie shard has its folder alone', () => {
  let folder: TempFolder;
  beforeEach(async () => {
    folder = await tempFolder();
  });
  afterEach(() => folder.remove());

  test('a second opening is refused until the first has closed', async () => {
    const store = await openTrieStore(folder.path, { partitions: 1 });
    await expect(openTrieStore(folder.path, { partitions: 1 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await store.close();
    await (await openTrieStore(folder.path, { partitions: 1 })).close();
  });

  test('another process keeps it, and a killed one leaves it free', async () => {
    const module = new URL('../../../datastores/trie/trie-store.ts', import.meta.url).href;
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', HOLDER, module, folder.path],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    try {
      await once(child.stdout, 'data');
      await expect(openTrieStore(folder.path, { partitions: 1 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    } finally {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
    await (await openTrieStore(folder.path, { partitions: 1 })).close();
  }, 30_000);
});
