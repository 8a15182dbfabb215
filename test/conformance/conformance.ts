// Conformance: runs the checks against a server, on shards that it makes there and takes away again.

import { CHECKS, type Check, type Context } from './checks.ts';
import { type Address, Connection } from './connection.ts';
import { FLEET, made, removed, type Types } from './fixture.ts';

export interface Asked extends Types {
  readonly address: Address;
  /** '' where the server asks for none. */
  readonly adminToken: string;
  readonly readToken: string;
}

export interface Result {
  readonly name: string;
  readonly state: 'passed' | 'failed' | 'skipped';
  /** Why it failed, or was skipped; else ''. */
  readonly reason: string;
}

/** Throws when the shards cannot be made, or taken away. */
export async function conformance(asked: Asked, told: (result: Result) => void = () => {}): Promise<Result[]> {
  const { address, adminToken } = asked;
  const opened: Connection[] = [];
  const bare = async (): Promise<Connection> => {
    const connection = await Connection.open(address);
    opened.push(connection);
    return connection;
  };
  const open: Context['open'] = async ({ version = '2', token = adminToken } = {}) => {
    const connection = await bare();
    if (token !== '') await connection.ask('AUTH', token);
    if (version === '3') await connection.ask('HELLO', '3');
    await connection.ask('FS.FLEET', ...FLEET);
    return connection;
  };
  const admin = await open();
  const shards = await made(admin, asked);
  const results: Result[] = [];
  try {
    for (const check of CHECKS) {
      const result = await resultOf(check, { ...asked, shards, open, bare });
      for (const each of opened.splice(1)) each.close();
      results.push(result);
      told(result);
    }
  } finally {
    await removed(admin, shards);
    admin.close();
  }
  return results;
}

async function resultOf({ name, needs, run }: Check, context: Context): Promise<Result> {
  if (needs !== undefined && context[needs] === '') {
    const token = needs === 'readToken' ? '--read-token' : '--token';
    return { name, state: 'skipped', reason: `give ${token} of a server that has one` };
  }
  try {
    await run(context);
    return { name, state: 'passed', reason: '' };
  } catch (error) {
    return { name, state: 'failed', reason: error instanceof Error ? error.message : String(error) };
  }
}
