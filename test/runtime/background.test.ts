import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { KernelError, ShapeError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { loadSafetensors, saveSafetensors } from '../../src/io/index.ts';
import { Conv2d, Flatten, Linear, Module, ReLU, Sequential } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import { convert, getDefaultQConfig, prepare, QuantWrapper } from '../../src/quantization/index.ts';
import { type Program, setNumThreads, trace } from '../../src/runtime/index.ts';
import { rand, randn } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { bits } from '../support/same-bits.ts';

afterEach(() => setNumThreads(1));

function int8Program(): Program {
  manualSeed(0);
  const x = rand([2, 3, 24, 24]);
  const model = new QuantWrapper(
    new Sequential(
      new Conv2d(3, 64, 3),
      new ReLU(),
      new Conv2d(64, 64, 3),
      new Flatten(),
      new Linear(64 * 400, 5),
    ),
  ).eval();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(x));
  return trace(convert(prepared), [x]);
}

class Structured extends Module<[Tensor, { readonly y: Tensor }], unknown> {
  fc: Linear = new Linear(4, 4);
  forward(x: Tensor, { y }: { readonly y: Tensor }): unknown {
    return { sum: this.fc(x).add(y), parts: [x.t(), y.gt(0), x.sort()] };
  }
}

class Doubled extends Module<[Tensor], Tensor> {
  forward(x: Tensor): Tensor {
    return x.add(x);
  }
}

describe('runAsync', () => {
  test('gives what run gives, on any number of threads, many calls at a time', async () => {
    using program = int8Program();
    const inputs = [1, 2, 3, 2, 1].map((n) => rand([n, 3, 24, 24]));
    const expected = inputs.map((x) => bits(program.run(x)));
    for (const threads of [1, 2]) {
      await setNumThreads(threads);
      const got = await Promise.all(inputs.map((x) => program.runAsync(x)));
      expect(got.map(bits)).toEqual(expected);
    }
  });

  test('structures, views and every dtype travel, and inputs stay with the caller', async () => {
    using program = trace(new Structured(), [randn([3, 4]), { y: randn([3, 4]) }]);
    const wide = randn([3, 9]);
    const x = wide.narrow(1, 2, 4);
    const y = randn([4, 3]).t();
    const expected = bits(program.run(x, { y }));
    expect(bits(await program.runAsync(x, { y }))).toEqual(expected);
    expect(bits(program.run(x, { y }))).toEqual(expected);
  });

  test('tensors of a file, of a Buffer and of one memory stay whole when they are sent', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'zeropoint-background-'));
    const path = join(folder, 'x.safetensors');
    const names = ['x', 'y', 'other'];
    await saveSafetensors(new Map(names.map((name) => [name, randn([3, 4])])), path);
    const { dict } = await loadSafetensors(path);
    await rm(folder, { recursive: true });
    const [x, y, other] = names.map((name) => dict.get(name) as Tensor);
    expect(x.storage.buffer).toBe(other.storage.buffer);
    const before = bits([x, y, other]);
    using program = trace(new Structured(), [x, { y }]);
    const expected = bits(program.run(x, { y }));
    expect(bits(await program.runAsync(x, { y }))).toEqual(expected);
    expect(bits([x, y, other])).toEqual(before);

    const bytes = Buffer.alloc(1 << 16).fill(7);
    const pixels = new Tensor({ storage: bytes, shape: [4, 1 << 14], dtype: 'uint8' });
    using adding = trace(new Doubled(), [pixels]);
    const doubled: Tensor = await adding.runAsync(pixels);
    expect([doubled.shape, doubled.data[5], bytes.length, bytes[5]]).toEqual([[4, 1 << 14], 14, 1 << 16, 7]);
  });

  test('rejects with the error that run throws', async () => {
    using program = int8Program();
    const wrong = rand([1, 4, 24, 24]);
    let thrown: unknown;
    try {
      program.run(wrong);
    } catch (error) {
      thrown = error;
    }
    const rejected = await program.runAsync(wrong).catch((error: unknown) => error);
    expect(rejected).toBeInstanceOf(ShapeError);
    expect(String(rejected)).toBe(String(thrown));
    expect({ ...(rejected as object) }).toEqual({ ...(thrown as object) });
    expect(bits(await program.runAsync(rand([1, 3, 24, 24])))).toHaveLength(1);
  });

  test('a program that is freed, or whose worker dies, rejects what is under way and starts anew', async () => {
    using program = int8Program();
    const x = rand([1, 3, 24, 24]);
    const expected = bits(program.run(x));
    const freed = program.runAsync(x).catch((error: unknown) => error);
    program.free();
    expect(await freed).toBeInstanceOf(KernelError);
    expect(String(await freed)).toMatch(/the program was freed/);
    expect(bits(await program.runAsync(x))).toEqual(expected);

    const terminate = vi.spyOn(Worker.prototype, 'postMessage').mockImplementationOnce(function (
      this: Worker,
    ) {
      void this.terminate();
    });
    const lost = await program.runAsync(x).catch((error: unknown) => error);
    terminate.mockRestore();
    expect(lost).toBeInstanceOf(KernelError);
    expect(String(lost)).toMatch(/a worker that ended \(exit code 1\)/);
    expect(bits(await program.runAsync(x))).toEqual(expected);
  });

  test('leaves the caller free meanwhile, and does not keep a process alive', () => {
    const script = `
      const { jit, nn, randn } = await import(${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)});
      const x = randn([64, 1024]);
      const program = jit.trace(new nn.Sequential(...Array.from({ length: 8 }, () => new nn.Linear(1024, 1024))), [x]);
      await program.runAsync(x);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      await program.runAsync(x);
      clearInterval(timer);
      console.log(ticks);
    `;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { timeout: 60_000 });
    expect(Number(String(out))).toBeGreaterThan(2);
  });
});
