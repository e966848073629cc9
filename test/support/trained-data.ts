import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Where trained weights and real data lie: `ZEROPOINT_DATA`, or `shared/data` beside the repository. */
export const DATA: string = process.env.ZEROPOINT_DATA ?? join(import.meta.dirname, '../../../shared/data');

/** True where all these files are there; where not, prints what is skipped and why. */
export function haveData(what: string, ...files: readonly string[]): boolean {
  const missing = files.filter((file) => !existsSync(join(DATA, file)));
  if (missing.length) {
    console.log(`skipped: ${what} (${DATA} lacks ${missing.join(', ')}; set ZEROPOINT_DATA)`);
  }
  return missing.length === 0;
}
