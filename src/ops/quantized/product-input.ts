import { DTypeError, ShapeError } from '../../core/errors.ts';
import { formatShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Throws a {@link DTypeError} for what dynamic layers do not take. */
export function requireFloat32(x: Tensor, fn: string): void {
  if (x.dtype === 'float32') return;
  throw new DTypeError({
    fn,
    argument: 'input',
    expected: 'a float32 tensor (dynamic layers quantize it themselves)',
    got: x.dtype,
    fix: x.isQuantized ? 'dequantize() it first.' : "Convert it with to('float32') first.",
  });
}

/** Throws a {@link ShapeError} where the last dimension of `x` is not what a linear layer takes. */
export function checkFeatures(x: Tensor, packed: { readonly weight: Tensor }, fn: string): void {
  const features = packed.weight.shape[1];
  if (packed.weight.ndim !== 2) {
    throw new ShapeError({
      fn,
      argument: 'packed',
      expected: 'weights of a linear layer, [outFeatures, inFeatures]',
      got: formatShape(packed.weight.shape),
    });
  }
  if (x.ndim < 1 || x.shape[x.ndim - 1] !== features) {
    throw new ShapeError({
      fn,
      argument: 'input',
      expected: `${features} features in the last dimension`,
      got: formatShape(x.shape),
    });
  }
}
