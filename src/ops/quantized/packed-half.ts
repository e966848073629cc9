import { DTypeError, ShapeError } from '../../core/errors.ts';
import { float16Bits } from '../../core/float16.ts';
import { packF32Weights } from '../../kernels/f32/gemm.ts';
import type { PackedF32Weights } from '../../kernels/f32/panels.ts';
import { isFloatDType } from '../../tensor/dtype.ts';
import { formatShape } from '../../tensor/shape.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';

/** The largest finite float16. */
const LARGEST = 65504;

/**
 * Weights of a linear layer in half precision: the float16 tensor as users see it, and float32 panels of the same numbers
 * for the kernels, packed once on first use. Float32 weights are rounded to nearest even; what lies beyond ±65504
 * saturates. Immutable, so copies of a layer share it. Source: PyTorch's `PackedLinearWeightFp16`.
 *
 * @example
 * const packed = new PackedHalfWeights(linear.weight, linear.bias);
 * packed.weight.dtype; // 'float16'
 */
export class PackedHalfWeights {
  /** float16, [outFeatures, inFeatures]. */
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  #panel: PackedF32Weights | null = null;

  constructor(weight: Tensor, bias: Tensor | null) {
    const fn = 'quantized::linear_prepack_fp16';
    if (!isFloatDType(weight.dtype) || weight.ndim !== 2) {
      throw new DTypeError({
        fn,
        argument: 'weight',
        expected: 'a float matrix [outFeatures, inFeatures]',
        got: `${weight.dtype} of shape ${formatShape(weight.shape)}`,
      });
    }
    if (bias && (bias.numel !== weight.shape[0] || bias.dtype !== 'float32')) {
      throw new ShapeError({
        fn,
        argument: 'bias',
        expected: `float32 of shape [${weight.shape[0]}]`,
        got: `${bias.dtype} of shape ${formatShape(bias.shape)}`,
      });
    }
    this.weight = weight.dtype === 'float16' ? weight : saturatingHalf(weight);
    this.bias = bias;
  }

  /** The weights in float32 panels. */
  panel(): PackedF32Weights {
    const [n, k] = this.weight.shape;
    this.#panel ??= packF32Weights({
      weights: this.weight.numbers() as Float32Array,
      n,
      k,
      transposed: true,
    });
    return this.#panel;
  }
}

function saturatingHalf(x: Tensor): Tensor {
  const bits = Uint16Array.from(x.numbers(), (v) =>
    float16Bits(v > LARGEST ? LARGEST : v < -LARGEST ? -LARGEST : v),
  );
  return fromStorage(bits, x.shape, 'float16');
}
