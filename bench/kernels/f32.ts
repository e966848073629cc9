import { pathToFileURL } from 'node:url';
import { createEngine, type Engine, type KernelBuild, supportedBuilds } from '../../src/kernels/engine.ts';
import { convForwardF32, convInputGradF32 } from '../../src/kernels/f32/conv.ts';
import { convWeightGradF32 } from '../../src/kernels/f32/conv-weight-grad.ts';
import { addF32, reluF32, reluGradF32 } from '../../src/kernels/f32/elementwise.ts';
import { bmmF32, gemmF32 } from '../../src/kernels/f32/gemm.ts';
import { batchNormBackwardF32, batchNormForwardF32 } from '../../src/kernels/f32/normalization.ts';
import { adamStepF32, sgdStepF32 } from '../../src/kernels/f32/optimizer.ts';
import { takesPairs } from '../../src/kernels/f32/panels.ts';
import { maxPoolF32 } from '../../src/kernels/f32/pooling.ts';
import { softmaxF32 } from '../../src/kernels/f32/softmax.ts';
import type { ConvGeometryF32 } from '../../src/kernels/f32/window.ts';

/** One line of a kernel table: something to run, and what a single run amounts to. */
export interface KernelBenchmark {
  readonly name: string;
  /** Multiply-accumulates (unit GMAC/s) or bytes of arguments and results (unit GB/s) of one run. */
  readonly work: number;
  readonly unit: 'GMAC/s' | 'GB/s';
  run(): void;
}

function floats(length: number): Float32Array {
  let state = length + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2147483648;
  });
}

function square(
  batch: number,
  inChannels: number,
  outChannels: number,
  size: number,
  kernel: number,
  stride: number,
  groups: number = 1,
): ConvGeometryF32 {
  const padding = (kernel - 1) >> 1;
  const both = (x: number): number[] => [x, x];
  return {
    batch,
    inChannels,
    outChannels,
    groups,
    inSize: both(size),
    outSize: both(Math.floor((size + 2 * padding - kernel) / stride) + 1),
    kernel: both(kernel),
    stride: both(stride),
    padding: both(padding),
    dilation: both(1),
  };
}

function pixels(size: readonly number[]): number {
  return size[0] * size[1];
}

function macs(g: ConvGeometryF32): number {
  return (g.batch * pixels(g.outSize) * g.outChannels * g.inChannels * pixels(g.kernel)) / g.groups;
}

/** Operands of a convolution and its three products. */
class ConvWork {
  readonly geometry: ConvGeometryF32;
  readonly input: Float32Array;
  readonly output: Float32Array;
  readonly weight: Float32Array;
  readonly #engine: Engine;

  constructor(geometry: ConvGeometryF32, engine: Engine) {
    this.geometry = geometry;
    this.#engine = engine;
    this.input = floats(geometry.batch * pixels(geometry.inSize) * geometry.inChannels);
    this.output = floats(geometry.batch * pixels(geometry.outSize) * geometry.outChannels);
    this.weight = floats(
      (geometry.outChannels * geometry.inChannels * pixels(geometry.kernel)) / geometry.groups,
    );
  }

  forward(): Float32Array {
    return convForwardF32(this.input, this.weight, this.geometry, { engine: this.#engine });
  }

  inputGrad(): Float32Array {
    return convInputGradF32(this.output, this.weight, this.geometry, { engine: this.#engine });
  }

  weightGrad(): Float32Array {
    return convWeightGradF32(this.input, this.output, this.geometry, { engine: this.#engine });
  }
}

/** [count, geometry] of every convolution of the CIFAR ResNet-20 (He et al. 2015, 1×1 shortcuts) at batch 64. */
function resnet20Layers(): [number, ConvGeometryF32][] {
  const batch = 64;
  return [
    [1, square(batch, 3, 16, 32, 3, 1)],
    [6, square(batch, 16, 16, 32, 3, 1)],
    [1, square(batch, 16, 32, 32, 3, 2)],
    [1, square(batch, 16, 32, 32, 1, 2)],
    [5, square(batch, 32, 32, 16, 3, 1)],
    [1, square(batch, 32, 64, 16, 3, 2)],
    [1, square(batch, 32, 64, 16, 1, 2)],
    [5, square(batch, 64, 64, 8, 3, 1)],
  ];
}

/**
 * The kernels of one training step of ResNet-20 at batch 64: convolution, batch norm and ReLU in both directions, residual sums, the
 * classifier and SGD with momentum. The first layer needs no input gradient.
 */
function resnet20Step(engine: Engine): KernelBenchmark {
  const layers = resnet20Layers().map(([count, geometry]) => ({
    count,
    conv: new ConvWork(geometry, engine),
  }));
  let work = 0;
  for (const [count, g] of resnet20Layers()) work += count * macs(g) * (g.inChannels === 3 ? 2 : 3);
  const [features, classes] = [floats(64 * 64), floats(640)];
  const run = (): void => {
    for (const { count, conv } of layers) {
      const { geometry: g, output, weight } = conv;
      const rows = output.length / g.outChannels;
      const ones = new Float32Array(g.outChannels).fill(1);
      for (let i = 0; i < count; i++) {
        const x = conv.forward();
        const { out, mean, invStd } = batchNormForwardF32({
          x,
          rows,
          channels: g.outChannels,
          gamma: ones,
          beta: ones,
          eps: 1e-5,
          engine,
        });
        const isShortcut = g.kernel[0] === 1;
        const y = isShortcut ? addF32(out, output, { relu: true, engine }) : reluF32(out, { engine });
        const gradOut = reluGradF32(output, y, { engine });
        batchNormBackwardF32({
          gradOut,
          x,
          rows,
          channels: g.outChannels,
          mean,
          invStd,
          gamma: ones,
          engine,
        });
        if (g.inChannels !== 3) conv.inputGrad();
        const grad = conv.weightGrad();
        sgdStepF32({
          param: weight,
          grad,
          momentumBuffer: new Float32Array(grad.length),
          lr: 1e-6,
          momentum: 0.9,
          weightDecay: 1e-4,
          engine,
        });
        // Every second convolution of a block ends in a residual sum, whose gradient is summed on the way back.
        if (!isShortcut && i % 2 === 1) {
          addF32(out, output, { engine });
          addF32(out, output, { engine });
        }
      }
    }
    gemmF32({ m: 64, n: 10, k: 64, a: features, b: classes, transB: true, engine });
    gemmF32({ m: 64, n: 64, k: 10, a: floats(640), b: classes, engine });
    gemmF32({ m: 10, n: 64, k: 64, a: floats(640), b: features, transA: true, engine });
  };
  return { name: 'resnet20 step kernels, batch 64', work, unit: 'GMAC/s', run };
}

/** Largest product rate of the machine: the bare kernel over a few rows and two panels that stay in L1. */
function peak(engine: Engine): KernelBenchmark {
  const [rows, columns, k] = [60, 16, 128];
  const repeats = 256;
  // Lives as long as the benchmark, like a packed weight.
  const { ptr } = engine.alloc(
    (rows * 2 + rows * k + columns * k + rows * columns + columns + 1) * 4,
    'arena',
  );
  const [rowTable, outTable] = [ptr, ptr + rows * 4];
  const input = outTable + rows * 4;
  const panels = input + rows * k * 4;
  const output = panels + columns * k * 4;
  const bias = output + rows * columns * 4;
  const runTable = bias + columns * 4;
  const { u32, f32 } = engine.heap;
  for (let r = 0; r < rows; r++) {
    u32[(rowTable >> 2) + r] = r * k * 4;
    u32[(outTable >> 2) + r] = r * columns * 4;
  }
  f32.fill(0.5, input >> 2, runTable >> 2);
  u32[runTable >> 2] = 0;
  const multiply = (): void =>
    engine.kernels.f32_igemm(
      rows,
      rowTable,
      input,
      outTable,
      output,
      runTable,
      1,
      k,
      panels,
      k * 32,
      columns,
      bias,
      false,
      -Infinity,
      Infinity,
      rows,
      takesPairs(engine),
    );
  return {
    name: `bare kernel ${rows}×${columns}×${k} (L1)`,
    work: repeats * rows * columns * k,
    unit: 'GMAC/s',
    run: () => {
      for (let i = 0; i < repeats; i++) multiply();
    },
  };
}

function gemm(
  engine: Engine,
  m: number,
  n: number,
  k: number,
  layout: 'ab' | 'abT' | 'aTb',
): KernelBenchmark {
  const [a, b, out] = [floats(m * k), floats(k * n), new Float32Array(m * n)];
  const repeats = Math.max(1, Math.ceil(2e7 / (m * n * k)));
  return {
    name: `gemm ${m}×${n}×${k} ${layout}`,
    work: repeats * m * n * k,
    unit: 'GMAC/s',
    run: () => {
      for (let i = 0; i < repeats; i++) {
        gemmF32({ m, n, k, a, b, out, transA: layout === 'aTb', transB: layout === 'abT', engine });
      }
    },
  };
}

function convolutions(engine: Engine, name: string, geometry: ConvGeometryF32): KernelBenchmark[] {
  const conv = new ConvWork(geometry, engine);
  const row = (part: string, run: () => void): KernelBenchmark => ({
    name: `${name} ${part}`,
    work: macs(geometry),
    unit: 'GMAC/s',
    run,
  });
  return [
    row('forward', () => conv.forward()),
    row('input grad', () => conv.inputGrad()),
    row('weight grad', () => conv.weightGrad()),
  ];
}

function bandwidth(engine: Engine): KernelBenchmark[] {
  const [rows, channels] = [65536, 16];
  const n = rows * channels;
  const [x, g, m, v] = [floats(n), floats(n), floats(n), floats(n).map(Math.abs)];
  const ones = new Float32Array(channels).fill(1);
  const pool = {
    starts: Int32Array.from({ length: 257 }, (_, o) => 4 * o),
    pixels: Int32Array.from({ length: 1024 }, (_, i) => {
      const [o, tap] = [i >> 2, i & 3];
      return ((o >> 4) * 2 + (tap >> 1)) * 32 + (o & 15) * 2 + (tap & 1);
    }),
  };
  const row = (name: string, arrays: number, run: () => void): KernelBenchmark => ({
    name: `${name}, ${n} floats`,
    work: arrays * n * 4,
    unit: 'GB/s',
    run,
  });
  return [
    row('relu', 2, () => reluF32(x, { engine })),
    row('relu grad', 3, () => reluGradF32(g, x, { engine })),
    row('add', 3, () => addF32(x, g, { engine })),
    row('batch norm forward', 2, () =>
      batchNormForwardF32({ x, rows, channels, gamma: ones, beta: ones, eps: 1e-5, engine }),
    ),
    row('batch norm backward', 3, () =>
      batchNormBackwardF32({
        gradOut: g,
        x,
        rows,
        channels,
        mean: ones,
        invStd: ones,
        gamma: ones,
        engine,
      }),
    ),
    row('max pool 2×2', 2, () => maxPoolF32(x, pool, { batch: 64, inPixels: 1024, channels }, engine)),
    row('softmax of 1024 columns', 2, () => softmaxF32(x, n / 1024, 1024, engine)),
    row('sgd with momentum', 5, () =>
      sgdStepF32({ param: x, grad: g, momentumBuffer: m, lr: 1e-9, momentum: 0.9, engine }),
    ),
    row('adam', 7, () =>
      adamStepF32({
        param: x,
        grad: g,
        expAvg: m,
        expAvgSq: v,
        step: 10,
        lr: 1e-9,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        engine,
      }),
    ),
  ];
}

/** The float32 rows of the kernel table, for one build. */
export function f32Benchmarks(build: KernelBuild): KernelBenchmark[] {
  const engine = createEngine(build);
  const [q, key] = [floats(12 * 128 * 64), floats(12 * 128 * 64)];
  return [
    peak(engine),
    gemm(engine, 512, 512, 512, 'ab'),
    gemm(engine, 512, 512, 512, 'abT'),
    gemm(engine, 512, 512, 512, 'aTb'),
    gemm(engine, 128, 3072, 768, 'abT'),
    gemm(engine, 64, 10, 512, 'abT'),
    gemm(engine, 1, 1000, 512, 'abT'),
    {
      name: 'bmm 12×128×128×64 abT',
      work: 12 * 128 * 128 * 64,
      unit: 'GMAC/s',
      run: () => {
        bmmF32({ batch: 12, m: 128, n: 128, k: 64, a: q, b: key, transB: true, engine });
      },
    },
    ...convolutions(engine, 'conv 3×3 16→16 32×32 batch 64', square(64, 16, 16, 32, 3, 1)),
    ...convolutions(engine, 'conv 3×3 64→64 8×8 batch 64', square(64, 64, 64, 8, 3, 1)),
    ...convolutions(engine, 'conv 3×3 64→64 56×56', square(1, 64, 64, 56, 3, 1)),
    ...convolutions(engine, 'conv 7×7/2 3→64 224×224', square(1, 3, 64, 224, 7, 2)),
    ...convolutions(engine, 'conv 1×1 96→24 56×56', square(1, 96, 24, 56, 1, 1)),
    ...convolutions(engine, 'depthwise 3×3 96 112×112', square(1, 96, 96, 112, 3, 1, 96)),
    ...bandwidth(engine),
    resnet20Step(engine),
  ];
}

/**
 * Runs the same line for several candidates in turn, so that all of them see the same machine.
 *
 * @returns median and minimum time of a run per candidate, in milliseconds.
 */
export function timeInterleaved(
  candidates: readonly KernelBenchmark[],
  rounds: number,
): { median: number; best: number }[] {
  const times: number[][] = candidates.map(() => []);
  for (const candidate of candidates) candidate.run();
  for (let round = 0; round < rounds; round++) {
    candidates.forEach((candidate, i) => {
      const start = performance.now();
      candidate.run();
      times[i].push(performance.now() - start);
    });
  }
  return times.map((list) => {
    const sorted = list.sort((a, b) => a - b);
    return { median: sorted[sorted.length >> 1], best: sorted[0] };
  });
}

function main(): void {
  const rounds = 15;
  console.log(`Node ${process.version}, ${rounds} interleaved rounds`);
  console.log(
    'kernel'.padEnd(46),
    'build'.padEnd(9),
    'median ms'.padStart(10),
    'best ms'.padStart(10),
    '  best rate',
  );
  const builds = supportedBuilds();
  const tables = builds.map((build) => f32Benchmarks(build));
  tables[0].forEach((_, i) => {
    const lines = tables.map((table) => table[i]);
    timeInterleaved(lines, rounds).forEach(({ median, best }, b) => {
      const { name, work, unit } = lines[b];
      console.log(
        name.padEnd(46),
        builds[b].padEnd(9),
        median.toFixed(3).padStart(10),
        best.toFixed(3).padStart(10),
        `  ${(work / best / 1e6).toFixed(1)} ${unit}`,
      );
    });
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main();
