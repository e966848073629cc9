import { ArgumentError, ShapeError } from '../../../core/errors.ts';
import { formatShape, type Shape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { allocateLike, requireFloat } from './channels-last.ts';

/** How a bag folds its rows. */
export type BagMode = 'sum' | 'mean' | 'max';

/** Rows of a table by index. Source: `torch.nn.functional.embedding`. */
export function embedding(indices: Tensor, weight: Tensor, _paddingIdx: number | null): Tensor {
  const dtype = requireFloat('embedding', { weight });
  const width = checkTable('embedding', weight);
  const places = checkIndices('embedding', indices, weight.shape[0]);
  const table = weight.data;
  const out = allocateLike(table, places.length * width);
  for (let i = 0; i < places.length; i++) {
    const from = places[i] * width;
    if (width > 16) out.set(table.subarray(from, from + width), i * width);
    else for (let j = 0; j < width; j++) out[i * width + j] = table[from + j];
  }
  return new Tensor({ storage: out, shape: [...indices.shape, width], dtype });
}

/** Gradient of {@link embedding} with respect to a table of `weightShape`; the padding row gets none. */
export function embeddingGrad(
  gradOut: Tensor,
  indices: Tensor,
  weightShape: Shape,
  paddingIdx: number | null,
): Tensor {
  const [rows, width] = weightShape;
  const grad = gradOut.data;
  const places = indices.data;
  const out = allocateLike(grad, rows * width);
  for (let i = 0; i < places.length; i++) {
    if (places[i] === paddingIdx) continue;
    const to = places[i] * width;
    for (let j = 0; j < width; j++) out[to + j] += grad[i * width + j];
  }
  return new Tensor({ storage: out, shape: weightShape, dtype: gradOut.dtype });
}

/**
 * Rows of a table folded by bags: bag `b` holds the indices from `offsets[b]` up to the next offset. An empty bag gives
 * zeros. Source: `torch.nn.functional.embedding_bag`.
 */
export function embeddingBag(
  indices: Tensor,
  weight: Tensor,
  offsets: Tensor,
  mode: BagMode,
  perSampleWeights: Tensor | null,
): Tensor {
  const dtype = requireFloat('embeddingBag', { weight, perSampleWeights });
  const width = checkTable('embeddingBag', weight);
  const places = checkIndices('embeddingBag', indices, weight.shape[0]);
  const ends = bagEnds(offsets, places.length);
  checkSampleWeights(indices, mode, perSampleWeights);
  const table = weight.data;
  const shares = perSampleWeights?.data;
  const out = allocateLike(table, ends.length * width);
  const acc = new Float64Array(width);
  for (let bag = 0, start = 0; bag < ends.length; start = ends[bag++]) {
    const size = ends[bag] - start;
    if (size === 0) continue;
    acc.fill(mode === 'max' ? -Infinity : 0);
    for (let i = start; i < ends[bag]; i++) {
      const from = places[i] * width;
      const share = shares ? shares[i] : 1;
      if (mode === 'max') for (let j = 0; j < width; j++) acc[j] = Math.max(acc[j], table[from + j]);
      else for (let j = 0; j < width; j++) acc[j] += table[from + j] * share;
    }
    const scale = mode === 'mean' ? 1 / size : 1;
    for (let j = 0; j < width; j++) out[bag * width + j] = acc[j] * scale;
  }
  return new Tensor({ storage: out, shape: [ends.length, width], dtype });
}

/** Gradients of {@link embeddingBag}: [table, per-sample weights (null where there were none)]. */
export function embeddingBagGrad(
  gradOut: Tensor,
  indices: Tensor,
  weight: Tensor,
  offsets: Tensor,
  mode: BagMode,
  perSampleWeights: Tensor | null,
): [Tensor, Tensor | null] {
  const width = weight.shape[1];
  const places = indices.data;
  const ends = bagEnds(offsets, places.length);
  const grad = gradOut.data;
  const table = weight.data;
  const shares = perSampleWeights?.data;
  const gradTable = allocateLike(table, table.length);
  const gradShares = perSampleWeights ? allocateLike(table, places.length) : null;
  for (let bag = 0, start = 0; bag < ends.length; start = ends[bag++]) {
    const end = ends[bag];
    const at = bag * width;
    if (mode === 'max') {
      for (let j = 0; j < width && start < end; j++) {
        let best = places[start] * width + j;
        for (let i = start + 1; i < end; i++) {
          if (table[places[i] * width + j] > table[best]) best = places[i] * width + j;
        }
        gradTable[best] += grad[at + j];
      }
      continue;
    }
    const scale = mode === 'mean' ? 1 / (end - start) : 1;
    for (let i = start; i < end; i++) {
      const row = places[i] * width;
      const share = shares ? shares[i] : scale;
      let dot = 0;
      for (let j = 0; j < width; j++) {
        gradTable[row + j] += grad[at + j] * share;
        dot += grad[at + j] * table[row + j];
      }
      if (gradShares) gradShares[i] = dot;
    }
  }
  return [
    new Tensor({ storage: gradTable, shape: weight.shape, dtype: weight.dtype }),
    gradShares && new Tensor({ storage: gradShares, shape: indices.shape, dtype: weight.dtype }),
  ];
}

function bagEnds(offsets: Tensor, count: number): Int32Array {
  const starts = offsets.data;
  const ends = Int32Array.from({ length: starts.length }, (_, i) =>
    i + 1 < starts.length ? starts[i + 1] : count,
  );
  if (
    offsets.ndim !== 1 ||
    (starts.length > 0 && starts[0] !== 0) ||
    ends.some((end, i) => end < starts[i] || end > count)
  ) {
    throw new ArgumentError({
      fn: 'embeddingBag',
      argument: 'offsets',
      expected: `ascending starts from 0 to at most ${count}`,
      got: `[${Array.from(starts.subarray(0, 8)).join(', ')}${starts.length > 8 ? ', …' : ''}]`,
    });
  }
  return ends;
}

function checkTable(fn: string, weight: Tensor): number {
  if (weight.ndim !== 2) {
    throw new ShapeError({
      fn,
      argument: 'weight',
      expected: '[rows, width]',
      got: formatShape(weight.shape),
    });
  }
  return weight.shape[1];
}

/** The indices, each checked to name a row. */
export function checkIndices(fn: string, indices: Tensor, rows: number): Tensor['storage'] {
  const places = indices.data;
  for (let i = 0; i < places.length; i++) {
    if (places[i] >= 0 && places[i] < rows && Number.isInteger(places[i])) continue;
    throw new ArgumentError({
      fn,
      argument: 'indices',
      expected: `whole numbers from 0 to ${rows - 1}`,
      got: `${places[i]} at place ${i}`,
    });
  }
  return places;
}

function checkSampleWeights(indices: Tensor, mode: BagMode, weights: Tensor | null): void {
  if (weights === null) return;
  if (mode !== 'sum') {
    throw new ArgumentError({
      fn: 'embeddingBag',
      argument: 'perSampleWeights',
      expected: "mode 'sum'",
      got: `mode '${mode}'`,
    });
  }
  if (weights.shape.join() !== indices.shape.join()) {
    throw new ShapeError({
      fn: 'embeddingBag',
      argument: 'perSampleWeights',
      expected: `shape ${formatShape(indices.shape)}, like the indices`,
      got: formatShape(weights.shape),
    });
  }
}
