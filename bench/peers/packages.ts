/** The peers' packages: installed beside the bench alone, their scripts never run. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BENCH: string = fileURLToPath(new URL('..', import.meta.url));

interface Manifest {
  readonly version: string;
  readonly devDependencies: Readonly<Record<string, string>>;
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')) as Manifest;
}

/** Versions of the peers that are here; undefined for those that could not be had. */
export type Versions = Readonly<Record<string, string | undefined>>;

/** Installs what `bench/package.json` names and is missing, and says which versions there are now. */
export function installPeers(): Versions {
  const names = Object.keys(manifest(BENCH).devDependencies);
  const found = (): Versions => Object.fromEntries(names.map((name) => [name, installed(name)]));
  if (Object.values(found()).includes(undefined)) {
    console.log('installing what is measured against, into bench/node_modules');
    const options = ['--ignore-scripts', '--no-audit', '--no-fund'];
    spawnSync('npm', ['ci', ...options], { cwd: BENCH, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const versions = found();
  for (const [name, version] of Object.entries(versions))
    if (version === undefined) console.log(`could not be had: ${name}`);
  return versions;
}

function installed(name: string): string | undefined {
  const folder = `${BENCH}node_modules/${name}`;
  return existsSync(`${folder}/package.json`) ? manifest(folder).version : undefined;
}

/** The path of a file in a peer's package. */
export function peerFile(name: string): string {
  return `${BENCH}node_modules/${name}`;
}
