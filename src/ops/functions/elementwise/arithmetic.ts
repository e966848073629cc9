import { ArgumentError } from '../../../core/errors.ts';
import { isPerChannel } from '../../../tensor/qparams.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';
import { overwrite } from '../../inplace.ts';

/** Options of {@link mul}, {@link div} and their like. */
export interface OutOptions {
  /**
   * A tensor that takes the result. For quantized operands it must be quantized, and its scale and zero point are those
   * of the result.
   */
  readonly out?: Tensor;
}

/** Options of {@link add} and {@link sub}. */
export interface AddOptions extends OutOptions {
  /** Factor of the second operand; 1 where not given. */
  readonly alpha?: number;
}

/**
 * a + alpha · b, broadcast. Dtypes promote as in PyTorch; a number does not widen the tensor's dtype. Two quantized
 * tensors give one with scale 1 and zero point 0, or with the scale and zero point of `out`.
 * Source: `torch.add`.
 *
 * @throws {@link ShapeError} where the shapes do not broadcast.
 * @throws {@link DTypeError} where one is quantized and the other is not.
 * @example
 * add(tensor([1, 2]), 10); // [11, 12]
 * add(a, b, { alpha: -0.1 });
 */
export function add(a: Tensor, b: Tensor | number, options: AddOptions = {}): Tensor {
  const { alpha = 1, out } = options;
  if (!out?.qparams) return finish(dispatch('add', a, b, alpha), out, 'add');
  const [scale, zeroPoint] = outQParams(out, b, 'add');
  if (alpha !== 1) {
    throw new ArgumentError({
      fn: 'add',
      argument: 'alpha',
      expected: '1 for quantized tensors',
      got: String(alpha),
    });
  }
  return finish(dispatch('quantized::add', a, b as Tensor, scale, zeroPoint), out, 'add');
}

/**
 * a − alpha · b, broadcast. Dtypes promote as in {@link add}. Source: `torch.sub`.
 *
 * @throws {@link ShapeError} where the shapes do not broadcast.
 * @example
 * sub(tensor([5, 2]), tensor([1])); // [4, 1]
 */
export function sub(a: Tensor, b: Tensor | number, options: AddOptions = {}): Tensor {
  return finish(dispatch('sub', a, b, options.alpha ?? 1), options.out, 'sub');
}

/**
 * a · b, broadcast. Dtypes promote as in {@link add}; `out` of quantized operands gives the result's qparams.
 * Source: `torch.mul`.
 *
 * @throws {@link ShapeError} where the shapes do not broadcast.
 * @example
 * mul(tensor([1, 2]), tensor([[2], [3]])); // [[2, 4], [3, 6]]
 */
export function mul(a: Tensor, b: Tensor | number, options: OutOptions = {}): Tensor {
  const { out } = options;
  if (!out?.qparams) return finish(dispatch('mul', a, b), out, 'mul');
  const [scale, zeroPoint] = outQParams(out, b, 'mul');
  return finish(dispatch('quantized::mul', a, b as Tensor, scale, zeroPoint), out, 'mul');
}

/**
 * a / b, broadcast: true division, so integers give float32. Source: `torch.div`.
 *
 * @throws {@link ShapeError} where the shapes do not broadcast.
 * @example
 * div(tensor([1, 2]), 4); // [0.25, 0.5]
 */
export function div(a: Tensor, b: Tensor | number, options: OutOptions = {}): Tensor {
  return finish(dispatch('div', a, b), options.out, 'div');
}

/** The scale and zero point that a quantized `out` asks for. */
function outQParams(out: Tensor, b: Tensor | number, fn: string): [number, number] {
  if (typeof b === 'number' || !out.qparams || isPerChannel(out.qparams)) {
    throw new ArgumentError({
      fn,
      argument: typeof b === 'number' ? 'b' : 'out',
      expected:
        typeof b === 'number'
          ? 'a quantized tensor, to go with a quantized out'
          : 'a per-tensor quantized tensor',
      got: typeof b === 'number' ? 'a number' : String(out.qparams?.scheme),
    });
  }
  return [out.qparams.scale, out.qparams.zeroPoint];
}

function finish(result: Tensor, out: Tensor | undefined, fn: string): Tensor {
  return out ? overwrite(out, result, fn) : result;
}

/**
 * a to the power of b, broadcast.
 * Source: `torch.pow`.
 *
 * @example
 * pow(tensor([2, 3]), 2); // [4, 9]
 */
export function pow(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('pow', a, b);
}

/**
 * The remainder of a / b with the sign of b (Python's `%`), broadcast.
 * Source: `torch.remainder`.
 *
 * @example
 * remainder(tensor([-3]), 2); // [1]
 */
export function remainder(a: Tensor, b: Tensor | number): Tensor {
  return dispatch('remainder', a, b);
}

/**
 * The larger of two broadcast tensors, element by element; NaN wins.
 * Source: `torch.maximum`.
 *
 * @example
 * maximum(tensor([1, 5]), tensor([3])); // [3, 5]
 */
export function maximum(a: Tensor, b: Tensor): Tensor {
  return dispatch('maximum', a, b);
}

/**
 * The smaller of two broadcast tensors, element by element; NaN wins.
 * Source: `torch.minimum`.
 *
 * @example
 * minimum(tensor([1, 5]), tensor([3])); // [1, 3]
 */
export function minimum(a: Tensor, b: Tensor): Tensor {
  return dispatch('minimum', a, b);
}
