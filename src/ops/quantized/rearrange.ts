import { DTypeError } from '../../core/errors.ts';
import { integerDTypeOf } from '../../tensor/dtype.ts';
import { isPerChannel } from '../../tensor/qparams.ts';
import { quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { movement } from '../float/movement.ts';
import { reduction } from '../float/reduction.ts';
import type { Ops } from '../signatures/index.ts';

type Implementation = (x: Tensor, ...rest: never[]) => unknown;

/**
 * Operators that only move or order elements act on the integers as they are: `(q − zeroPoint) · scale` is increasing
 * in q, so the order of the integers is the order of the numbers.
 */
function onIntegers<F extends Implementation>(fn: string, integerOp: F): F {
  return ((x: Tensor, ...rest: never[]) => {
    const dtype = integerDTypeOf(quantizedDTypeOf(x, fn));
    if (x.qparams && isPerChannel(x.qparams)) {
      throw new DTypeError({
        fn,
        argument: 'qscheme',
        expected: 'per_tensor_affine',
        got: x.qparams.scheme,
        fix: 'dequantize() first: rearranging a per-channel tensor would move values away from their scales.',
      });
    }
    const { storage, shape, strides, offset } = x;
    return relabel(x, integerOp(new Tensor({ storage, shape, strides, offset, dtype }), ...rest), dtype);
  }) as F;
}

function relabel(x: Tensor, result: unknown, integers: string): unknown {
  if (Array.isArray(result)) return result.map((part) => relabel(x, part, integers));
  if (!(result instanceof Tensor) || result.dtype !== integers) return result;
  const { storage, shape, strides, offset } = result;
  return new Tensor({ storage, shape, strides, offset, dtype: x.dtype, qparams: x.qparams });
}

/** Operators on per-tensor quantized tensors that run on the integers unchanged. */
export const rearranging: Partial<Ops> = {
  view: onIntegers('view', movement.view),
  reshape: onIntegers('reshape', movement.reshape),
  flatten: onIntegers('flatten', movement.flatten),
  unflatten: onIntegers('unflatten', movement.unflatten),
  permute: onIntegers('permute', movement.permute),
  transpose: onIntegers('transpose', movement.transpose),
  expand: onIntegers('expand', movement.expand),
  squeeze: onIntegers('squeeze', movement.squeeze),
  unsqueeze: onIntegers('unsqueeze', movement.unsqueeze),
  slice: onIntegers('slice', movement.slice),
  select: onIntegers('select', movement.select),
  contiguous: onIntegers('contiguous', movement.contiguous),
  flip: onIntegers('flip', movement.flip),
  repeat: onIntegers('repeat', movement.repeat),
  split: onIntegers('split', movement.split),
  chunk: onIntegers('chunk', movement.chunk),
  unbind: onIntegers('unbind', movement.unbind),
  indexSelect: onIntegers('indexSelect', movement.indexSelect),
  amax: onIntegers('amax', reduction.amax),
  amin: onIntegers('amin', reduction.amin),
  maxDim: onIntegers('max', reduction.maxDim),
  minDim: onIntegers('min', reduction.minDim),
  argmax: onIntegers('argmax', reduction.argmax),
  argmin: onIntegers('argmin', reduction.argmin),
  sort: onIntegers('sort', reduction.sort),
  topk: onIntegers('topk', reduction.topk),
};
