// Kafka proxy: stands between a client and a broker, and loses what it is told to lose. The broker advertises it, so that
// clients stay behind it.

import { connect, createServer, type Server, type Socket } from 'node:net';

/** Kafka's number of the request that ends a transaction. */
export const END_TRANSACTION = 26;

export interface KafkaProxy {
  /** The next request of this kind is lost (`before` the broker has it) or its answer is (`after`); the connection ends. */
  cutNext(apiKey: number, when: 'before' | 'after'): void;
  /** How many requests were cut. */
  readonly cuts: number;
  close(): Promise<void>;
}

export async function kafkaProxy(port: number, brokerPort: number): Promise<KafkaProxy> {
  const sockets = new Set<Socket>();
  let fault: { apiKey: number; when: 'before' | 'after' } | undefined;
  let cuts = 0;

  const server: Server = createServer((client) => {
    const broker = connect(brokerPort, '127.0.0.1');
    const end = (): void => {
      client.destroy();
      broker.destroy();
    };
    for (const socket of [client, broker]) {
      sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        sockets.delete(socket);
        end();
      });
    }
    let mute = false;
    let pending = Buffer.alloc(0);
    client.on('data', (bytes: Buffer) => {
      pending = Buffer.concat([pending, bytes]);
      while (pending.length >= 6 && pending.length >= 4 + pending.readInt32BE(0)) {
        const request = pending.subarray(0, 4 + pending.readInt32BE(0));
        pending = pending.subarray(request.length);
        if (fault !== undefined && request.readInt16BE(4) === fault.apiKey) {
          const { when } = fault;
          fault = undefined;
          cuts++;
          if (when === 'before') return end();
          mute = true;
        }
        broker.write(request);
      }
    });
    broker.on('data', (bytes: Buffer) => {
      if (mute)
        end(); // The broker has done it, and nobody hears.
      else client.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    cutNext(apiKey, when) {
      fault = { apiKey, when };
    },
    get cuts() {
      return cuts;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
