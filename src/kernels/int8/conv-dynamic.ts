import { ShapeError } from '../../core/errors.ts';
import { product } from '../../core/math.ts';
import { type ConvGeometry, checkGeometry } from '../geometry.ts';
import { runConv, stageConvInput, stagedBytes, stagedLayout } from './conv.ts';
import { quantizeInput } from './linear-dynamic.ts';
import type { PackedConvWeights } from './pack.ts';

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
 * @param x channels-last `[batch][...inputSize][inChannels]` float32.
 * @returns channels-last `[batch][...outputSize][outChannels]` float32.
 * @throws ShapeError when sizes do not fit together; ArgumentError when x holds NaN or infinity.
 * @example
 * packed.setDynamicQuantization(bias, weightScales);
 * const y = qConvDynamic(packed, x, convGeometry({ batch: 1, inputSize: [32], kernel: [3], stride: [1], padding: [1], dilation: [1] }));
 */
export function qConvDynamic(
  packed: PackedConvWeights,
  x: Float32Array,
  geometry: ConvGeometry,
  options: DynamicConvOptions = {},
): Float32Array<ArrayBuffer> {
  const fn = 'qConvDynamic';
  checkGeometry(fn, geometry);
  const elements = geometry.batch * product(geometry.inputSize) * packed.inChannels;
  if (x.length !== elements || product(geometry.kernel) !== packed.taps) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: `${elements} elements, for a kernel of ${packed.taps} taps`,
      got: `${x.length} elements and a kernel of [${geometry.kernel}]`,
    });
  }
  const length = geometry.batch * product(geometry.outputSize) * packed.outChannels;
  if (length === 0) return new Float32Array(0);
  const { engine } = packed;
  const layout = stagedLayout(packed, geometry);
  return engine.scratch((take) => {
    const to = take(4 * length);
    const staged = layout.indirection ? take(stagedBytes(layout, geometry.batch)) : 0;
    const { bytes, zeroPoint, floatBias } = quantizeInput(fn, packed, x, take, options.reduceRange);
    if (staged) {
      const dense = engine.heap.u8.subarray(bytes, bytes + x.length);
      stageConvInput(packed, dense, layout, geometry.batch, staged, zeroPoint);
    }
    runConv(packed, layout, geometry, staged || bytes, to, { epilogue: null, floatBias });
    return engine.heap.f32.slice(to >> 2, (to >> 2) + length);
  });
}
