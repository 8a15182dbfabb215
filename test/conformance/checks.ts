// What a server of the protocol has to do (docs/protocol.md), one check after the other. Each runs on connections of its
// own, which are closed after it; a check fails by throwing.

import assert from 'node:assert/strict';
import { type Address, type Connection, commandOf, Refused, type Value } from './connection.ts';
import {
  CONCRETE_ROWS,
  CONCRETE_SLICE,
  call,
  FLEET,
  hearers,
  type Row,
  type Shards,
  TOPICS,
  TRIE_ROWS,
  TRIE_SLICE,
  wireRowOf,
} from './fixture.ts';

export interface Context {
  readonly address: Address;
  /** '' where the server asks for none. */
  readonly adminToken: string;
  readonly readToken: string;
  readonly shards: Shards;
  /** A connection that has given this token and named the fleet. */
  readonly open: (options?: { readonly version?: '2' | '3'; readonly token?: string }) => Promise<Connection>;
  /** A connection that has said nothing. */
  readonly bare: () => Promise<Connection>;
}

export interface Check {
  readonly name: string;
  /** Not checked unless the server has these tokens. */
  readonly needs?: 'adminToken' | 'readToken';
  readonly run: (context: Context) => Promise<void>;
}

const CHANNEL = '__redis__:invalidate';
const KEPT_UNTIL_TOLD = -1;

const check = (name: string, run: Check['run']): Check => ({ name, run });

function refusedAs(answer: Value, code: string): void {
  assert.ok(answer instanceof Refused, `answered ${JSON.stringify(answer)} where ${code} was expected`);
  assert.equal(answer.code, code, answer.message);
}

const FRAMING: readonly Check[] = [
  check('a command is an array of texts', async ({ open }) => {
    assert.equal(await (await open()).ask('PING'), 'PONG');
  }),
  check('a command may be typed', async ({ open }) => {
    const connection = await open();
    connection.send('PING\r\n');
    assert.equal(await connection.reply(), 'PONG');
  }),
  check('names of commands are of any case', async ({ open }) => {
    assert.equal(await (await open()).ask('pInG'), 'PONG');
  }),
  ...['', 'é ü 😀', 'a\r\nb', 'x'.repeat(60_000)].map((text) =>
    check(
      `a text comes back as it was: ${JSON.stringify(text.slice(0, 12))}, ${text.length} long`,
      async ({ open }) => {
        assert.equal(await (await open()).ask('ECHO', text), text);
      },
    ),
  ),
  check('commands may come in pieces', async ({ open }) => {
    const connection = await open();
    for (const byte of commandOf(['ECHO', 'piece'])) connection.send(Buffer.from([byte]));
    assert.equal(await connection.reply(), 'piece');
  }),
  check('replies are in the order of the commands, however many are under way', async ({ open, shards }) => {
    const connection = await open();
    const question = ['FS.CLIENTS', shards.trie, '', '1', 'home/1', TRIE_SLICE];
    const asked = Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? question : ['ECHO', `${i}`]));
    connection.send(Buffer.concat(asked.map(commandOf)));
    for (let i = 0; i < asked.length; i++) {
      const reply = await connection.reply();
      if (i % 3 === 0) assert.ok(Array.isArray(reply), `reply ${i} is no list of subscribers`);
      else assert.equal(reply, `${i}`);
    }
  }),
  check('a command that is not known is refused, and the connection goes on', async ({ open }) => {
    const connection = await open();
    refusedAs(await connection.ask('FS.NOTHING'), 'ERR');
    assert.equal(await connection.ask('PING'), 'PONG');
  }),
  check('a wrong number of arguments is refused, and the connection goes on', async ({ open }) => {
    const connection = await open();
    refusedAs(await connection.ask('ECHO'), 'ERR');
    refusedAs(await connection.ask('FS.BROKERS', 'a', '', '1'), 'ERR');
    assert.equal(await connection.ask('PING'), 'PONG');
  }),
  ...['*x\r\n', '*1\r\n$-5\r\n', '*1\r\n:4\r\nPING\r\n', '*99999999\r\n'].map((bytes) =>
    check(`what is no command ends the connection: ${JSON.stringify(bytes)}`, async ({ open }) => {
      const connection = await open();
      connection.send(bytes);
      refusedAs(await connection.reply(), 'ERR');
      await connection.closed();
    }),
  ),
  check('QUIT is answered, and ends the connection', async ({ open }) => {
    const connection = await open();
    assert.equal(await connection.ask('QUIT'), 'OK');
    await connection.closed();
  }),
  check('HELLO tells server, version and protocol, as a list in RESP 2', async ({ open }) => {
    const answer = await (await open()).ask('HELLO', '2');
    assert.ok(Array.isArray(answer) && answer.includes('proto') && answer.includes(2), JSON.stringify(answer));
  }),
  check('HELLO 3 turns to RESP 3, and is answered with a map', async ({ open }) => {
    const answer = await (await open()).ask('HELLO', '3');
    assert.ok(answer instanceof Map);
    assert.equal(answer.get('proto'), 3);
  }),
  check('another version of RESP is refused', async ({ open }) => {
    refusedAs(await (await open()).ask('HELLO', '4'), 'NOPROTO');
  }),
  check('INFO is a text of fields', async ({ open }) => {
    const answer = await (await open()).ask('INFO');
    assert.ok(typeof answer === 'string' && /^\w+:\S*\r?$/m.test(answer));
  }),
];

const RIGHTS: readonly Check[] = [
  {
    name: 'nothing is answered before a token',
    needs: 'adminToken',
    run: async ({ bare }) => {
      for (const words of [
        ['PING'],
        ['INFO'],
        ['FS.BROKERS', 'a', '', '1', 'a', 'c/0/'],
        ['FS.CALL', 'a', '', 'owners', '{}'],
      ])
        refusedAs(await (await bare()).ask(...words), 'NOAUTH');
      refusedAs(await (await bare()).ask('HELLO', '3'), 'NOAUTH');
    },
  },
  {
    name: 'a wrong token is refused',
    needs: 'adminToken',
    run: async ({ bare, adminToken }) => {
      const connection = await bare();
      for (const words of [
        ['AUTH', `${adminToken}x`],
        ['AUTH', 'default', ''],
        ['HELLO', '3', 'AUTH', 'default', 'no'],
      ])
        refusedAs(await connection.ask(...words), 'WRONGPASS');
      refusedAs(await connection.ask('PING'), 'NOAUTH');
    },
  },
  {
    name: 'HELLO takes the token, too',
    needs: 'adminToken',
    run: async ({ bare, adminToken }) => {
      assert.ok((await (await bare()).ask('HELLO', '3', 'AUTH', 'default', adminToken)) instanceof Map);
    },
  },
  {
    name: 'the token for reading looks up, and changes nothing',
    needs: 'readToken',
    run: async ({ open, readToken, shards }) => {
      const connection = await open({ token: readToken });
      assert.ok(Array.isArray(await connection.ask('FS.BROKERS', shards.trie, '', '1', 'home/1', TRIE_SLICE)));
      refusedAs(await connection.ask('FS.CALL', shards.trie, '', 'owners', '{}'), 'NOPERM');
    },
  },
];

const STORES = [
  { what: 'concrete filters', shard: 'concrete', slice: CONCRETE_SLICE, rows: CONCRETE_ROWS },
  { what: 'wildcard filters', shard: 'trie', slice: TRIE_SLICE, rows: TRIE_ROWS },
] as const;

const isShared = ({ filter }: Row): boolean => filter.startsWith('$share/');
const groupOf = ({ filter }: Row): string => filter;

/** Filter, client, broker, QoS and options, as the protocol has them. */
const wordsOf = ({ filter, clientId, brokerId, qos, options }: Row): readonly (string | number)[] => [
  ...[filter, clientId, brokerId, qos],
  ...[Number(options?.noLocal ?? 0), Number(options?.retainAsPublished ?? 0)],
  ...[options?.retainHandling ?? 0, options?.subscriptionIdentifier ?? 0],
];
const sorted = <Item>(items: Iterable<Item>): Item[] =>
  [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

function listIn(answer: Value, at: number): readonly Value[] {
  assert.ok(Array.isArray(answer) && Array.isArray(answer[at]), `answered ${JSON.stringify(answer)}`);
  return answer[at] as readonly Value[];
}

const LOOK_UPS: readonly Check[] = STORES.flatMap(({ what, shard, slice, rows }) =>
  TOPICS.flatMap((topic) => {
    const hearing = hearers(rows, topic);
    return [
      check(`FS.CLIENTS of ${what}: every subscriber to ${topic}, with its options`, async ({ open, shards }) => {
        const answer = await (await open()).ask('FS.CLIENTS', shards[shard], '', '1', topic, slice);
        assert.ok(Array.isArray(answer), `answered ${JSON.stringify(answer)}`);
        assert.deepEqual(sorted(answer), sorted(hearing.map(wordsOf)));
      }),
      check(`FS.BROKERS of ${what}: who receives ${topic}, each once`, async ({ open, shards }) => {
        const answer = await (await open()).ask('FS.BROKERS', shards[shard], '', '1', topic, slice);
        const single = hearing.filter((row) => !isShared(row));
        assert.deepEqual(sorted(listIn(answer, 0)), sorted(new Set(single.map(({ brokerId }) => brokerId))));
        const groups = new Set(hearing.filter(isShared).map(groupOf));
        assert.deepEqual(sorted(listIn(answer, 1).map((member) => (member as readonly Value[])[0])), sorted(groups));
      }),
    ];
  }),
);

const QUESTIONS: readonly Check[] = [
  check('members of a share group have their turns', async ({ open, shards }) => {
    const connection = await open();
    const chosen = new Set<Value>();
    for (let i = 0; i < 12; i++) {
      const answer = await connection.ask('FS.BROKERS', shards.trie, '', '1', 'home/1', TRIE_SLICE);
      for (const member of listIn(answer, 1) as readonly (readonly Value[])[])
        if (member[0] === '$share/g/home/1') chosen.add(member[1]!);
    }
    assert.deepEqual(sorted(chosen), ['s1', 's2']);
  }),
  check('of a share group, members with a connection come first', async ({ open, shards }) => {
    const connection = await open();
    for (let i = 0; i < 6; i++) {
      const answer = await connection.ask('FS.BROKERS', shards.trie, '', '1', 'home/1', TRIE_SLICE);
      const member = (listIn(answer, 1) as readonly (readonly Value[])[]).find(
        ([group]) => group === '$share/away/home/1',
      );
      assert.equal(member?.[1], 's5');
    }
  }),
  check('an answer with a share group may not be kept, nor one without tracking', async ({ open, shards }) => {
    const tracking = await open({ version: '3' });
    assert.equal(await tracking.ask('CLIENT', 'TRACKING', 'ON'), 'OK');
    const shared = await tracking.ask('FS.BROKERS', shards.trie, '', '1', 'home/1', TRIE_SLICE);
    assert.equal((shared as readonly Value[])[2], 0);
    const untracked = await (await open()).ask('FS.BROKERS', shards.concrete, '', '1', 'home/1', CONCRETE_SLICE);
    assert.equal((untracked as readonly Value[])[2], 0);
  }),
  check('FS.MBROKERS answers each question, an error among them', async ({ open, shards: { concrete, trie } }) => {
    const answer = await (await open()).ask(
      ...['FS.MBROKERS', '1'],
      ...[concrete, '', 'home/1', '1', CONCRETE_SLICE],
      ...['nowhere', '', 'home/1', '1', CONCRETE_SLICE],
      ...[trie, '', 'a/b', '1', TRIE_SLICE],
    );
    assert.ok(Array.isArray(answer) && answer.length === 3, `answered ${JSON.stringify(answer)}`);
    assert.deepEqual(sorted(listIn(answer[0]!, 0)), ['b1', 'b2']);
    refusedAs(answer[1]!, 'SHARD_UNKNOWN');
    assert.deepEqual(sorted(listIn(answer[2]!, 0)), ['b4', 'b7']);
  }),
  check('a slice that the shard does not have is MOVED', async ({ open, shards }) => {
    refusedAs(await (await open()).ask('FS.BROKERS', shards.trie, '', '1', 'home/1', 'w/9/'), 'MOVED');
    refusedAs(await (await open()).ask('FS.CLIENTS', shards.trie, '', '1', 'home/1', 'w/9/'), 'MOVED');
  }),
  check('a slice that has left is MOVED, with the slice and the epoch', async ({ open, shards }) => {
    const admin = await open();
    const owner = { slice: 't/left', state: 'moved', epoch: 7, movedTo: 'elsewhere' };
    await call(admin, shards.concrete, 'own', { owner });
    try {
      const answer = await admin.ask('FS.BROKERS', shards.concrete, '', '1', 'left', 't/left');
      refusedAs(answer, 'MOVED');
      assert.equal((answer as Refused).message, 't/left 7');
    } finally {
      await call(admin, shards.concrete, 'disown', { slice: 't/left', right: { state: 'moved', epoch: 7 } });
    }
  }),
  ...(
    [
      ['a topic with a wildcard', ['', '1', 'home/+', TRIE_SLICE], 'REQUEST_INVALID'],
      ['an empty topic', ['', '1', '', TRIE_SLICE], 'REQUEST_INVALID'],
      ['a slice that is none', ['', '1', 'home/1', 'nonsense'], 'REQUEST_INVALID'],
      ['an epoch that is none', ['', 'now', 'home/1', TRIE_SLICE], 'REQUEST_INVALID'],
      ['another instance', ['another', '1', 'home/1', TRIE_SLICE], 'SHARD_LOST'],
    ] as const
  ).map(([what, words, code]) =>
    check(`${what} is refused with ${code}`, async ({ open, shards }) => {
      const connection = await open();
      refusedAs(await connection.ask('FS.BROKERS', shards.trie, ...words), code);
      assert.equal(await connection.ask('PING'), 'PONG');
    }),
  ),
  check('a shard that is not there is SHARD_UNKNOWN', async ({ open }) => {
    refusedAs(await (await open()).ask('FS.BROKERS', 'nowhere', '', '1', 'a', TRIE_SLICE), 'SHARD_UNKNOWN');
  }),
  check('a shard of another fleet is refused', async ({ open, shards }) => {
    const connection = await open();
    assert.equal(await connection.ask('FS.FLEET', '2', FLEET[1], FLEET[2]), 'OK');
    refusedAs(await connection.ask('FS.BROKERS', shards.trie, '', '1', 'home/1', TRIE_SLICE), 'FLEET_MISMATCH');
  }),
];

const CALLS: readonly Check[] = [
  check('an earlier version changes nothing, and the same write twice neither', async ({ open, shards }) => {
    const admin = await open();
    const first = wireRowOf({ filter: 'guarded', clientId: 'g', brokerId: 'old', qos: 0 });
    const second = wireRowOf({ filter: 'guarded', clientId: 'g', brokerId: 'new', qos: 0 });
    try {
      await call(admin, shards.concrete, 'write', { rows: [second] });
      await call(admin, shards.concrete, 'write', { rows: [first, second] });
      const answer = await admin.ask('FS.BROKERS', shards.concrete, '', '1', 'guarded', CONCRETE_SLICE);
      assert.deepEqual(listIn(answer, 0), ['new']);
    } finally {
      const gone = wireRowOf({ filter: 'guarded', clientId: 'g', brokerId: 'new', qos: 0 }, true);
      await call(admin, shards.concrete, 'write', { rows: [gone] });
    }
    const answer = await admin.ask('FS.BROKERS', shards.concrete, '', '1', 'guarded', CONCRETE_SLICE);
    assert.deepEqual(listIn(answer, 0), []);
  }),
  ...(
    [
      ['a body that is no JSON', 'write', '{'],
      ['a body with a row that is none', 'write', '{"rows":[1]}'],
      ['a call that is not known', 'nothing', '{}'],
    ] as const
  ).map(([what, name, body]) =>
    check(`FS.CALL refuses ${what}`, async ({ open, shards }) => {
      refusedAs(await (await open()).ask('FS.CALL', shards.concrete, '', name, body), 'REQUEST_INVALID');
    }),
  ),
];

/** Subscribes to a topic until `then` is over. */
async function subscribed(admin: Connection, shard: string, row: Row, then: () => Promise<void>): Promise<void> {
  await call(admin, shard, 'write', { rows: [wireRowOf(row)] });
  try {
    await then();
  } finally {
    await call(admin, shard, 'write', { rows: [wireRowOf(row, true)] });
  }
}

const PUSHES: readonly Check[] = [
  ...STORES.map(({ what, shard, slice }) =>
    check(`a kept answer of ${what} is taken back when it changes, before the next answer`, async (context) => {
      const [tracking, admin] = [await context.open({ version: '3' }), await context.open()];
      const name = context.shards[shard];
      assert.equal(await tracking.ask('CLIENT', 'TRACKING', 'ON'), 'OK');
      const question = ['FS.BROKERS', name, '', '1', 'pushed/x', slice];
      const before = await tracking.ask(...question);
      assert.equal((before as readonly Value[])[2], KEPT_UNTIL_TOLD);
      const filter = shard === 'trie' ? 'pushed/+' : 'pushed/x';
      await subscribed(admin, name, { filter, clientId: 'p', brokerId: 'pushed', qos: 0 }, async () => {
        const after = await tracking.ask(...question);
        assert.deepEqual(tracking.pushes, [['invalidate', [`${name} pushed/x`]]]);
        assert.ok(listIn(after, 0).includes('pushed'));
      });
    }),
  ),
  check('what another topic changes takes no answer back', async ({ open, shards: { concrete } }) => {
    const [tracking, admin] = [await open({ version: '3' }), await open()];
    await tracking.ask('CLIENT', 'TRACKING', 'ON');
    await tracking.ask('FS.BROKERS', concrete, '', '1', 'pushed/y', CONCRETE_SLICE);
    await subscribed(admin, concrete, { filter: 'pushed/z', clientId: 'p', brokerId: 'b', qos: 0 }, async () => {
      assert.equal(await tracking.ask('PING'), 'PONG');
      assert.deepEqual(tracking.pushes, []);
    });
  }),
  check('RESP 2 hears of changes by a connection that it redirects to', async ({ open, shards: { concrete } }) => {
    const [listener, tracking, admin] = [await open(), await open(), await open()];
    const id = await listener.ask('CLIENT', 'ID');
    assert.deepEqual(await listener.ask('SUBSCRIBE', CHANNEL), ['subscribe', CHANNEL, 1]);
    assert.equal(await tracking.ask('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id)), 'OK');
    await tracking.ask('FS.BROKERS', concrete, '', '1', 'pushed/r', CONCRETE_SLICE);
    await subscribed(admin, concrete, { filter: 'pushed/r', clientId: 'p', brokerId: 'b', qos: 0 }, async () => {
      assert.deepEqual(await listener.reply(), ['message', CHANNEL, [`${concrete} pushed/r`]]);
    });
  }),
  check('RESP 2 cannot track on one connection, nor for one that is not there', async ({ open }) => {
    const connection = await open();
    refusedAs(await connection.ask('CLIENT', 'TRACKING', 'ON'), 'ERR');
    refusedAs(await connection.ask('CLIENT', 'TRACKING', 'ON', 'REDIRECT', '999999999'), 'ERR');
  }),
  check(
    'a connection that tracks no longer is told nothing, and keeps nothing',
    async ({ open, shards: { concrete } }) => {
      const [tracking, admin] = [await open({ version: '3' }), await open()];
      await tracking.ask('CLIENT', 'TRACKING', 'ON');
      const question = ['FS.BROKERS', concrete, '', '1', 'pushed/off', CONCRETE_SLICE];
      await tracking.ask(...question);
      assert.equal(await tracking.ask('CLIENT', 'TRACKING', 'OFF'), 'OK');
      await subscribed(admin, concrete, { filter: 'pushed/off', clientId: 'p', brokerId: 'b', qos: 0 }, async () => {
        const answer = await tracking.ask(...question);
        assert.deepEqual([listIn(answer, 0), (answer as readonly Value[])[2]], [['b'], 0]);
        assert.deepEqual(tracking.pushes, []);
      });
    },
  ),
];

export const CHECKS: readonly Check[] = [...FRAMING, ...RIGHTS, ...LOOK_UPS, ...QUESTIONS, ...CALLS, ...PUSHES];
