// A shard store that fails when it is told to: the nth call of a method throws STORE_UNAVAILABLE before anything is done,
// after everything is done, or with the first half of the rows written. `fired` counts the faults that hit, so that a
// test whose fault never hits can fail.

import type { ShardStore } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import type { SubscriptionRow } from '../../state/effects.ts';

type Method = Exclude<keyof ShardStore, 'kind' | 'close'>;

export interface Fault {
  readonly method: Method;
  /** 1 is the first call of the method. */
  readonly call: number;
  /** `half` is for `write` alone. */
  readonly when: 'before' | 'after' | 'half';
}

export interface FaultyStore extends ShardStore {
  readonly fired: number;
}

export function faultyStore(store: ShardStore, faults: readonly Fault[]): FaultyStore {
  const calls = new Map<string, number>();
  let fired = 0;
  const failure = (fault: Fault): AppError => {
    fired += 1;
    return new AppError('STORE_UNAVAILABLE', `planted: ${fault.method} ${fault.when} call ${fault.call}`);
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === 'fired') return fired;
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (name === 'close') return () => target.close();
      return async (...given: unknown[]) => {
        const call = (calls.get(String(name)) ?? 0) + 1;
        calls.set(String(name), call);
        const fault = faults.find((each) => each.method === name && each.call === call);
        if (fault?.when === 'before') throw failure(fault);
        if (fault?.when === 'half') {
          const rows = given[0] as readonly SubscriptionRow[];
          await target.write(rows.slice(0, rows.length >> 1));
          throw failure(fault);
        }
        const result = await value.apply(target, given);
        if (fault !== undefined) throw failure(fault);
        return result;
      };
    },
  }) as FaultyStore;
}
