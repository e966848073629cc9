import { ArgumentError } from '../../../core/errors.ts';
import { arange } from '../../../tensor/creation.ts';
import { fromStorage, type Tensor } from '../../../tensor/tensor.ts';
import { dispatch } from '../../dispatch.ts';

/** Options of {@link embeddingBag}. */
export interface EmbeddingBagOptions {
  /** How a bag folds its rows; mean. */
  readonly mode?: 'sum' | 'mean' | 'max';
  /** A factor per index, in the shape of the indices; for mode sum. */
  readonly perSampleWeights?: Tensor | null;
  /** The last offset is the end of the last bag instead of the start of one more; false. */
  readonly includeLastOffset?: boolean;
}

/**
 * Rows of a table: indices […] and weight [rows, width] → […, width]. The row `paddingIdx` gets no gradient.
 * Source: `torch.nn.functional.embedding`.
 *
 * @throws ArgumentError for an index outside of the table.
 * @example
 * embedding(tensor([[1, 2], [4, 0]], { dtype: 'int64' }), randn([5, 16])).shape; // [2, 2, 16]
 */
export function embedding(
  indices: Tensor,
  weight: Tensor,
  options: { readonly paddingIdx?: number | null } = {},
): Tensor {
  const rows = weight.shape[0];
  let paddingIdx = options.paddingIdx ?? null;
  if (paddingIdx !== null) {
    if (!Number.isInteger(paddingIdx) || paddingIdx < -rows || paddingIdx >= rows) {
      throw new ArgumentError({
        fn: 'embedding',
        argument: 'paddingIdx',
        expected: `a row from ${-rows} to ${rows - 1}`,
        got: String(paddingIdx),
      });
    }
    if (paddingIdx < 0) paddingIdx += rows;
  }
  return dispatch('embedding', indices, weight, paddingIdx);
}

/**
 * Sums, means or maxima of bags of rows. Indices [count] with `offsets` [bags] (where each bag starts), or indices
 * [bags, size] without offsets → [bags, width]. Empty bags give zeros. Source: `torch.nn.functional.embedding_bag`.
 *
 * @throws ArgumentError for indices outside of the table, bad offsets, or weights with another mode than sum.
 * @example
 * embeddingBag(tensor([1, 2, 4, 5], { dtype: 'int64' }), randn([10, 3]), tensor([0, 2], { dtype: 'int64' })).shape; // [2, 3]
 */
export function embeddingBag(
  indices: Tensor,
  weight: Tensor,
  offsets: Tensor | null = null,
  options: EmbeddingBagOptions = {},
): Tensor {
  const { mode = 'mean', perSampleWeights = null, includeLastOffset = false } = options;
  if (indices.ndim === 2) {
    if (offsets) {
      throw new ArgumentError({
        fn: 'embeddingBag',
        argument: 'offsets',
        expected: 'none for indices of two dimensions (every row is a bag)',
        got: 'a tensor',
      });
    }
    const [bags, size] = indices.shape;
    const starts = fromStorage(
      Float64Array.from({ length: bags }, (_, b) => b * size),
      [bags],
      'int64',
    );
    const flat = (t: Tensor): Tensor => dispatch('reshape', t, [-1]);
    return dispatch(
      'embeddingBag',
      flat(indices),
      weight,
      starts,
      mode,
      perSampleWeights && flat(perSampleWeights),
    );
  }
  if (!offsets) {
    throw new ArgumentError({
      fn: 'embeddingBag',
      argument: 'offsets',
      expected: 'where each bag starts, for indices of one dimension',
      got: 'null',
    });
  }
  if (!includeLastOffset) return dispatch('embeddingBag', indices, weight, offsets, mode, perSampleWeights);
  // The last offset only says where the indices in use end.
  const end = Number(offsets.data[offsets.numel - 1]);
  const starts = dispatch('slice', offsets, 0, 0, offsets.numel - 1, 1);
  const used = (t: Tensor): Tensor => (end === t.shape[0] ? t : dispatch('slice', t, 0, 0, end, 1));
  return dispatch(
    'embeddingBag',
    used(indices),
    weight,
    starts,
    mode,
    perSampleWeights && used(perSampleWeights),
  );
}

/**
 * Integers […] as rows of zeros with a single one, […, numClasses] in int64. `numClasses` −1 takes the largest plus one.
 * Source: `torch.nn.functional.one_hot`.
 *
 * @throws ArgumentError for values outside of the classes.
 * @example
 * oneHot(tensor([0, 2], { dtype: 'int64' })); // [[1, 0, 0], [0, 0, 1]]
 */
export function oneHot(x: Tensor, numClasses = -1): Tensor {
  let largest = -1;
  for (const v of x.data) {
    if (v < 0) throw outside(v, numClasses);
    if (v > largest) largest = v;
  }
  const classes = numClasses === -1 ? largest + 1 : numClasses;
  if (classes < 1 || largest >= classes) throw outside(largest, classes);
  const hits = dispatch(
    'eq',
    dispatch('unsqueeze', x, -1),
    arange(classes, undefined, 1, { dtype: 'int64' }),
  );
  return dispatch('to', hits, 'int64');
}

function outside(value: number, classes: number): ArgumentError {
  return new ArgumentError({
    fn: 'oneHot',
    argument: 'x',
    expected:
      classes < 1
        ? 'non-negative values (and at least one, or numClasses)'
        : `values from 0 to ${classes - 1}`,
    got: String(value),
  });
}
