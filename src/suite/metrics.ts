import { ShapeError } from '../core/errors.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ErrorSums } from './error-sums.ts';

/**
 * Signal-to-quantization-noise ratio in decibels over all elements: 10·log10(Σ float² / Σ (float − other)²).
 * Infinite where both are equal. Source: `torch.ao.ns.fx.utils.compute_sqnr` (squared).
 *
 * @example
 * sqnr(floatLogits, int8Logits); // 26.3
 */
export function sqnr(float: Tensor, other: Tensor): number {
  return new ErrorSums('sqnr').add(float, other).metrics().sqnr;
}

/** Cosine of the angle between two tensors seen as vectors; 1 where both are zero. */
export function cosineSimilarity(float: Tensor, other: Tensor): number {
  return new ErrorSums('cosineSimilarity').add(float, other).metrics().cosine;
}

/** ‖float − other‖₂ / ‖float‖₂. */
export function normalizedL2(float: Tensor, other: Tensor): number {
  return new ErrorSums('normalizedL2').add(float, other).metrics().normalizedL2;
}

/** The largest absolute difference of two elements. */
export function maxError(float: Tensor, other: Tensor): number {
  return new ErrorSums('maxError').add(float, other).metrics().maxError;
}

/** Share of rows of [N, classes] logits whose largest element is at the label. `labels` holds N class indices. */
export function top1Accuracy(logits: Tensor, labels: Tensor): number {
  const found = rowArgmax(logits, 'top1Accuracy');
  const wanted = labels.numbers();
  if (wanted.length !== found.length) {
    throw new ShapeError({
      fn: 'top1Accuracy',
      argument: 'labels',
      expected: `${found.length} labels`,
      got: `${wanted.length}`,
    });
  }
  return share(found, wanted);
}

/** Share of rows on which two models' logits put the same class first. */
export function top1Agreement(float: Tensor, other: Tensor): number {
  if (float.shape.join() !== other.shape.join()) {
    throw new ShapeError({
      fn: 'top1Agreement',
      argument: 'other',
      expected: `shape ${formatShape(float.shape)}, as the float one`,
      got: formatShape(other.shape),
    });
  }
  return share(rowArgmax(float, 'top1Agreement'), rowArgmax(other, 'top1Agreement'));
}

function share(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let same = 0;
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++;
  return a.length === 0 ? 1 : same / a.length;
}

function rowArgmax(logits: Tensor, fn: string): Int32Array {
  if (logits.ndim !== 2) {
    throw new ShapeError({
      fn,
      argument: 'logits',
      expected: 'shape [N, classes]',
      got: formatShape(logits.shape),
    });
  }
  const [rows, classes] = logits.shape;
  const values = logits.numbers();
  const best = new Int32Array(rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 1; c < classes; c++)
      if (values[r * classes + c] > values[r * classes + best[r]]) best[r] = c;
  }
  return best;
}
