import { ShapeError } from '../../core/errors.ts';
import { linearGeometry } from '../geometry.ts';
import { runConv, stagedLayout } from './conv.ts';
import type { PackedConvWeights } from './pack.ts';
import { chooseQuantizationParams } from './qparams.ts';
import { inverseScale } from './quantize.ts';

/** Options of {@link qLinearDynamic}. */
export interface DynamicLinearOptions {
  /** Quantize the input to 0..127 instead of 0..255. */
  readonly reduceRange?: boolean;
  /** Replace negative results by 0. */
  readonly relu?: boolean;
}

/**
 * Linear layer on float activations that are quantized on the fly: one pass for their range, one to quantize, then the int8
 * product with a float epilogue, `y = acc · (sx·sw) + bias` (`torch.ops.quantized.linear_dynamic`).
 *
 * @param packed weights of a linear layer, after `setDynamicQuantization`.
 * @param x `[rows][inFeatures]` float32; all rows share one scale.
 * @returns `[rows][outFeatures]`.
 * @throws ShapeError when x is not whole rows; ArgumentError when x holds NaN or infinity, as PyTorch refuses them.
 * @example
 * packed.setDynamicQuantization(bias, weightScales);
 * const y = qLinearDynamic(packed, x, { reduceRange: true });
 */
export function qLinearDynamic(
  packed: PackedConvWeights,
  x: Float32Array,
  options: DynamicLinearOptions = {},
): Float32Array<ArrayBuffer> {
  const fn = 'qLinearDynamic';
  const features = packed.inChannelsPerGroup;
  if (packed.groups !== 1 || packed.taps !== 1 || x.length % features !== 0) {
    throw new ShapeError({
      fn,
      argument: 'x',
      expected: `rows of ${features} elements, for weights of a linear layer`,
      got: `${x.length} elements, ${packed.taps} taps in ${packed.groups} groups`,
    });
  }
  const rows = x.length / features;
  const length = rows * packed.outChannels;
  if (rows === 0) return new Float32Array(0);
  const { engine } = packed;
  return engine.scratch((take) => {
    const to = take(4 * length);
    const { bytes, floatBias } = quantizeInput(fn, packed, x, take, options.reduceRange);
    const geometry = linearGeometry(rows);
    const floor = options.relu ? 0 : Number.NEGATIVE_INFINITY;
    runConv(packed, stagedLayout(packed, geometry), geometry, bytes, to, {
      epilogue: null,
      floatBias,
      floor,
    });
    return engine.heap.f32.slice(to >> 2, (to >> 2) + length);
  });
}

/** An input that was quantized on the fly, and where a dynamic product finds what belongs to it. */
export interface DynamicInput {
  /** Address of the unsigned bytes, in the order of the floats, with 16 readable bytes behind. */
  readonly bytes: number;
  readonly zeroPoint: number;
  /** Address of the padded float bias. */
  readonly floatBias: number;
}

/**
 * Finds the range of `x`, quantizes it into scratch memory, and brings the panels up to date with its parameters.
 *
 * @throws ArgumentError when x holds NaN or infinity.
 */
export function quantizeInput(
  fn: string,
  packed: PackedConvWeights,
  x: Float32Array,
  take: (bytes: number) => number,
  reduceRange: boolean | undefined,
): DynamicInput {
  const { engine } = packed;
  const { kernels } = engine;
  const floats = take(4 * x.length + 64);
  const range = take(64);
  const bytes = take(x.length + 16);
  engine.heap.f32.set(x, floats >> 2);
  kernels.f32_minmax(floats, x.length, range);
  const min = engine.heap.f32[range >> 2];
  const max = engine.heap.f32[(range >> 2) + 1];
  const { scale, zeroPoint } = chooseQuantizationParams(min, max, { reduceRange });
  kernels.qu8_quantize(floats, x.length, inverseScale(fn, scale), zeroPoint, 0, 255, bytes);
  const floatBias = packed.prepareDynamic(fn, Math.fround(scale), zeroPoint);
  return { bytes, zeroPoint, floatBias };
}
