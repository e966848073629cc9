import { ShapeError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import { engine as defaultEngine, type Engine } from '../engine.ts';
import type { QuantizedEpilogue } from './conv.ts';
import { inverseScale } from './quantize.ts';
import { stageBytes, takeBytes, toUnsigned, unsignedEpilogue } from './signedness.ts';

/** Scale and zero point of one tensor. */
export interface TensorQParams {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Arguments of {@link qAdd} beside the data. */
export interface QAddOptions {
  readonly a: TensorQParams;
  readonly b: TensorQParams;
  readonly output: TensorQParams;
  /** Clamp of the result, in its dtype's range; the zero point as `min` fuses a ReLU. The whole range unless given. */
  readonly min?: number;
  readonly max?: number;
  readonly engine?: Engine;
}

/** Elements that pass through the engine's memory at a time. */
const CHUNK = 1 << 18;

/**
 * Sum of two quantized tensors: `clamp(nearbyint(((a − za)·sa + (b − zb)·sb) · (1/s)) + z)`, all in float32 without fused
 * multiply-add (`torch.ops.quantized.add`, `add_relu`).
 *
 * @param a quint8 (`Uint8Array`) or qint8 (`Int8Array`).
 * @param b as many elements of the same type.
 * @throws ShapeError when the lengths or types differ.
 * @example
 * qAdd(a, b, { a: { scale: 0.1, zeroPoint: 3 }, b: { scale: 0.2, zeroPoint: 9 }, output: { scale: 0.25, zeroPoint: 5 } });
 */
export function qAdd<T extends Uint8Array | Int8Array>(a: T, b: T, options: QAddOptions): T {
  const fn = 'qAdd';
  const signed = a instanceof Int8Array;
  if (a.length !== b.length || signed !== b instanceof Int8Array) {
    throw new ShapeError({
      fn,
      argument: 'b',
      expected: `${a.length} elements of ${a.constructor.name}`,
      got: `${b.length} of ${b.constructor.name}`,
    });
  }
  const { engine = defaultEngine, output } = options;
  const { min = signed ? -128 : 0, max = signed ? 127 : 255 } = options;
  const range = unsignedEpilogue(fn, { zeroPoint: output.zeroPoint, min, max }, signed);
  const inverse = inverseScale(fn, output.scale);
  const aZero = toUnsigned(fn, 'a.zeroPoint', options.a.zeroPoint, signed);
  const bZero = toUnsigned(fn, 'b.zeroPoint', options.b.zeroPoint, signed);
  const { scale: aScale } = options.a;
  const { scale: bScale } = options.b;
  return inChunks(engine, a, (take, chunk) => {
    const second = take(chunk + 16);
    return (from, n, to, start) => {
      stageBytes(engine, b.subarray(start, start + n), second);
      const { qu8_add } = engine.kernels;
      qu8_add(
        from,
        second,
        n,
        aScale,
        aZero,
        bScale,
        bZero,
        inverse,
        range.zeroPoint,
        range.min,
        range.max,
        to,
      );
    };
  });
}

/**
 * Clamps quantized integers to [min, max]: ReLU with `min` the zero point, ReLU6 and hardtanh with their quantized bounds.
 * The quantization stays the same.
 *
 * @example
 * qClamp(Uint8Array.of(1, 100, 250), 64, 200) // Uint8Array [64, 100, 200]
 */
export function qClamp<T extends Uint8Array | Int8Array>(
  x: T,
  min: number,
  max: number,
  engine: Engine = defaultEngine,
): T {
  const range = unsignedEpilogue('qClamp', { zeroPoint: min, min, max }, x instanceof Int8Array);
  return inChunks(
    engine,
    x,
    () => (from, n, to) => engine.kernels.u8_clamp(from, n, range.min, range.max, to),
  );
}

/**
 * Applies a table of 256 entries: any unary function of 8-bit data (sigmoid, tanh, hardswish, requantization) at the price
 * of a byte load. See {@link buildLookupTable}.
 *
 * @param table as {@link buildLookupTable} makes it: entry i belongs to the byte i of unsigned data, to i − 128 of signed data.
 */
export function qLookup<T extends Uint8Array | Int8Array>(x: T, table: T, engine: Engine = defaultEngine): T {
  if (table.length !== 256) {
    throw new ShapeError({
      fn: 'qLookup',
      argument: 'table',
      expected: '256 entries',
      got: `${table.length}`,
    });
  }
  return inChunks(engine, x, (take) => {
    const entries = take(256);
    stageBytes(engine, table, entries);
    return (from, n, to) => engine.kernels.u8_lookup(from, n, entries, to);
  });
}

/**
 * The table of a real function between two quantizations: `clamp(nearbyint(f((q − zx)·sx) · (1/sy)) + zy)` for every q.
 *
 * @param signed true for qint8.
 * @example
 * const table = buildLookupTable((v) => 1 / (1 + Math.exp(-v)), { scale: 0.1, zeroPoint: 128 }, { scale: 1 / 256, zeroPoint: 0 }, false);
 * const y = qLookup(x, table);
 */
export function buildLookupTable(
  f: (value: number) => number,
  input: TensorQParams,
  output: TensorQParams,
  signed: false,
): Uint8Array<ArrayBuffer>;
export function buildLookupTable(
  f: (value: number) => number,
  input: TensorQParams,
  output: TensorQParams,
  signed: true,
): Int8Array<ArrayBuffer>;
export function buildLookupTable(
  f: (value: number) => number,
  input: TensorQParams,
  output: TensorQParams,
  signed: boolean,
): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer>;
export function buildLookupTable(
  f: (value: number) => number,
  input: TensorQParams,
  output: TensorQParams,
  signed: boolean,
): Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer> {
  const fn = 'buildLookupTable';
  const inverse = inverseScale(fn, output.scale);
  const scale = Math.fround(input.scale);
  const first = signed ? -128 : 0;
  const epilogue: QuantizedEpilogue = { zeroPoint: output.zeroPoint, min: first, max: first + 255 };
  unsignedEpilogue(fn, epilogue, signed);
  const table = signed ? new Int8Array(256) : new Uint8Array(256);
  for (let i = 0; i < 256; i++) {
    const value = Math.fround(f(Math.fround((first + i - input.zeroPoint) * scale)));
    const q = roundHalfEven(Math.fround(value * inverse)) + output.zeroPoint;
    table[i] = Math.min(Math.max(q, epilogue.min), epilogue.max);
  }
  return table;
}

/** Runs a kernel over staged chunks of unsigned bytes, and gives the result the dtype of the input. */
function inChunks<T extends Uint8Array | Int8Array>(
  engine: Engine,
  x: T,
  prepare: (
    take: (bytes: number) => number,
    chunk: number,
  ) => (from: number, n: number, to: number, start: number) => void,
): T {
  const out = new (x.constructor as new (length: number) => T)(x.length);
  engine.scratch((take) => {
    const chunk = Math.min(CHUNK, x.length);
    const from = take(chunk + 16);
    const to = take(chunk + 16);
    const run = prepare(take, chunk);
    for (let start = 0; start < x.length; start += chunk) {
      const part = x.subarray(start, start + chunk);
      stageBytes(engine, part, from);
      run(from, part.length, to, start);
      out.set(takeBytes(engine, to, part.length, x), start);
    }
  });
  return out;
}
