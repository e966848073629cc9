/** How a column is set. */
export interface Column {
  readonly title: string;
  /** Numbers to the right, words to the left. */
  readonly align?: 'left' | 'right';
}

/**
 * A plain-text table with a rule under its head.
 *
 * @example
 * formatTable([{ title: 'model' }, { title: 'bytes', align: 'right' }], [['float', '1,024'], ['int8', '256']]);
 */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, c) =>
    Math.max(column.title.length, ...rows.map((row) => row[c].length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, c) => (columns[c].align === 'right' ? cell.padStart(widths[c]) : cell.padEnd(widths[c])))
      .join('  ')
      .trimEnd();
  return [
    line(columns.map((c) => c.title)),
    widths.map((w) => '─'.repeat(w)).join('  '),
    ...rows.map(line),
  ].join('\n');
}

/** A byte count a person can read: `1.03 MB`. Decimal units, as file managers and PyTorch's documents count. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
