// RESP connection: a socket of a shard server, and the session on it (resp-session.ts).
//
//   K1. Commands run at the same time; replies are sent in the order of the commands. A push message is sent after
//       the replies that are due by then: a client that keeps an answer is told of its end after the answer.
//   K2. When a client sends faster than it is answered, or than it reads, its socket is not read until it has caught
//       up. A client that does not read its push messages is disconnected.
//   K3. Before a client has sent a token, its commands are short.

import type { Socket } from 'node:net';
import { CALL_BYTES_MAX } from './calls.ts';
import { failure, type Reply, RespReader } from './resp.ts';
import { type RespServer, RespSession, WORDS_MAX } from './resp-session.ts';

const LIMITS = { wordsMax: WORDS_MAX + 1, bytesMax: CALL_BYTES_MAX };
/** As Redis has it. */
const STRANGER_LIMITS = { wordsMax: 10, bytesMax: 16 * 1024 };
const WAITING_MAX = 1_024;
const UNREAD_BYTES_MAX = 64 * 1024 * 1024;

/** Serves the socket until either side ends it; `received`: bytes that were read from it already. */
export function serveResp(socket: Socket, server: RespServer, id: number, received: Buffer): RespSession {
  /** Replies in order; `undefined` while one is not ready. */
  let waiting: { reply: Reply | undefined }[] = [];
  let out: Reply[] = [];
  let isScheduled = false;
  let isEnding = false;

  const flush = (): void => {
    isScheduled = false;
    if (out.length === 0 || socket.destroyed) return;
    const bytes = out.join('');
    out = [];
    if (!socket.write(bytes)) socket.pause(); // K2
    if (socket.writableLength > UNREAD_BYTES_MAX) socket.destroy();
    else if (isEnding && waiting.length === 0) socket.end();
  };
  const send = (reply: Reply): void => {
    out.push(reply);
    if (isScheduled) return;
    isScheduled = true;
    queueMicrotask(flush);
  };
  /** K1. */
  const settle = (): void => {
    let done = 0;
    while (done < waiting.length && waiting[done]!.reply !== undefined) send(waiting[done++]!.reply!);
    if (done === 0) return;
    waiting = waiting.slice(done);
    if (waiting.length < WAITING_MAX && socket.isPaused() && !socket.writableNeedDrain) socket.resume();
  };

  const tell = (reply: Reply): void => {
    if (waiting.length === 0) send(reply);
    else waiting.push({ reply });
  };

  const session = new RespSession({
    id,
    server,
    send: tell,
    end: () => {
      isEnding = true;
    },
  });
  const reader = new RespReader(() => (session.isKnown ? LIMITS : STRANGER_LIMITS)); // K3
  const run = (words: readonly Buffer[]): void => {
    if (isEnding) return;
    const answer = session.execute(words);
    if (typeof answer === 'string') {
      tell(answer);
      return;
    }
    const place: (typeof waiting)[number] = { reply: undefined };
    waiting.push(place);
    void answer.then((reply) => {
      place.reply = reply;
      settle();
    });
  };
  const take = (chunk: Buffer): void => {
    const problem = reader.push(chunk, run);
    if (problem !== undefined && !isEnding) {
      isEnding = true;
      tell(failure('ERR', `Protocol error: ${problem}`));
    }
    if (isEnding || waiting.length >= WAITING_MAX) socket.pause(); // K2
  };

  socket.setNoDelay(true);
  socket.on('data', take);
  socket.on('drain', () => {
    if (!isEnding && waiting.length < WAITING_MAX) socket.resume();
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => session.close());
  take(received);
  return session;
}
