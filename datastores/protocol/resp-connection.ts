// RESP connection: a socket of a shard server, and the session on it (resp-session.ts).
//
//   K1. Commands run side by side; replies go out in the order of the commands. What is told unasked takes its place behind
//       the replies that are due by then: a client that keeps an answer hears of its end after the answer.
//   K2. A client that sends faster than it is answered, or than it reads, is not read from until it has caught up. One that
//       does not read what it is told is let go.

import type { Socket } from 'node:net';
import { failure, type Reply, RespReader } from './resp.ts';
import { type RespServer, RespSession, WORDS_MAX } from './resp-session.ts';

/** A write of 10,000 rows with texts of some hundred bytes; longer ones are sent in smaller pieces. */
const LIMITS = { wordsMax: WORDS_MAX + 1, bytesMax: 16 * 1024 * 1024 };
const WAITING_MAX = 1_024;
const UNREAD_BYTES_MAX = 64 * 1024 * 1024;

/** Serves the socket until either side ends it; `received`: what has been read of it already. */
export function serveResp(socket: Socket, server: RespServer, id: number, received: Buffer): RespSession {
  const reader = new RespReader(LIMITS);
  /** Replies in order; `undefined` while one is not there yet. */
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
  const take = (chunk: Buffer): void => {
    const { commands, problem } = reader.push(chunk);
    for (const words of commands) {
      if (isEnding) return;
      const answer = session.execute(words);
      if (typeof answer === 'string') {
        tell(answer);
        continue;
      }
      const place: (typeof waiting)[number] = { reply: undefined };
      waiting.push(place);
      void answer.then((reply) => {
        place.reply = reply;
        settle();
      });
    }
    if (problem !== undefined) {
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
