// `npm run conformance -- HOST:PORT [--token T] [--read-token T] [--concrete-type T] [--trie-type T]`: checks a server
// of the protocol (docs/protocol.md), one line a check. The exit code is 1 when one fails.

import { parseArgs } from 'node:util';
import { conformance, type Result } from './conformance.ts';

const MARKS = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' } as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: 'string', default: '' },
    'read-token': { type: 'string', default: '' },
    'concrete-type': { type: 'string', default: 'level-small' },
    'trie-type': { type: 'string', default: 'trie-small' },
  },
});
const place = /^(?:(.*):)?(\d+)$/.exec(positionals[0] ?? '');
if (place === null) {
  console.error('name the server: npm run conformance -- HOST:PORT [--token TOKEN] [--read-token TOKEN]');
  process.exit(2);
}

const tell = ({ name, state, reason }: Result): void =>
  console.log(`${MARKS[state]} ${name}${reason === '' ? '' : `\n     ${reason.replaceAll('\n', '\n     ')}`}`);
try {
  const results = await conformance(
    {
      address: { host: place[1] || '127.0.0.1', port: Number(place[2]) },
      adminToken: values.token,
      readToken: values['read-token'],
      concreteType: values['concrete-type'],
      trieType: values['trie-type'],
    },
    tell,
  );
  const count = (state: Result['state']): number => results.filter((each) => each.state === state).length;
  const skipped = count('skipped');
  console.log(`${count('passed')} passed, ${count('failed')} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`);
  process.exitCode = count('failed') > 0 ? 1 : 0;
} catch (error) {
  console.error(
    `the shards to check with cannot be made or taken away: ${error instanceof Error ? error.message : error}`,
  );
  process.exitCode = 1;
}
