// Topic filters: which are valid and which match, by MQTT 5.0 sections 1.5.4, 4.7 and 4.8.2. This is a plain, slow
// implementation of the specification; state/topic-trie.ts is the fast one and is tested against `matches`.
//
//   F1. `filterProblem` and `topicProblem` are total: any string gets an answer. They cost one scan and no allocation.
//   F2. All other functions take only what those two found valid; for anything else their result is undefined.
//   F3. Text is compared code unit by code unit: without normalising, and case-sensitive.
//   F4. `$share/group/filter` means `filter` wherever topics or filters are compared.
//
// Where the spec leaves a choice: control characters (U+0001..1F, U+007F..9F) and noncharacters are accepted, because the
// broker that took the SUBSCRIBE has decided already and a refusal here would lose a live subscription. A filter of more
// than LEVELS_MAX levels is refused, since each level is work for every topic that reaches it; topics may have any number.

/** MQTT 5, 1.5.4: a UTF-8 string has at most 65,535 bytes. */
const BYTES_MAX = 65_535;
/**
 * The default of EMQX. Deeper topics can still be received through `#` filters. Levels of `$share/group/` do not count.
 */
export const LEVELS_MAX = 128;

const SHARE = '$share/';
const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;

/** Why this is not a valid topic filter, in an operator's words; `undefined` for a valid one. */
export function filterProblem(filter: string): string | undefined {
  if (!filter.startsWith(SHARE)) return problemOf(filter, 0, true);
  const groupEnd = filter.indexOf('/', SHARE.length);
  if (groupEnd < 0) return 'a shared subscription needs a filter after its group';
  if (groupEnd === SHARE.length) return 'a shared subscription needs a group';
  for (let at = SHARE.length; at < groupEnd; at++) {
    const code = filter.charCodeAt(at);
    if (code === PLUS || code === HASH) return 'the group of a shared subscription must not contain + or #';
  }
  return problemOf(filter, groupEnd + 1, true);
}

/** Why a message cannot be published to this topic; `undefined` when it can. */
export function topicProblem(topic: string): string | undefined {
  return problemOf(topic, 0, false);
}

/** True of a shared subscription (4.8.2). */
export const isShared = (filter: string): boolean => filter.startsWith(SHARE);

/** `filter` without `$share/group/`. */
export function innerFilter(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf('/', SHARE.length) + 1) : filter;
}

/** True when a message to the topic goes to subscribers of the filter. A leading wildcard does not match `$` topics. */
export function matches(filter: string, topic: string): boolean {
  const wanted = levelsOf(filter);
  const levels = topic.split('/');
  if (topic.startsWith('$') && isWildcard(wanted[0]!)) return false;
  for (const [i, want] of wanted.entries()) {
    if (want === '#') return true; // Also when the topic ends just before it: a/# matches a.
    if (i >= levels.length || (want !== '+' && want !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** True when the filter matches every topic that the other one matches. */
export function covers(filter: string, other: string): boolean {
  const wide = levelsOf(filter);
  const narrow = levelsOf(other);
  // # and /# take the same topics as +/# and /+/#, since no topic is empty.
  if (narrow[0] === '#') narrow.unshift('+');
  else if (narrow[0] === '' && narrow[1] === '#') narrow.splice(1, 0, '+');
  if (narrow[0]!.startsWith('$') && isWildcard(wide[0]!)) return false;
  for (const [i, level] of wide.entries()) {
    if (level === '#') return true;
    if (i >= narrow.length || narrow[i] === '#' || (level !== '+' && level !== narrow[i])) return false;
  }
  return wide.length === narrow.length;
}

/** The filter of exactly the topics that both match; `undefined` when there is no such topic. */
export function intersect(first: string, second: string): string | undefined {
  const a = levelsOf(first);
  const b = levelsOf(second);
  const both = commonLevels(a, b)?.join('/');
  return both === '' ? undefined : both; // Of + and /#, which share the empty text alone: no topic.
}

/** True when there is a topic that both match. */
export const overlaps = (first: string, second: string): boolean => intersect(first, second) !== undefined;

/** The smallest subset of these filters that matches the same topics as all of them, in the order given. */
export function union(filters: readonly string[]): string[] {
  const kept: string[] = [];
  for (const filter of filters) {
    if (kept.some((other) => covers(other, filter))) continue;
    kept.splice(0, kept.length, ...kept.filter((other) => !covers(filter, other)), filter);
  }
  return kept;
}

/** The client that the patterns of an access rule are applied to. */
export interface Identity {
  readonly clientId: string;
  readonly username: string;
}

/** True when the access rule lets this client publish to the topic. */
export function mayPublish(pattern: string, identity: Identity, topic: string): boolean {
  const allowed = filledIn(pattern, identity);
  return allowed !== undefined && matches(allowed, topic);
}

/** True when the access rule covers everything that this filter matches; an overlap is not enough. */
export function maySubscribe(pattern: string, identity: Identity, filter: string): boolean {
  const allowed = filledIn(pattern, identity);
  return allowed !== undefined && covers(allowed, filter);
}

/**
 * The pattern with the levels %c and %u replaced by the client id and the username; `undefined` when one of them is
 * empty or is not exactly one literal level: an id of `+`, `a/b` or a leading `$SYS` must never widen a rule.
 */
function filledIn(pattern: string, { clientId, username }: Identity): string | undefined {
  const levels = pattern.split('/');
  for (const [i, level] of levels.entries()) {
    if (level !== '%c' && level !== '%u') continue;
    const value = level === '%c' ? clientId : username;
    if (value === '' || /[/+#]/.test(value) || (i === 0 && value.startsWith('$'))) return undefined;
    levels[i] = value;
  }
  return levels.join('/');
}

function commonLevels(a: readonly string[], b: readonly string[]): string[] | undefined {
  if ((a[0]!.startsWith('$') && isWildcard(b[0]!)) || (b[0]!.startsWith('$') && isWildcard(a[0]!))) return undefined;
  const both: string[] = [];
  for (let i = 0; ; i++) {
    if (a[i] === '#') return [...both, ...b.slice(i)];
    if (b[i] === '#') return [...both, ...a.slice(i)];
    const x = a[i];
    const y = b[i];
    if (x === undefined || y === undefined) return x === y ? both : undefined;
    if (x !== y && x !== '+' && y !== '+') return undefined;
    both.push(x === '+' ? y : x);
  }
}

const isWildcard = (level: string): boolean => level === '+' || level === '#';
const levelsOf = (filter: string): string[] => innerFilter(filter).split('/');

/** The scan of F1. Levels begin at `from`; the text before it is only checked for valid characters. */
function problemOf(text: string, from: number, isFilter: boolean): string | undefined {
  const length = text.length;
  if (from === length) return isFilter ? 'a topic filter must not be empty' : 'a topic must not be empty';
  if (length > BYTES_MAX) return 'a topic has at most 65,535 bytes';
  let bytes = length;
  let levels = 1;
  let levelStart = from;
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at);
    if (code === SLASH) {
      if (at < from) continue;
      levels++;
      levelStart = at + 1;
    } else if (code === PLUS || code === HASH) {
      if (!isFilter) return 'a topic to publish to must not contain + or #';
      const alone = at === levelStart && (at + 1 === length || text.charCodeAt(at + 1) === SLASH);
      if (!alone) return '+ and # must stand alone in their level';
      if (code === HASH && at + 1 !== length) return '# must be the last level';
    } else if (code === 0) {
      return 'a topic must not contain U+0000';
    } else if (code >= 0x80) {
      if (code < 0x800) bytes++;
      else {
        bytes += 2; // Three bytes for one unit; of a surrogate pair, four for two.
        if (code >= 0xd800 && code <= 0xdfff) {
          const next = at + 1 < length ? text.charCodeAt(at + 1) : 0;
          if (code >= 0xdc00 || next < 0xdc00 || next > 0xdfff)
            return 'a topic must be Unicode text: half a surrogate pair';
          at++;
        }
      }
    }
  }
  if (bytes > BYTES_MAX) return 'a topic has at most 65,535 bytes';
  if (isFilter && levels > LEVELS_MAX) return 'a topic filter has at most 128 levels';
  return undefined;
}
