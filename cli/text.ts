// Text: numbers, times and tables as text for a terminal.

const WEEKDAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** `Mon 19:42:10`, UTC. */
export function clockText(millis: number): string {
  const time = new Date(millis);
  return `${WEEKDAYS[time.getUTCDay()]} ${time.toISOString().slice(11, 19)}`;
}

/** `2026-01-05 19:42:10`, UTC. */
export const instantText = (millis: number): string => new Date(millis).toISOString().slice(0, 19).replace('T', ' ');

export const numberText = (value: number, digits = 0): string =>
  value.toLocaleString('en-US', { maximumFractionDigits: digits });

export const dollarsText = (dollars: number): string =>
  `$${dollars.toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;

export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${numberText(bytes)} B`;
  if (bytes < 1024 ** 2) return `${numberText(bytes / 1024, 1)} KiB`;
  return bytes < 1024 ** 3 ? `${numberText(bytes / 1024 ** 2, 1)} MiB` : `${numberText(bytes / 1024 ** 3, 2)} GiB`;
}

/** Rows as aligned columns; the first row has the headings; columns of numbers are aligned to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  const isNumber = widths.map((_, column) =>
    rows.slice(1).every((row) => /^[-$]?[\d.,]+( ?[KMG]?i?B| %)?$/.test(row[column] ?? '') || row[column] === ''),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => (isNumber[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

/** Text from outside, made safe for a terminal: without characters that could move the cursor or forge a line. */
export const plain = (text: string): string =>
  text.replace(/[\p{Cc}\u2028\u2029]/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
