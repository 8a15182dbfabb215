import { describe, expect, test } from 'vitest';
import { BadTokens, network } from '../../api/bad-tokens.ts';

describe('bad tokens', () => {
  test('ten tries are free; each further one doubles the wait, up to fifteen minutes', () => {
    const bad = new BadTokens();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 24; attempt++) {
      bad.add('10.0.0.1', 1_000);
      waits.push(bad.waitMs('10.0.0.1', 1_000));
    }
    expect(waits.slice(8, 14)).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000]);
    expect(waits.at(-1)).toBe(900_000);
    expect(bad.waitMs('10.0.0.2', 1_000)).toBe(0);
  });

  test('a wait ends, and an hour without a wrong try is forgiven', () => {
    const bad = new BadTokens();
    for (let attempt = 0; attempt < 12; attempt++) bad.add('10.0.0.1', 0);
    expect([bad.waitMs('10.0.0.1', 3_999), bad.waitMs('10.0.0.1', 4_000)]).toEqual([1, 0]);
    bad.add('10.0.0.1', 3_600_001);
    expect(bad.waitMs('10.0.0.1', 3_600_001)).toBe(0);
  });

  test('no more addresses are remembered than stated; who was wrong longest ago is forgotten', () => {
    const bad = new BadTokens(100);
    for (let attempt = 0; attempt < 12; attempt++) bad.add('10.0.0.1', 0);
    for (let host = 0; host < 99; host++) bad.add(`10.1.0.${host}`, 0);
    expect([bad.size, bad.waitMs('10.0.0.1', 0)]).toEqual([100, 4_000]);
    bad.add('10.2.0.1', 0);
    expect([bad.size, bad.waitMs('10.0.0.1', 0)]).toEqual([100, 0]);
  });

  for (const { ip, expected } of [
    { ip: '10.0.0.1', expected: '10.0.0.1' },
    { ip: '::ffff:10.0.0.1', expected: '10.0.0.1' },
    { ip: '2001:db8:1:2:3:4:5:6', expected: '2001:db8:1:2::/64' },
    { ip: '2001:db8:1:2::9', expected: '2001:db8:1:2::/64' },
    { ip: '2001:db8::9', expected: '2001:db8:0:0::/64' },
    { ip: '::1', expected: '0:0:0:0::/64' },
    { ip: 'fe80::1%eth0', expected: 'fe80:0:0:0::/64' },
  ])
    test(`${ip} counts as ${expected}`, () => expect(network(ip)).toBe(expected));
});
