import { createEngine, type Engine, type KernelBuild } from '../../src/kernels/engine.ts';
import { convForwardF32 } from '../../src/kernels/f32/conv.ts';
import { addF32 } from '../../src/kernels/f32/elementwise.ts';
import { gemmF32, packF32Weights } from '../../src/kernels/f32/gemm.ts';
import { type ConvGeometry, convGeometry, linearGeometry } from '../../src/kernels/geometry.ts';
import { qConv, runConv, stagedBytes, stagedLayout } from '../../src/kernels/int8/conv.ts';
import { buildLookupTable, qAdd, qLookup } from '../../src/kernels/int8/elementwise.ts';
import { qLinearDynamic } from '../../src/kernels/int8/linear-dynamic.ts';
import { type PackedConvWeights, packConvWeights } from '../../src/kernels/int8/pack.ts';
import { qMaxPool2d } from '../../src/kernels/int8/pooling.ts';
import { dequantize, minMax, quantize } from '../../src/kernels/int8/quantize.ts';

/** One line of the comparison: an int8 operation, and the float32 one it replaces. */
export interface Comparison {
  readonly name: string;
  /** Multiply-accumulates (GMAC/s) or elements (GE/s) of one run. */
  readonly work: number;
  readonly unit: 'GMAC/s' | 'GE/s';
  readonly int8: () => void;
  readonly f32: (() => void) | null;
}

function bytes(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => Math.imul(i + 1, 2654435761) >>> 13);
}

function floats(length: number): Float32Array {
  return Float32Array.from(bytes(length), (v) => v / 64 - 2);
}

const EPILOGUE = { zeroPoint: 3, min: 3, max: 255 };

interface Layer {
  readonly name: string;
  readonly geometry: ConvGeometry;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
}

function layer(
  name: string,
  size: number,
  inChannels: number,
  outChannels: number,
  kernel: number,
  stride: number,
  groups: number = 1,
): Layer {
  const padding = (kernel - 1) >> 1;
  const both = (v: number): number[] => [v, v];
  const geometry = convGeometry({
    batch: 1,
    inputSize: both(size),
    kernel: both(kernel),
    stride: both(stride),
    padding: both(padding),
    dilation: both(1),
  });
  return { name, geometry, inChannels, outChannels, groups };
}

function pixels(size: readonly number[]): number {
  return size.reduce((a, b) => a * b, 1);
}

function pack(engine: Engine, { geometry, inChannels, outChannels, groups }: Layer): PackedConvWeights {
  const taps = pixels(geometry.kernel);
  const inChannelsPerGroup = inChannels / groups;
  const packed = packConvWeights({
    weight: new Int8Array(bytes(outChannels * taps * inChannelsPerGroup).buffer),
    outChannels,
    taps,
    contiguousTaps: geometry.kernel.at(-1),
    inChannelsPerGroup,
    groups,
    weightZeroPoints: new Int32Array(outChannels),
    engine,
  });
  packed.setQuantization({
    bias: new Float32Array(outChannels),
    inputScale: 0.02,
    inputZeroPoint: 120,
    weightScales: new Float32Array(outChannels).fill(0.01),
    output: { scale: 1, zeroPoint: EPILOGUE.zeroPoint },
  });
  return packed;
}

/** Repeats short operations, so that a run is long against the clock and the call. */
function repeated(work: number, run: () => void): { work: number; run: () => void } {
  const repeats = Math.max(1, Math.round(2e7 / work));
  return {
    work: work * repeats,
    run: () => {
      for (let i = 0; i < repeats; i++) run();
    },
  };
}

/** A layer without its copies in and out of the engine's memory, as a compiled program runs it; and with them. */
function layerComparisons(engine: Engine, l: Layer): Comparison[] {
  const { geometry: g, inChannels, outChannels, groups } = l;
  const packed = pack(engine, l);
  const layout = stagedLayout(packed, g);
  const from = engine.alloc(stagedBytes(layout, g.batch), 'arena').ptr;
  const outputBytes = g.batch * pixels(g.outputSize) * outChannels;
  const to = engine.alloc(outputBytes, 'arena').ptr;
  const input = bytes(g.batch * pixels(g.inputSize) * inChannels);
  packed.prepare('bench', false);
  const macs = (outputBytes * pixels(g.kernel) * inChannels) / groups;
  const bare = repeated(macs, () => runConv(packed, layout, g, from, to, { epilogue: EPILOGUE }));
  const whole = repeated(macs, () => void qConv(packed, input, g, EPILOGUE));
  const float = repeated(macs, floatLayer(engine, l));
  return [
    { name: `${l.name}, kernel alone`, work: bare.work, unit: 'GMAC/s', int8: bare.run, f32: null },
    { name: l.name, work: whole.work, unit: 'GMAC/s', int8: whole.run, f32: float.run },
  ];
}

function floatLayer(engine: Engine, { geometry: g, inChannels, outChannels, groups }: Layer): () => void {
  const weight = floats((outChannels * pixels(g.kernel) * inChannels) / groups);
  const x = floats(g.batch * pixels(g.inputSize) * inChannels);
  if (g.inputSize.length === 0) {
    const b = packF32Weights({ weights: weight, k: inChannels, n: outChannels, transposed: true, engine });
    const out = new Float32Array(g.batch * outChannels);
    return () => void gemmF32({ m: g.batch, n: outChannels, k: inChannels, a: x, b, out, engine });
  }
  const geometry = { ...g, inChannels, outChannels, groups, inSize: g.inputSize, outSize: g.outputSize };
  return () => void convForwardF32(x, weight, geometry, { engine });
}

function dynamicLinear(engine: Engine, rows: number, k: number, n: number): Comparison {
  const l: Layer = { name: '', geometry: linearGeometry(rows), inChannels: k, outChannels: n, groups: 1 };
  const packed = pack(engine, l);
  packed.setDynamicQuantization(new Float32Array(n), new Float32Array(n).fill(0.01));
  const x = floats(rows * k);
  const dynamic = repeated(rows * k * n, () => void qLinearDynamic(packed, x));
  const float = repeated(rows * k * n, floatLayer(engine, l));
  return {
    name: `dynamic linear ${rows}×${k}→${n}`,
    work: dynamic.work,
    unit: 'GMAC/s',
    int8: dynamic.run,
    f32: float.run,
  };
}

function elementwise(engine: Engine): Comparison[] {
  const n = 1 << 20;
  const [a, b, x, y] = [bytes(n), bytes(n), floats(n), floats(n)];
  const qparams = { scale: 0.02, zeroPoint: 7 };
  const table = buildLookupTable(Math.tanh, qparams, { scale: 1 / 128, zeroPoint: 128 }, false);
  const add = { a: qparams, b: qparams, output: { scale: 0.04, zeroPoint: 9 }, engine };
  const pool = layer('', 112, 64, 64, 3, 2).geometry;
  const image = bytes(112 * 112 * 64);
  const row = (name: string, int8: () => void, f32: (() => void) | null = null): Comparison => {
    return { name: `${name}, ${n} elements`, work: n, unit: 'GE/s', int8, f32 };
  };
  return [
    row('quantize', () => void quantize(x, 'u8', { ...qparams, engine })),
    row('dequantize', () => void dequantize(a, { ...qparams, engine })),
    row('min and max', () => void minMax(x, engine)),
    row(
      'add',
      () => void qAdd(a, b, add),
      () => void addF32(x, y, { engine }),
    ),
    row('table lookup', () => void qLookup(a, table, engine)),
    {
      name: 'max pool 3×3/2, 112×112×64',
      work: image.length,
      unit: 'GE/s',
      int8: () => void qMaxPool2d(image, 64, pool, engine),
      f32: null,
    },
  ];
}

/** Every comparison, for one build of the kernels. */
export function int8Comparisons(build: KernelBuild): Comparison[] {
  const engine = createEngine(build);
  const linear = (rows: number, k: number, n: number): Layer => ({
    name: `gemm ${rows}×${n}×${k}`,
    geometry: linearGeometry(rows),
    inChannels: k,
    outChannels: n,
    groups: 1,
  });
  return [
    linear(24, 1152, 8),
    linear(252, 1152, 256),
    linear(128, 768, 3072),
    linear(1, 512, 1000),
    layer('conv 3×3 64→64 56×56', 56, 64, 64, 3, 1),
    layer('conv 3×3 512→512 7×7', 7, 512, 512, 3, 1),
    layer('conv 7×7/2 3→64 224×224', 224, 3, 64, 7, 2),
    layer('conv 1×1 96→24 56×56', 56, 96, 24, 1, 1),
    layer('conv 1×1 256→64 56×56', 56, 256, 64, 1, 1),
    layer('depthwise 3×3 96 112×112', 112, 96, 96, 3, 1, 96),
    layer('depthwise 3×3/2 96 112×112', 112, 96, 96, 3, 2, 96),
    layer('depthwise 3×3 576 14×14', 14, 576, 576, 3, 1, 576),
  ]
    .flatMap((l) => layerComparisons(engine, l))
    .concat(dynamicLinear(engine, 128, 768, 768), dynamicLinear(engine, 1, 1024, 1024), elementwise(engine));
}
