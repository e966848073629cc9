import { ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { type ConvGeometry, checkGeometry } from '../geometry.ts';
import { runConv, stageConvInput, stagedBytes, stagedLayout } from './conv.ts';
import { type DynamicInput, quantizeInput } from './linear-dynamic.ts';
import type { PackedConvWeights } from './pack.ts';

/** An input that was quantized before, for the float epilogue. */
export interface QuantizedInput {
  readonly bytes: Uint8Array;
  readonly scale: number;
  readonly zeroPoint: number;
}

/** Options of {@link qConvDynamic}. */
export interface DynamicConvOptions {
  /** Quantize the input to 0..127 instead of 0..255. */
  readonly reduceRange?: boolean;
}

/**
 * Convolution of float activations that are quantized on the fly: one scale and zero point for the whole input, the int8
 * product, and a float epilogue `y = acc · (sx·sw) + bias`.
 *
 * @param packed weights packed with `floatOutput`, after `setDynamicQuantization`.
 * @param x channels-last `[batch][...inputSize][inChannels]` float32, or its integers where they are known.
 * @returns channels-last `[batch][...outputSize][outChannels]` float32.
 * @throws ShapeError when sizes do not fit together; ArgumentError when x holds NaN or infinity.
 * @example
 * packed.setDynamicQuantization(bias, weightScales);
 * const y = qConvDynamic(packed, x, convGeometry({ batch: 1, inputSize: [32], kernel: [3], stride: [1], padding: [1], dilation: [1] }));
 */
export function qConvDynamic(
  packed: PackedConvWeights,
  x: Float32Array | QuantizedInput,
  geometry: ConvGeometry,
  options: DynamicConvOptions = {},
): Float32Array<ArrayBuffer> {
  const fn = 'qConvDynamic';
  checkGeometry(fn, geometry);
  const elements = geometry.batch * product(geometry.inputSize) * packed.inChannels;
  const given = x instanceof Float32Array ? x.length : x.bytes.length;
  if (given !== elements || product(geometry.kernel) !== packed.taps) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: `${elements} elements, for a kernel of ${packed.taps} taps`,
      got: `${given} elements and a kernel of [${geometry.kernel}]`,
    });
  }
  const length = geometry.batch * product(geometry.outputSize) * packed.outChannels;
  if (length === 0) return new Float32Array(0);
  const { engine } = packed;
  const layout = stagedLayout(packed, geometry);
  return engine.scratch((take) => {
    const to = take(4 * length);
    const staged = layout.indirection ? take(stagedBytes(layout, geometry.batch)) : 0;
    const { bytes, zeroPoint, floatBias } =
      x instanceof Float32Array
        ? quantizeInput(fn, packed, x, take, options.reduceRange)
        : takeInput(fn, packed, x, take);
    if (staged) {
      const dense = engine.heap.u8.subarray(bytes, bytes + elements);
      stageConvInput(packed, dense, layout, geometry.batch, staged, zeroPoint);
    }
    runConv(packed, layout, geometry, staged || bytes, to, { epilogue: null, floatBias });
    return engine.heap.f32.slice(to >> 2, (to >> 2) + length);
  });
}

/** Brings an input that was quantized before to where {@link quantizeInput} would have put it. */
function takeInput(
  fn: string,
  packed: PackedConvWeights,
  { bytes, scale, zeroPoint }: QuantizedInput,
  take: (bytes: number) => number,
): DynamicInput {
  const at = take(bytes.length + 16);
  packed.engine.heap.u8.set(bytes, at);
  return { bytes: at, zeroPoint, floatBias: packed.prepareDynamic(fn, Math.fround(scale), zeroPoint) };
}
