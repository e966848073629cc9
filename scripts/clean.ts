/** Removes build output: node scripts/clean.ts DIR… (inside the repository). */
import { rmSync } from 'node:fs';
import { join } from 'node:path';

for (const dir of process.argv.slice(2))
  rmSync(join(import.meta.dirname, '..', dir), { recursive: true, force: true });
