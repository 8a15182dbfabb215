import { describe, expect, test } from 'vitest';
import { isLoopback } from '../../schemas/loopback.ts';

describe('only this machine reaches', () => {
  for (const { host, expected } of [
    { host: 'localhost', expected: true },
    { host: '::1', expected: true },
    { host: '127.0.0.1', expected: true },
    { host: '127.9.9.9', expected: true },
    { host: '127.255.255.254', expected: true },
    { host: '127.0.0.256', expected: false },
    { host: '127.0.0.1.example.org', expected: false },
    { host: '127.0.0', expected: false },
    { host: '127.0.0.1.nip.io', expected: false },
    { host: 'localhost.example.org', expected: false },
    { host: '0.0.0.0', expected: false },
    { host: '::', expected: false },
    { host: '10.0.0.1', expected: false },
    { host: '128.0.0.1', expected: false },
    { host: '', expected: false },
  ])
    test(`"${host}": ${expected ? 'yes' : 'no'}`, () => expect(isLoopback(host)).toBe(expected));
});
