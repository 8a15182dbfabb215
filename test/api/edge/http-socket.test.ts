// The HTTP server on a real socket: bytes that are no proper request. Whatever comes, the server answers the next one.

import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type HttpServer, serveHttp } from '../../../api/edge/http-server.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { OPEN } from '../../support/http-app.ts';

const HOST = 'Host: 127.0.0.1\r\n';
const JSON_TYPE = 'Content-Type: application/json\r\n';
const GOOD = `GET /livez HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
let server: HttpServer;
beforeAll(async () => {
  server = await serveHttp(fakeViews(), { ...OPEN, peerTimeoutMs: 100, requestTimeoutMs: 300 });
});
afterAll(() => server.close(0));

describe('bytes that are no proper request', () => {
  const post = (headers: string, body: string) =>
    `POST /predict_and_shard HTTP/1.1\r\n${HOST}${JSON_TYPE}${headers}\r\n${body}`;
  const get = (headers: string) => `GET /livez HTTP/1.1\r\n${headers}\r\n`;
  for (const { name, bytes, status } of [
    { name: 'a good request', bytes: GOOD, status: 200 },
    { name: 'no HTTP', bytes: 'hello\r\n\r\n', status: 400 },
    { name: 'a TLS hello', bytes: '\x16\x03\x01\x02\x00\x01\x00\x01', status: 400 },
    { name: 'no Host', bytes: get(''), status: 400 },
    { name: 'two Hosts', bytes: get(`${HOST}Host: evil.example\r\n`), status: 400 },
    { name: 'a foreign Host', bytes: get('Host: evil.example\r\n'), status: 421 },
    { name: 'a header block over 16 KiB', bytes: get(`${HOST}X: ${'a'.repeat(17_000)}\r\n`), status: 431 },
    {
      name: '2,000 headers',
      bytes: get(HOST + Array.from({ length: 2_000 }, (_, i) => `X-${i}: aaaa\r\n`).join('')),
      status: 431,
    },
    { name: 'a folded header', bytes: get(`${HOST}X: a\r\n b\r\n`), status: 400 },
    { name: 'a bare CR in a header', bytes: get(`${HOST}X: a\rb\r\n`), status: 400 },
    { name: 'a NUL in a header', bytes: get(`${HOST}X: a\0b\r\n`), status: 400 },
    { name: 'a space before the colon', bytes: get(`${HOST}X : a\r\n`), status: 400 },
    { name: 'a negative length', bytes: post('Content-Length: -1\r\n', ''), status: 400 },
    { name: 'a length with a sign', bytes: post('Content-Length: +5\r\n', '{"a":'), status: 400 },
    { name: 'two lengths', bytes: post('Content-Length: 2\r\nContent-Length: 3\r\n', '{}'), status: 400 },
    { name: 'a length over the limit', bytes: post('Content-Length: 1048577\r\n', ''), status: 413 },
    {
      name: 'a length too short',
      bytes: post('Content-Length: 3\r\nConnection: close\r\n', '{"topic":"a"}'),
      status: 400,
    },
    {
      name: 'a length and chunks',
      bytes: post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      status: 400,
    },
    { name: 'an encoding that is not chunked', bytes: post('Transfer-Encoding: gzip, x\r\n', '{}'), status: 400 },
    {
      name: 'a chunk size that is none',
      bytes: post('Transfer-Encoding: chunked\r\n', 'zz\r\n{}\r\n0\r\n\r\n'),
      status: 400,
    },
    { name: 'TRACE', bytes: `TRACE /livez HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`, status: 405 },
    { name: 'an unknown method', bytes: `HACK /livez HTTP/1.1\r\n${HOST}\r\n`, status: 405 },
    {
      name: 'an upgrade to h2c',
      bytes: get(`${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n`),
      status: 200,
    },
    {
      name: 'an upgrade to a websocket',
      bytes: get(
        `${HOST}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n`,
      ),
      status: 200,
    },
    { name: 'a thousand ranges', bytes: get(`${HOST}Range: bytes=${'0-1,'.repeat(1_000)}0-1\r\n`), status: 200 },
    {
      name: 'an expectation nobody knows',
      bytes: post('Expect: miracles\r\nContent-Length: 2\r\n', '{}'),
      status: 417,
    },
    { name: 'a header that never ends', bytes: `GET /livez HTTP/1.1\r\n${HOST}X: a`, status: 408 },
    { name: 'a body that never ends', bytes: post('Content-Length: 100\r\n', '{"topic"'), status: 408 },
    {
      name: 'a body that was promised and never came',
      bytes: post('Expect: 100-continue\r\nContent-Length: 100\r\n', ''),
      status: 100,
    },
  ])
    test(`${name} is answered ${status}`, async () => {
      const answer = await exchange(bytes);
      expect(answer.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
      if (status === 400 || status === 408 || status === 431) expect(answer).toContain('"code":"REQUEST_INVALID"');
      expect((await exchange(GOOD)).slice(0, 12)).toBe('HTTP/1.1 200');
    });

  test('CONNECT is closed without a tunnel', async () => {
    expect(await exchange(`CONNECT 169.254.169.254:80 HTTP/1.1\r\n${HOST}\r\n`)).not.toContain('200');
    expect((await exchange(GOOD)).slice(0, 12)).toBe('HTTP/1.1 200');
  });

  test('a smuggled request is not answered', async () => {
    const inner = `GET /metrics HTTP/1.1\r\n${HOST}\r\n`;
    const answer = await exchange(post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${inner}`));
    expect(answer).not.toContain('foreshard_up');
  });

  test('a body without end is cut at the limit', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(server.port, '127.0.0.1');
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('close', () => resolve(text));
      socket.write(post('Transfer-Encoding: chunked\r\n', ''));
      const chunk = `10000\r\n${'a'.repeat(65_536)}\r\n`;
      for (let sent = 0; sent < 40; sent++) socket.write(chunk);
    });
    expect(answer.slice(0, 12)).toBe('HTTP/1.1 413');
  });

  test('a thousand pipelined requests are all answered, in order', async () => {
    const last = `GET /nothing HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
    const answer = await exchange(get(HOST).repeat(999) + last);
    expect(answer.match(/HTTP\/1\.1 200/g)).toHaveLength(999);
    expect(answer.lastIndexOf('HTTP/1.1 404')).toBeGreaterThan(answer.lastIndexOf('HTTP/1.1 200'));
  });

  test('sockets that open and reset leave nothing behind', async () => {
    for (let round = 0; round < 50; round++) {
      const socket = connect(server.port, '127.0.0.1');
      socket.on('error', () => {});
      await new Promise<void>((done) => socket.on('connect', () => done()));
      socket.write('GET /liv');
      socket.resetAndDestroy();
    }
    expect((await exchange(GOOD)).slice(0, 12)).toBe('HTTP/1.1 200');
  });

  test('a port that is taken is CONFIG_INVALID', async () => {
    const options = { ...OPEN, port: server.port };
    await expect(serveHttp(fakeViews(), options)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

test('a connection that says nothing does not keep the server from closing', async () => {
  const other = await serveHttp(fakeViews(), OPEN);
  const socket = connect(other.port, '127.0.0.1');
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  expect((await fetch(`http://127.0.0.1:${other.port}/livez`)).status).toBe(200); // It has been accepted before this.
  await other.close(3_600_000);
  await ended;
});

/** Everything the server sends until it closes; it does so itself, at the latest when its time-outs are over. */
function exchange(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(server.port, '127.0.0.1');
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
    });
    socket.on('close', () => resolve(text));
    socket.write(Buffer.from(bytes, 'latin1'));
  });
}
