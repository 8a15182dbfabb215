// The HTTP part of the catalogue of bad input (84 to 97) on a real socket: cases that the other tests beside it do
// not have already, and the list of where each number is. After each case the server answers the next request.

import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type HttpServer, serveHttp } from '../../../api/edge/http-server.ts';
import { silentLogger, silentMeter } from '../../../runtime/telemetry.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { OPEN } from '../../support/http-app.ts';

const HOST = 'Host: 127.0.0.1\r\n';
const JSON_TYPE = 'Content-Type: application/json\r\n';
const REQUEST_TIMEOUT_MS = 300;
const BODY_BYTES_MAX = 1_048_576;
/** More than the kernel takes for a reader that does not read. */
const LARGE_ANSWER = 'foreshard_up 1\n'.repeat(1_000_000);

let server: HttpServer;
let strays = 0;
const stray = (): void => void strays++;
beforeAll(async () => {
  process.on('unhandledRejection', stray);
  server = await serveHttp(fakeViews({ metricsText: async () => LARGE_ANSWER }), {
    ...OPEN,
    peerTimeoutMs: 100,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
  });
});
afterAll(async () => {
  process.off('unhandledRejection', stray);
  await server.close(0);
});
afterEach(async () => {
  expect(await exchange(`GET /livez HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)).toMatch(/^HTTP\/1\.1 200/);
  expect(strays).toBe(0);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

const post = (headers: string, body: string | Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`POST /predict_and_shard HTTP/1.1\r\n${HOST}${JSON_TYPE}Connection: close\r\n${headers}\r\n`, 'latin1'),
    Buffer.from(body as string),
  ]);
const sized = (body: string | Buffer, headers = ''): Buffer =>
  post(`Content-Length: ${Buffer.byteLength(body)}\r\n${headers}`, body);
const get = (url: string, headers = ''): string => `GET ${url} HTTP/1.1\r\n${HOST}${headers}Connection: close\r\n\r\n`;
const bodyOf = (sizeBytes: number): string => `{"topic":"${'a'.repeat(sizeBytes - 12)}"}`;

describe('bad requests on a socket', () => {
  for (const { number, name, bytes, status } of [
    { number: 85, name: 'a body of no bytes', bytes: sized(''), status: 400 },
    {
      number: 85,
      name: 'a body at the limit, with a topic over its own',
      bytes: sized(bodyOf(BODY_BYTES_MAX)),
      status: 400,
    },
    { number: 85, name: 'a body one byte over the limit', bytes: sized(bodyOf(BODY_BYTES_MAX + 1)), status: 413 },
    {
      number: 85,
      name: 'chunks that stop without an end',
      bytes: post('Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n'),
      status: 408,
    },
    {
      number: 85,
      name: 'a chunk size of 2^64',
      bytes: post('Transfer-Encoding: chunked\r\n', '10000000000000000\r\n'),
      status: 400,
    },
    { number: 85, name: 'a length of 2^64', bytes: post('Content-Length: 18446744073709551616\r\n', ''), status: 400 },
    { number: 85, name: 'a length in hexadecimal', bytes: post('Content-Length: 0x10\r\n', '{}'), status: 400 },
    { number: 85, name: 'an empty length', bytes: post('Content-Length: \r\n', '{}'), status: 400 },
    {
      number: 85,
      name: 'chunked, twice',
      bytes: post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      status: 400,
    },
    {
      number: 85,
      name: 'chunked under another spelling',
      bytes: post('Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\n'),
      status: 400,
    },
    { number: 86, name: 'a header name with a space', bytes: get('/livez', 'X Y: a\r\n'), status: 400 },
    { number: 86, name: 'a header without a name', bytes: get('/livez', ': a\r\n'), status: 400 },
    { number: 86, name: 'a header without a colon', bytes: get('/livez', 'nothing\r\n'), status: 400 },
    {
      number: 87,
      name: 'two content types',
      bytes: sized('{"topic":"a"}', 'Content-Type: text/html\r\n'),
      status: 200,
    },
    {
      number: 87,
      name: 'a charset in quotes',
      bytes: Buffer.from(
        `POST /predict_and_shard HTTP/1.1\r\n${HOST}Content-Type: application/json; charset="utf-7"\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{"topic":"a"}`,
      ),
      status: 415,
    },
    {
      number: 88,
      name: 'a gzip bomb of 10 MB',
      bytes: sized(gzipSync(Buffer.alloc(10_000_000, 'a')), 'Content-Encoding: gzip\r\n'),
      status: 415,
    },
    { number: 88, name: 'two encodings', bytes: sized('{}', 'Content-Encoding: gzip, br\r\n'), status: 415 },
    { number: 90, name: 'a path of 9 KiB', bytes: get(`/${'a'.repeat(9_216)}`), status: 414 },
    { number: 90, name: 'a parameter of 8,000 bytes', bytes: get(`/moves/${'a'.repeat(8_000)}`), status: 405 },
    { number: 90, name: 'an absolute URL elsewhere', bytes: get('http://169.254.169.254/latest'), status: 404 },
    {
      number: 90,
      name: 'a URL of raw bytes',
      bytes: 'GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
      status: 400,
    },
    { number: 90, name: 'a bad percent sign in a query', bytes: get('/predict_load?topic=%zz%'), status: 200 },
    {
      number: 91,
      name: '1,000 equal names',
      bytes: get(`/predict_load?${'topic=a&'.repeat(1_000)}topic=a`),
      status: 400,
    },
    {
      number: 91,
      name: '2,000 names',
      bytes: get(`/shards?${Array.from({ length: 1_500 }, (_, i) => `${i}`).join('&')}`),
      status: 400,
    },
    {
      number: 95,
      name: 'an empty Host',
      bytes: 'GET /livez HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n',
      status: 421,
    },
    {
      number: 95,
      name: 'a Host that ends in ours',
      bytes: 'GET /livez HTTP/1.1\r\nHost: localhost.evil.example\r\nConnection: close\r\n\r\n',
      status: 421,
    },
    { number: 95, name: 'no Host, in HTTP/1.0', bytes: 'GET /livez HTTP/1.0\r\n\r\n', status: 400 },
    {
      number: 96,
      name: '1,000 pipelined requests, all wrong',
      bytes: `${`GET /nothing HTTP/1.1\r\n${HOST}\r\n`.repeat(999)}${get('/nothing')}`,
      status: 404,
    },
  ])
    test(`${number}: ${name} is answered ${status}`, async () => {
      const answer = await exchange(bytes);
      expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
      expect(answer).not.toMatch(/node_modules|\.ts:\d/);
      if (number === 96) expect(answer.match(/HTTP\/1\.1 404/g)).toHaveLength(1_000);
    });

  test('84: a token in the URL, a cookie or another header opens nothing', async () => {
    const closed = await serveHttp(fakeViews(), {
      host: '127.0.0.1',
      port: 0,
      readToken: 'read-token-0123456789',
      adminToken: 'admin-token-0123456789',
      advertised: '',
      peerTimeoutMs: 100,
      logger: silentLogger,
      meter: silentMeter,
    });
    const token = 'admin-token-0123456789';
    try {
      for (const ask of [
        get(`/shards?token=${token}`),
        get(`/shards?access_token=${token}`),
        get('/shards', `Cookie: token=${token}\r\n`),
        get('/shards', `X-Api-Key: ${token}\r\n`),
        get('/shards', `Proxy-Authorization: Bearer ${token}\r\n`),
      ])
        expect(await exchange(ask, closed.port)).toMatch(/^HTTP\/1\.1 40[01]/);
      expect(await exchange(get('/shards', `Authorization: Bearer ${token}\r\n`), closed.port)).toMatch(
        /^HTTP\/1\.1 200/,
      );
    } finally {
      await closed.close(0);
    }
  });

  test('93: after 100 Continue and silence the socket is closed', async () => {
    const answer = await exchange(post('Expect: 100-continue\r\nContent-Length: 100\r\n', ''));
    expect(answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 408/);
  });

  test('94: nothing is upgraded, whatever follows the request is no frame', async () => {
    const upgrade =
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n';
    const answer = await exchange(`GET /livez HTTP/1.1\r\n${HOST}${upgrade}\r\n\x81\x05hello`);
    expect(answer).not.toContain('101 Switching');
  });

  test('94: the preface of HTTP/2 is no request', async () => {
    expect(await exchange('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toMatch(/^HTTP\/1\.1 (400|505)/);
  });
});

describe('97: peers that are half there', () => {
  test('one that has closed its side still gets its answer', async () => {
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('end', () => socket.end());
      socket.on('close', () => resolve(text));
      socket.end(get('/livez'));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200/);
  });

  test('one hundred that reset in the middle of a large answer leave the others alone', async () => {
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const socket = connect(server.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(get('/metrics'));
        await new Promise<void>((resolve) => socket.once('data', () => resolve()));
        socket.resetAndDestroy();
      }),
    );
  });

  test('twenty that read one byte and then nothing are cut off, and meanwhile others are answered', async () => {
    const slow = Array.from({ length: 20 }, () => slowReader());
    await Promise.all(slow.map((each) => each.begun));
    for (let i = 0; i < 50; i++) expect(await answered('/livez')).toBe(200);
    for (const read of await Promise.all(slow.map((each) => each.cut))) expect(read).toBeLessThan(LARGE_ANSWER.length);
  });

  test('two hundred that send a header byte by byte are answered 408, and meanwhile others are answered', async () => {
    const slow = Array.from({ length: 200 }, () => exchange('G'));
    for (let i = 0; i < 50; i++) expect(await answered('/livez')).toBe(200);
    for (const answer of await Promise.all(slow)) expect(answer).toMatch(/^HTTP\/1\.1 408|^$/);
  });
});

test('every number from 84 to 97 is here or in the tests beside, or said not to arise and why', () => {
  const beside = ['http-access.test.ts', 'http-answers.test.ts', 'http-refusals.test.ts', 'http-socket.test.ts'].map(
    (name) => readFileSync(new URL(name, import.meta.url), 'utf8'),
  );
  const elsewhere: Readonly<Record<number, readonly string[]>> = {
    84: ['a JWT with alg none', 'a token in the URL is not one', 'after ten wrong tokens an address waits'],
    85: ['a length too short', 'two lengths', 'a negative length', 'a length with a sign', 'a length and chunks'],
    86: ['a header block over 16 KiB', '2,000 headers', 'a folded header', 'a bare CR in a header'],
    87: ['UTF-7', 'a charset nobody knows', 'no content type', 'a form'],
    88: ['a compressed body', 'an encoding nobody knows'],
    89: [
      "'TRACE'",
      'CONNECT is closed without a tunnel',
      'PUT where there is GET',
      'HEAD is GET',
      'OPTIONS of a foreign origin',
    ],
    90: ['/%2e%2e/', '/..%5c', '/%00', '/.git/config', 'a topic of bad percent signs', 'a URL over 8 KiB'],
    91: [
      'parameters that reach for a prototype',
      'a limit of -1',
      'a limit of 1e9',
      'a horizon of NaN',
      'a forged cursor',
    ],
    92: ['a thousand ranges'],
    93: ['a body that was promised and never came'],
    94: ['an upgrade to h2c', 'an upgrade to a websocket'],
    95: ['no Host', 'two Hosts', 'a foreign Host'],
    96: ['a thousand pipelined requests'],
    97: ['sockets that open and reset leave nothing behind'],
  };
  for (let number = 84; number <= 97; number++)
    for (const name of elsewhere[number]!)
      expect(
        beside.some((text) => text.includes(name)),
        `${number}: ${name}`,
      ).toBe(true);
  const notOurs = [
    'an expired token (84): tokens are fixed secrets without a time',
    'from > to (91): no route takes two times',
  ];
  expect(notOurs).toHaveLength(2);
});

/** Asks for a large answer and reads one byte of it. `cut`: how much came before the server gave up. */
function slowReader(): { begun: Promise<void>; cut: Promise<number> } {
  const socket: Socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  const begun = new Promise<void>((resolve) =>
    socket.once('readable', () => {
      socket.read(1);
      resolve();
    }),
  );
  socket.write(get('/metrics'));
  const cut = begun.then(
    () =>
      new Promise<number>((resolve) => {
        let read = 0;
        socket.on('data', (chunk) => {
          read += chunk.length;
        });
        socket.pause();
        socket.once('close', () => resolve(read));
        // What the kernel holds is read only once the server must have given up: the rest never comes.
        setTimeout(() => socket.resume(), 10 * REQUEST_TIMEOUT_MS);
      }),
  );
  return { begun, cut };
}

function answered(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ port: server.port, host: '127.0.0.1', path, agent: false }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode!));
    })
      .on('error', reject)
      .end();
  });
}

/** Everything the server sends until it closes; it does so itself, at the latest when its time-outs are over. */
function exchange(bytes: string | Buffer, port = server.port): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('close', () => resolve(text));
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  });
}
