import { ArgumentError, ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { tensor, zeros } from '../tensor/creation.ts';
import type { PlainDType } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * Sequences of different lengths, time step by time step and without padding: what recurrent layers take instead of a
 * padded batch. Made by {@link packPaddedSequence}. Source: `torch.nn.utils.rnn.PackedSequence`.
 */
export class PackedSequence {
  /** [sum of lengths, *]: all first steps, then all second steps, … */
  readonly data: Tensor;
  /** How many sequences still run at each step; never growing. */
  readonly batchSizes: readonly number[];
  /** Place in the caller's batch of each sequence here; null where the caller's batch was sorted. */
  readonly sortedIndices: Tensor | null;
  /** Place here of each sequence of the caller's batch. */
  readonly unsortedIndices: Tensor | null;

  constructor(data: Tensor, batchSizes: readonly number[], sortedIndices: Tensor | null = null) {
    this.data = data;
    this.batchSizes = batchSizes;
    this.sortedIndices = sortedIndices;
    this.unsortedIndices = sortedIndices && invertPermutation(sortedIndices);
  }
}

/** Options of {@link packPaddedSequence} and {@link packSequence}. */
export interface PackOptions {
  /** The input is [batch, time, *] rather than [time, batch, *]. */
  readonly batchFirst?: boolean;
  /** Refuse sequences that are not sorted by falling length (the default); false sorts them here. */
  readonly enforceSorted?: boolean;
}

/**
 * Packs a padded batch [time, batch, *] of sequences of the given lengths.
 * Source: `torch.nn.utils.rnn.pack_padded_sequence`.
 *
 * @example
 * const packed = packPaddedSequence(x, [5, 3, 1], { batchFirst: true });
 * const [out] = lstm(packed);
 * const [padded, lengths] = padPackedSequence(out, { batchFirst: true });
 */
export function packPaddedSequence(
  x: Tensor,
  lengths: readonly number[] | Tensor,
  options: PackOptions = {},
): PackedSequence {
  const given = Array.isArray(lengths) ? (lengths as number[]) : Array.from((lengths as Tensor).numbers());
  const steps = options.batchFirst ? dispatch('transpose', x, 0, 1) : x;
  const [time, batch] = steps.shape;
  if (x.ndim < 2 || given.length !== batch || given.some((n) => !Number.isInteger(n) || n < 1 || n > time)) {
    throw new ShapeError({
      fn: 'packPaddedSequence',
      argument: 'lengths',
      expected: `${batch} whole numbers from 1 to ${time}, for an input of ${formatShape(x.shape)}`,
      got: JSON.stringify(given),
    });
  }
  const sorted = given.every((n, i) => i === 0 || n <= given[i - 1]);
  const enforce = options.enforceSorted ?? true;
  if (enforce && !sorted) {
    throw new ArgumentError({
      fn: 'packPaddedSequence',
      argument: 'lengths',
      expected: 'lengths sorted from longest to shortest',
      got: JSON.stringify(given),
      fix: 'Pass { enforceSorted: false } to have them sorted here.',
    });
  }
  const order = given.map((_, i) => i).sort((a, b) => given[b] - given[a]);
  const indices = enforce ? null : tensor(Float64Array.from(order), { dtype: 'int64' });
  const rows = indices ? dispatch('indexSelect', steps, 1, indices) : steps;
  const longest = given[order[0]];
  const batchSizes = Array.from({ length: longest }, (_, t) => given.filter((n) => n > t).length);
  const parts = batchSizes.map((n, t) => dispatch('slice', dispatch('select', rows, 0, t), 0, 0, n, 1));
  return new PackedSequence(dispatch('cat', parts, 0), batchSizes, indices);
}

/** Options of {@link padPackedSequence}. */
export interface PadPackedOptions {
  /** Give [batch, time, *] rather than [time, batch, *]. */
  readonly batchFirst?: boolean;
  /** What stands behind the end of a sequence; 0 where not given. */
  readonly paddingValue?: number;
  /** Length to pad to; the longest sequence where not given. */
  readonly totalLength?: number;
}

/**
 * The inverse of {@link packPaddedSequence}: the padded batch in the caller's order, and the lengths (int64).
 * Source: `torch.nn.utils.rnn.pad_packed_sequence`.
 */
export function padPackedSequence(
  sequence: PackedSequence,
  options: PadPackedOptions = {},
): [Tensor, Tensor] {
  const { data, batchSizes, unsortedIndices } = sequence;
  const total = options.totalLength ?? batchSizes.length;
  if (total < batchSizes.length) {
    throw new ArgumentError({
      fn: 'padPackedSequence',
      argument: 'totalLength',
      expected: `at least the longest sequence, ${batchSizes.length}`,
      got: String(total),
    });
  }
  const batch = batchSizes[0];
  const value = options.paddingValue ?? 0;
  const rest = data.ndim - 1;
  const steps = dispatch('split', data, batchSizes, 0).map((rows) =>
    rows.shape[0] === batch
      ? rows
      : dispatch('pad', rows, [...new Array(2 * rest).fill(0), 0, batch - rows.shape[0]], 'constant', value),
  );
  let padded = dispatch('stack', steps, 0);
  if (total > batchSizes.length) {
    const pads = [...new Array(2 * (rest + 1)).fill(0), 0, total - batchSizes.length];
    padded = dispatch('pad', padded, pads, 'constant', value);
  }
  let lengths = tensor(
    Float64Array.from({ length: batch }, (_, i) => batchSizes.filter((n) => n > i).length),
    { dtype: 'int64' },
  );
  if (unsortedIndices) {
    padded = dispatch('indexSelect', padded, 1, unsortedIndices);
    lengths = dispatch('indexSelect', lengths, 0, unsortedIndices);
  }
  return [options.batchFirst ? dispatch('transpose', padded, 0, 1) : padded, lengths];
}

/**
 * Stacks sequences [length, *] of different lengths into one padded batch. Source: `torch.nn.utils.rnn.pad_sequence`.
 *
 * @example
 * padSequence([ones([3, 8]), ones([5, 8])], { batchFirst: true }).shape; // [2, 5, 8]
 */
export function padSequence(
  sequences: readonly Tensor[],
  options: { readonly batchFirst?: boolean; readonly paddingValue?: number } = {},
): Tensor {
  const longest = Math.max(...sequences.map((s) => s.shape[0]));
  const padded = sequences.map((s) => {
    const pads = [...new Array(2 * (s.ndim - 1)).fill(0), 0, longest - s.shape[0]];
    return s.shape[0] === longest ? s : dispatch('pad', s, pads, 'constant', options.paddingValue ?? 0);
  });
  return dispatch('stack', padded, options.batchFirst ? 0 : 1);
}

/** Packs a list of sequences [length, *]. Source: `torch.nn.utils.rnn.pack_sequence`. */
export function packSequence(
  sequences: readonly Tensor[],
  options: { readonly enforceSorted?: boolean } = {},
): PackedSequence {
  const lengths = sequences.map((s) => s.shape[0]);
  return packPaddedSequence(padSequence(sequences), lengths, options);
}

function invertPermutation(order: Tensor): Tensor {
  const inverse = zeros(order.shape, { dtype: order.dtype as PlainDType });
  order.numbers().forEach((to: number, i: number) => {
    inverse.storage[to] = i;
  });
  return inverse;
}
