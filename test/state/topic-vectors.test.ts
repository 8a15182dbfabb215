// Public MQTT topic vectors, facts from the suites of a dozen brokers and clients. The file is not part of this
// repository; where it is at hand, every row but the dialects of one product is run.

import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  covers,
  filterProblem,
  intersect,
  matches,
  mayPublish,
  maySubscribe,
  overlaps,
  topicProblem,
  union,
} from '../../state/topic-filter.ts';
import { TopicTrie } from '../../state/topic-trie.ts';

const FILE = new URL('../../../shared/vectors/topic-vectors.csv', import.meta.url);
/** In MQTT syntax, and as many more in NATS syntax. */
const ROWS = 1_209;
const NATS_ROWS = 25;

interface Row {
  readonly line: number;
  readonly kind: string;
  readonly filter: string;
  readonly topic: string;
  readonly expected: string;
  readonly note: string;
}

if (!existsSync(FILE))
  console.warn(`\nTOPIC VECTORS NOT RUN: ${FILE.pathname} is absent (${ROWS} + ${NATS_ROWS} rows)\n`);

test.skipIf(!existsSync(FILE))(`all ${ROWS} public MQTT topic vectors hold, and ${NATS_ROWS} of NATS`, () => {
  const rows = readRows(readFileSync(FILE, 'utf8')).filter((row) => !row.kind.startsWith('dialect_'));
  const wrong = rows
    .map((row) => ({ ...row, found: answerTo(row) }))
    .filter((row) => row.found !== row.expected)
    .map(({ line, kind, filter, topic, expected, found }) => ({ line, kind, filter, topic, expected, found }));
  expect(wrong).toEqual([]);
  const natsRows = rows.filter((row) => row.kind.startsWith('nats_')).length;
  expect({ mqtt: rows.length - natsRows, nats: natsRows }).toEqual({ mqtt: ROWS, nats: NATS_ROWS });
});

function answerTo(row: Row): string {
  const { filter, topic } = row;
  switch (row.kind) {
    case 'match':
      return matchedBoth(filter, topic);
    case 'reject':
      return (filterProblem(filter) ?? topicProblem(topic)) === undefined ? 'accepted' : 'invalid';
    case 'filter_valid':
      return `${filterProblem(filter) === undefined}`;
    case 'topic_valid':
      return `${topicProblem(topic) === undefined}`;
    case 'covers':
      return bothValid(filter, topic) ?? `${covers(filter, topic)}`;
    case 'overlaps':
      return bothValid(filter, topic) ?? `${overlaps(filter, topic)}`;
    case 'intersect':
      return bothValid(filter, topic) ?? intersect(filter, topic) ?? 'false';
    case 'union':
      return sameSet(union(JSON.parse(filter)), JSON.parse(row.expected))
        ? row.expected
        : union(JSON.parse(filter)).join();
    case 'acl_topic':
      return `${mayPublish(filter, identityOf(row.note), topic)}`;
    case 'acl_sub':
      return `${maySubscribe(filter, identityOf(row.note), topic)}`;
    case 'nats_match':
      return matchedBoth(fromNats(filter), fromNats(topic));
    case 'nats_covers':
      return `${covers(fromNats(filter), fromNats(topic))}`;
    default:
      return `unknown kind ${row.kind}`;
  }
}

/** By the plain rule and by the trie, which must agree. */
function matchedBoth(filter: string, topic: string): string {
  const problem = filterProblem(filter) ?? topicProblem(topic);
  if (problem !== undefined) return problem;
  const trie = new TopicTrie();
  trie.insert(filter);
  const inTrie = trie.match(topic, []) === 1;
  return inTrie === matches(filter, topic) ? `${inTrie}` : `trie says ${inTrie}`;
}

const bothValid = (first: string, second: string): string | undefined => filterProblem(first) ?? filterProblem(second);

const sameSet = (found: string[], expected: string[]): boolean =>
  found.sort().join('\n') === expected.sort().join('\n');

/** NATS writes . for /, * for + and > for #, each wildcard a token of its own. */
function fromNats(subject: string): string {
  return subject
    .split('.')
    .map((token) => (token === '*' ? '+' : token === '>' ? '#' : token))
    .join('/');
}

function identityOf(note: string): { clientId: string; username: string } {
  const found = /^clientid=(.*)\|username=(.*)$/.exec(note);
  if (!found) throw new Error(`no identity in ${note}`);
  return { clientId: found[1]!, username: found[2]! };
}

/** Lines that begin with a quote are data: five quoted cells, a quote doubled. The first of them is the head. */
function readRows(text: string): Row[] {
  const rows: Row[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (!line.startsWith('"')) continue;
    const cells = [...line.matchAll(/"((?:[^"]|"")*)"(?:,|\r?$)/g)].map((cell) => cell[1]!.replaceAll('""', '"'));
    if (cells.length !== 5) throw new Error(`line ${index + 1} has ${cells.length} cells`);
    const [kind, filter, topic, expected, note] = cells as [string, string, string, string, string];
    if (kind !== 'kind') rows.push({ line: index + 1, kind, filter, topic, expected, note });
  }
  return rows;
}
