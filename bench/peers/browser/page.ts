/** Runs inside Chromium: our programs and LiteRT.js in turn, one run each per round. */
import { readProgram } from '../../../src/runtime/index.ts';
import { tensor } from '../../../src/tensor/creation.ts';

/** Milliseconds of every round, by contestant. */
export type PageTimes = Record<string, number[]>;

interface LiteRt {
  loadLiteRt(path: string, options: object): Promise<unknown>;
  loadAndCompile(
    path: string,
    options: object,
  ): Promise<{
    run(input: unknown): Promise<{ data(): Promise<ArrayLike<number>>; delete(): void }[]>;
  }>;
  readonly Tensor: new (data: Uint8Array, shape: readonly number[]) => unknown;
}

const SIZE = 224;

async function bytes(url: string): Promise<Uint8Array> {
  return new Uint8Array(await (await fetch(url)).arrayBuffer());
}

async function ours(url: string): Promise<() => unknown> {
  const program = readProgram(await bytes(url));
  const noise = Float32Array.from({ length: 3 * SIZE * SIZE }, (_, i) => Math.sin(i * 12.9898));
  const image = tensor(noise, { shape: [1, 3, SIZE, SIZE] });
  return () => program.run(image);
}

async function liteRt(): Promise<() => unknown> {
  const lib = (await import('@litertjs/core' as string)) as LiteRt;
  await lib.loadLiteRt(new URL('/litert/', location.href).href, {});
  const model = await lib.loadAndCompile(new URL('/model.tflite', location.href).href, {
    accelerator: 'wasm',
  });
  const image = new lib.Tensor(
    Uint8Array.from({ length: 3 * SIZE * SIZE }, (_, i) => (i * 2654435761) >>> 24),
    [1, SIZE, SIZE, 3],
  );
  return async () => {
    for (const output of await model.run(image)) {
      await output.data();
      output.delete();
    }
  };
}

/** Rounds of all contestants that load; `failed` says why others did not. */
async function measure(rounds: number): Promise<{ times: PageTimes; failed: Record<string, string> }> {
  const failed: Record<string, string> = {};
  const runs = new Map<string, () => unknown>();
  const makers: [string, () => Promise<() => unknown>][] = [
    ['zeropoint fp32', () => ours('/fp32')],
    ['zeropoint int8', () => ours('/int8')],
    ['LiteRT.js int8', liteRt],
  ];
  for (const [name, make] of makers) {
    try {
      const run = await make();
      for (let i = 0; i < 20; i++) await run();
      runs.set(name, run);
    } catch (error) {
      failed[name] = String(error);
    }
  }
  const times: PageTimes = Object.fromEntries([...runs.keys()].map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of runs) {
      const start = performance.now();
      await run();
      times[name].push(performance.now() - start);
    }
  }
  return { times, failed };
}

Object.assign(globalThis, { measure });
