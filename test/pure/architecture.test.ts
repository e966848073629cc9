import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** Room → what it may import, from the table in ARCHITECTURE.md. */
function documented(): Record<string, string[]> {
  const rows = read('ARCHITECTURE.md').matchAll(/^\| `(\w+)` \| .* \| (nothing|(?:`\w+`(?:, )?)+) \|$/gm);
  return Object.fromEntries([...rows].map(([, room, list]) => [room, list.match(/(?<=`)\w+(?=`)/g) ?? []]));
}

/** The same from the script that enforces it. */
function enforced(): Record<string, string[]> {
  const [, table] = /const ROOMS[^=]*= \{\n([\s\S]*?)\n\};/.exec(read('scripts/check-layers.ts')) ?? [];
  const rows = table.matchAll(/^ {2}'?([\w-]+)'?: \[(.*)\],$/gm);
  return Object.fromEntries(
    [...rows].map(([, room, list]) => [room, list.match(/(?<=')[\w-]+(?=')/g) ?? []]),
  );
}

test('ARCHITECTURE.md lists the rooms and imports that scripts/check-layers.ts enforces', () => {
  expect(Object.keys(enforced()).length).toBeGreaterThan(10);
  expect(documented()).toEqual(enforced());
});

test('every room that is documented or built is both', () => {
  const folders = readdirSync(new URL('../../src', import.meta.url), { withFileTypes: true });
  for (const folder of folders.filter((f) => f.isDirectory()))
    expect(documented()).toHaveProperty(folder.name);
});

test('files that ARCHITECTURE.md points to are there', () => {
  const paths = [...read('ARCHITECTURE.md').matchAll(/(?:src|test|scripts)\/[\w./-]*\w\.ts/g)].map(
    ([path]) => path,
  );
  expect(paths.length).toBeGreaterThan(5);
  for (const path of paths) expect(() => read(path), path).not.toThrow();
});
