// Exchange: how brokers hand messages to each other.
//
//   N1. Messages of one sender reach each receiver in the order in which they were sent, or not at all.
//   N2. `send` resolves when the message cannot be lost any more by the sender. A receiver that takes no more makes the
//       sender wait.

/** One broker's end of an exchange. */
export interface Peers {
  /** Sends to these brokers, or to all others. One that is not there is passed over. */
  send(to: readonly string[] | 'all', message: Buffer): Promise<void>;
  /**
   * Takes what others send; the next message of a sender comes after the promise has resolved. Resolves when what was
   * sent before has been taken.
   */
  receive(take: (message: Buffer) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Of a broker that is the only one. */
export const NO_PEERS: Peers = { send: async () => {}, receive: async () => {}, close: async () => {} };

/** Brokers in one process. */
export class LocalExchange {
  readonly #takers = new Map<string, (message: Buffer) => Promise<void>>();

  peersOf(brokerId: string): Peers {
    return {
      send: async (to, message) => {
        const others = to === 'all' ? [...this.#takers.keys()] : to;
        const takers = others.flatMap((each) => (each === brokerId ? [] : (this.#takers.get(each) ?? [])));
        await Promise.all(takers.map((take) => take(message)));
      },
      receive: async (take) => {
        let last = Promise.resolve();
        this.#takers.set(brokerId, (message) => {
          last = last.then(() => take(message)); // N1
          return last;
        });
      },
      close: async () => {
        this.#takers.delete(brokerId);
      },
    };
  }
}
