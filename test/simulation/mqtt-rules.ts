// MQTT rules: which filters match a topic, as MQTT 5 says it, written a second time and as plainly as can be: the slow
// exact answer that the simulation holds the product to. Sections are those of the OASIS standard.

/** 4.7.1.2, 4.7.1.3: wildcards stand for whole levels, `#` for the last one alone, and nothing is empty. 4.8.2: shares. */
export function isFilter(filter: string): boolean {
  if (filter.startsWith('$share/')) {
    const [, name = '', ...inner] = filter.split('/');
    return name !== '' && !/[+#]/.test(name) && inner.length > 0 && isFilter(inner.join('/'));
  }
  if (filter === '' || filter.includes('\u0000')) return false;
  const levels = filter.split('/');
  return levels.every((level, i) => {
    if (level.includes('#')) return level === '#' && i === levels.length - 1;
    return !level.includes('+') || level === '+';
  });
}

export function isMatch(filter: string, topic: string): boolean {
  const inner = filter.startsWith('$share/') ? filter.split('/').slice(2).join('/') : filter;
  if (topic.startsWith('$') && (inner.startsWith('#') || inner.startsWith('+'))) return false; // 4.7.2
  const wanted = inner.split('/');
  const found = topic.split('/');
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true; // 4.7.1.2: the parent level is part of it.
    if (i >= found.length) return false;
    if (level !== '+' && level !== found[i]) return false;
  }
  return wanted.length === found.length;
}
