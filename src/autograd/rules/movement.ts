import { dispatch } from '../../ops/dispatch.ts';
import { padIndices, padPlan } from '../../ops/float/movement/copies.ts';
import { addSlices, placeMasked, placeSlice } from '../../ops/float/movement/indexing.ts';
import type { MovementOps } from '../../ops/signatures/index.ts';
import { zeros } from '../../tensor/creation.ts';
import type { PlainDType } from '../../tensor/dtype.ts';
import { broadcastShapes, normalizeDim, type Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type RulesOf, sumTo } from './rule.ts';

/** Back to the input's shape: all that a reshaping operator's gradient needs. */
const reshapedTo =
  (x: Tensor) =>
  (g: Tensor): Tensor[] => [dispatch('reshape', g, x.shape)];

/** The pieces of a gradient along `dim`; pieces through which nothing flowed count as zeros. */
function joined(
  grads: readonly (Tensor | null)[],
  shapes: readonly Shape[],
  dtype: PlainDType,
  dim: number,
): Tensor {
  return dispatch(
    'cat',
    grads.map((g, i) => g ?? zeros(shapes[i], { dtype })),
    dim,
  );
}

function parts(outs: readonly Tensor[], x: Tensor, dim: number) {
  const shapes = outs.map((t) => t.shape);
  return (grads: readonly (Tensor | null)[]): Tensor[] => [joined(grads, shapes, x.dtype as PlainDType, dim)];
}

/** Gradients of the operators that rearrange elements: each puts the elements back. */
export const movementRules: RulesOf<MovementOps> = {
  view: (_out, x) => reshapedTo(x),
  reshape: (_out, x) => reshapedTo(x),
  flatten: (_out, x) => reshapedTo(x),
  unflatten: (_out, x) => reshapedTo(x),
  squeeze: (_out, x) => reshapedTo(x),
  unsqueeze: (_out, x) => reshapedTo(x),
  permute: (_out, x, dims) => (g) => {
    const order = dims.map((d) => normalizeDim(d, x.ndim, 'permute'));
    return [
      dispatch(
        'permute',
        g,
        order.map((_, d) => order.indexOf(d)),
      ),
    ];
  },
  transpose: (_out, _x, dim0, dim1) => (g) => [dispatch('transpose', g, dim0, dim1)],
  expand: (_out, x) => (g) => [sumTo(g, x.shape)],
  slice: (_out, x, dim, start, end, step) => (g) => [
    placeSlice(g, x.shape, normalizeDim(dim, x.ndim, 'slice'), start, end, step),
  ],
  select: (_out, x, dim, index) => (g) => {
    const d = normalizeDim(dim, x.ndim, 'select');
    const at = index < 0 ? index + x.shape[d] : index;
    return [placeSlice(dispatch('unsqueeze', g, d), x.shape, d, at, at + 1, 1)];
  },
  contiguous: () => (g) => [g],
  flip: (_out, _x, dims) => (g) => [dispatch('flip', g, dims)],
  repeat: (_out, x, times) => (g) => {
    const lead = times.length - x.ndim;
    const split = times.flatMap((t, d) => [t, d < lead ? 1 : x.shape[d - lead]]);
    const repeats = times.map((_, d) => 2 * d);
    return [dispatch('reshape', dispatch('sum', dispatch('reshape', g, split), repeats, false), x.shape)];
  },
  pad: (_out, x, pads, mode) => (g) => {
    if (mode === 'constant') {
      const cropped = pads.map((p) => -p);
      return [dispatch('pad', g, cropped, 'constant', 0)];
    }
    const folded = padPlan(x, pads).reduceRight(
      (y, { dim, before, after }) =>
        addSlices(y, dim, padIndices(x.shape[dim], before, after, mode), x.shape[dim]),
      g,
    );
    return [folded];
  },
  tril: (_out, _x, diagonal) => (g) => [dispatch('tril', g, diagonal)],
  triu: (_out, _x, diagonal) => (g) => [dispatch('triu', g, diagonal)],

  cat: (_out, tensors, dim) => (g) => {
    const d = normalizeDim(dim, g.ndim, 'cat');
    let start = 0;
    return tensors.map((t) => {
      if (t.ndim !== g.ndim) return zeros(t.shape, { dtype: t.dtype as PlainDType });
      const part = dispatch('slice', g, d, start, start + t.shape[d], 1);
      start += t.shape[d];
      return part.dtype === t.dtype ? part : dispatch('to', part, t.dtype);
    });
  },
  stack: (_out, _tensors, dim) => (g) => dispatch('unbind', g, dim),
  split: (outs, x, _sizes, dim) => parts(outs, x, dim),
  chunk: (outs, x, _chunks, dim) => parts(outs, x, dim),
  unbind: (outs, x, dim) => {
    if (outs.length === 0) return () => [zeros(x.shape, { dtype: x.dtype as PlainDType })];
    const { shape } = outs[0];
    return (grads) => [
      dispatch(
        'stack',
        grads.map((g) => g ?? zeros(shape, { dtype: x.dtype as PlainDType })),
        dim,
      ),
    ];
  },

  indexSelect: (_out, x, dim, index) => (g) => {
    const d = normalizeDim(dim, x.ndim, 'indexSelect');
    return [addSlices(g, d, index.data, x.shape[d]), null];
  },
  gather: (_out, x, dim, index) => (g) => [
    dispatch('scatterAdd', zeros(x.shape, { dtype: x.dtype as PlainDType }), dim, index, g),
    null,
  ],
  scatterAdd: (_out, _x, dim, index, source) => (g) => {
    if (!source.requiresGrad) return [g, null, null];
    const taken = dispatch('gather', g, dim, index);
    // `source` may be larger than `index`; what was not read gets zeros.
    const pads = source.shape.map((size, d) => [0, size - index.shape[d]]).reverse();
    return [g, null, dispatch('pad', taken, pads.flat(), 'constant', 0)];
  },
  maskedSelect: (_out, x, mask) => (g) => {
    const shape = broadcastShapes(x.shape, mask.shape, 'maskedSelect');
    return [sumTo(placeMasked(g, mask, shape), x.shape), null];
  },
};
