import type { Engine } from './engine.ts';
import { gemmF32, packF32Weights } from './f32/gemm.ts';
import { linearGeometry } from './geometry.ts';
import { runConv, stagedBytes, stagedLayout } from './int8/conv.ts';
import { packConvWeights } from './int8/pack.ts';

/** Multiply-accumulates per second, in units of 10⁹, of the best kernels on data that lies in the caches. */
export interface KernelCeiling {
  readonly int8: number;
  readonly float32: number;
}

/** A product with whole tiles everywhere, whose panels stay in the innermost caches. */
const ROWS = 240;
const INNER = 512;
const COLUMNS = 48;
const MEASURE_MS = 15;

const known = new WeakMap<Engine, KernelCeiling>();

/** What one thread of this machine can reach, measured once for an engine: some thirty milliseconds. */
export function kernelCeiling(engine: Engine): KernelCeiling {
  let ceiling = known.get(engine);
  if (ceiling === undefined) {
    ceiling = { int8: int8Rate(engine), float32: floatRate(engine) };
    known.set(engine, ceiling);
  }
  return ceiling;
}

function int8Rate(engine: Engine): number {
  const geometry = linearGeometry(ROWS);
  const packed = packConvWeights({
    weight: new Int8Array(COLUMNS * INNER).fill(3),
    outChannels: COLUMNS,
    taps: 1,
    inChannelsPerGroup: INNER,
    groups: 1,
    weightZeroPoints: new Int32Array(COLUMNS),
    engine,
  });
  try {
    packed.setQuantization({
      bias: new Float32Array(COLUMNS),
      inputScale: 1,
      inputZeroPoint: 0,
      weightScales: new Float32Array(COLUMNS).fill(1),
      output: { scale: 1, zeroPoint: 0 },
    });
    packed.prepare('kernelCeiling', false);
    const layout = stagedLayout(packed, geometry);
    const epilogue = { zeroPoint: 0, min: 0, max: 255 };
    return engine.scratch((take) => {
      const from = take(stagedBytes(layout, 1));
      const to = take(ROWS * COLUMNS);
      return bestRate(() => runConv(packed, layout, geometry, from, to, { epilogue }));
    });
  } finally {
    packed.free();
  }
}

function floatRate(engine: Engine): number {
  const weights = new Float32Array(INNER * COLUMNS);
  const b = packF32Weights({ weights, k: INNER, n: COLUMNS, engine });
  try {
    const a = new Float32Array(ROWS * INNER);
    const out = new Float32Array(ROWS * COLUMNS);
    return bestRate(() => void gemmF32({ m: ROWS, n: COLUMNS, k: INNER, a, b, out, engine }));
  } finally {
    b.free();
  }
}

function bestRate(run: () => void): number {
  let best = Number.POSITIVE_INFINITY;
  const until = performance.now() + MEASURE_MS;
  do {
    const start = performance.now();
    for (let i = 0; i < 4; i++) run();
    // A clock of low resolution may not have moved.
    const took = performance.now() - start;
    if (took > 0) best = Math.min(best, took);
  } while (performance.now() < until);
  return (4 * ROWS * INNER * COLUMNS) / (best * 1e6);
}
