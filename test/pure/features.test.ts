import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as zeropoint from '../../src/index.ts';
import * as workflow from '../../src/workflow/index.ts';

/** What users can import: the root with its namespaces, and the subpath that the root does not repeat. */
const surface: Readonly<Record<string, unknown>> = { ...zeropoint, workflow };

interface Row {
  readonly line: number;
  readonly feature: string;
  readonly exports: readonly string[];
  readonly status: string;
}

/** The rows of every table of FEATURES.md: feature | PyTorch | export here | status | note. */
function readRows(): Row[] {
  const text = readFileSync(new URL('../../FEATURES.md', import.meta.url), 'utf8');
  return text.split('\n').flatMap((content, i) => {
    const cells = content.split('|').map((cell) => cell.trim());
    if (!content.startsWith('|') || cells[1] === 'feature' || /^-+$/.test(cells[1])) return [];
    expect(cells, `FEATURES.md:${i + 1} has five cells`).toHaveLength(7);
    const [, feature, , exports, status] = cells;
    return [
      { line: i + 1, feature, exports: [...exports.matchAll(/`([^`]+)`/g)].map(([, name]) => name), status },
    ];
  });
}

/** Whether a dotted path leads somewhere: through namespaces, then to members of classes, static ones included. */
function exists(path: string): boolean {
  let at: unknown = surface;
  for (const key of path.split('.')) {
    if ((typeof at !== 'object' && typeof at !== 'function') || at === null) return false;
    if (key in at) at = (at as Record<string, unknown>)[key];
    else {
      const prototype: unknown = typeof at === 'function' ? at.prototype : undefined;
      if (typeof prototype !== 'object' || prototype === null || !(key in prototype)) return false;
      at = undefined;
    }
  }
  return true;
}

describe('FEATURES.md tells the truth about the public surface', () => {
  const rows = readRows();

  test('has its tables', () => {
    expect(rows.length).toBeGreaterThan(60);
    expect(new Set(rows.map((r) => r.status))).toEqual(new Set(['yes', 'partly', 'no']));
  });

  test.each(rows.map((r) => [r.line, r.feature, r] as const))('line %d: %s', (_, __, row) => {
    expect(row.exports.length, 'names at least one export in backquotes').toBeGreaterThan(0);
    for (const path of row.exports) {
      if (row.status === 'no') {
        expect(exists(path), `${path} exists: this row should say yes or partly`).toBe(false);
      } else expect(exists(path), `${path} does not exist: export it, or say no`).toBe(true);
    }
  });

  test('finds members, and misses what is not there', () => {
    for (const path of [
      'nn.Conv2d',
      'Tensor.qScale',
      'nn.quantized.Conv2d.fromFloat',
      'quantization.MinMaxObserver.withArgs',
    ])
      expect(exists(path), path).toBe(true);
    for (const path of [
      'nn.Conv4d',
      'Tensor.qWeight',
      'nn.quantized.Conv2d.fromInt',
      'toString.x.y',
      'nn.nn.Conv2d',
    ])
      expect(exists(path), path).toBe(false);
  });
});
