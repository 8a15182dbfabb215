import { expect, test } from 'vitest';
import { DEFAULT_FLEET, Fleet } from '../../evaluation/fleet.ts';
import { eventTime } from '../../schemas/ids.ts';
import { placeOf } from '../../state/keys.ts';

test('what is live is what all events so far leave, and its patterns are those that match other topics', () => {
  const fleet = new Fleet({ ...DEFAULT_FLEET, filters: 40, wildcardShare: 0.3, clients: 20, unsubscribeShare: 0.5 });
  const scanned = new Map<string, Set<string>>();
  let emptied = 0;
  for (let second = 0; second < 3_000; second++) {
    const { action, topicFilter, clientId } = fleet.next(eventTime(second * 1_000));
    const clients = scanned.get(topicFilter) ?? [];
    if (action === 'SUBSCRIBE') scanned.set(topicFilter, new Set([...clients, clientId]));
    else scanned.set(topicFilter, new Set([...clients].filter((each) => each !== clientId)));
    if (scanned.get(topicFilter)!.size === 0) {
      scanned.delete(topicFilter);
      emptied++;
    }
    if (second % 100 !== 0) continue;
    expect(new Map([...fleet.live].map(([filter, each]) => [filter, new Set(each.keys())]))).toEqual(scanned);
    expect(fleet.livePatterns).toEqual(new Set([...scanned.keys()].filter((filter) => placeOf(filter).trie)));
  }
  expect(emptied).toBeGreaterThan(10);
});
