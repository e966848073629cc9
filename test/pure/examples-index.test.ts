import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('examples/README.md lists every example, and nothing else', () => {
  const folder = join(import.meta.dirname, '../../examples');
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));
  const text = readFileSync(join(folder, 'README.md'), 'utf8');
  const listed = [...text.matchAll(/\[([\w-]+)\]\(([\w-]+)\.ts\)/g)];
  for (const [, title, file] of listed) expect(title).toBe(file);
  expect(listed.map(([, name]) => `${name}.ts`).sort()).toEqual(files.sort());
});
