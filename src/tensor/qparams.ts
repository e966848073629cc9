import { ArgumentError } from '../core/errors.ts';
import { DTYPES, type QuantizedDType } from './dtype.ts';

/** How scales and zero points map onto a tensor. Names are PyTorch's `torch.qscheme`s. */
export type QScheme =
  | 'per_tensor_affine'
  | 'per_tensor_symmetric'
  | 'per_channel_affine'
  | 'per_channel_symmetric'
  | 'per_channel_affine_float_qparams';

/** One scale (a float32 or double number) and one zero point for a whole tensor. */
export interface PerTensorQParams {
  readonly scheme: 'per_tensor_affine';
  readonly scale: number;
  readonly zeroPoint: number;
}

/** A scale and a zero point for each slice along `axis`. Float zero points belong to the float-qparams scheme. */
export interface PerChannelQParams {
  readonly scheme: 'per_channel_affine' | 'per_channel_affine_float_qparams';
  readonly scales: Float64Array | Float32Array;
  readonly zeroPoints: Int32Array | Float32Array;
  readonly axis: number;
}

/** Quantization parameters of a tensor. */
export type QParams = PerTensorQParams | PerChannelQParams;

/** True for qparams that hold one pair per channel. */
export function isPerChannel(qparams: QParams): qparams is PerChannelQParams {
  return qparams.scheme !== 'per_tensor_affine';
}

/** True where two tensors are quantized in the same way: same scheme, scales, zero points and axis. */
export function equalQParams(a: QParams, b: QParams): boolean {
  if (!isPerChannel(a) || !isPerChannel(b))
    return (
      a.scheme === b.scheme &&
      'scale' in a &&
      'scale' in b &&
      a.scale === b.scale &&
      a.zeroPoint === b.zeroPoint
    );
  const same = (x: ArrayLike<number>, y: ArrayLike<number>): boolean =>
    x.length === y.length && Array.from(x).every((v, i) => v === y[i]);
  return (
    a.scheme === b.scheme && a.axis === b.axis && same(a.scales, b.scales) && same(a.zeroPoints, b.zeroPoints)
  );
}

/** Checked per-tensor parameters. Throws where the scale is not positive and finite or the zero point does not fit the dtype. */
export function perTensorQParams(
  scale: number,
  zeroPoint: number,
  dtype: QuantizedDType,
  fn: string,
): PerTensorQParams {
  checkScale(scale, fn);
  checkZeroPoint(zeroPoint, dtype, fn);
  return { scheme: 'per_tensor_affine', scale, zeroPoint };
}

/** Checked per-channel parameters: one scale and zero point for each of `channels` slices. */
export function perChannelQParams(
  scales: ArrayLike<number>,
  zeroPoints: ArrayLike<number>,
  axis: number,
  channels: number,
  dtype: QuantizedDType,
  fn: string,
): PerChannelQParams {
  for (const [argument, list] of [
    ['scales', scales],
    ['zeroPoints', zeroPoints],
  ] as const) {
    if (list.length !== channels) {
      throw new ArgumentError({
        fn,
        argument,
        expected: `${channels} values, one per slice along axis ${axis}`,
        got: `${list.length}`,
      });
    }
  }
  for (let c = 0; c < channels; c++) {
    checkScale(scales[c], fn);
    checkZeroPoint(zeroPoints[c], dtype, fn);
  }
  return {
    scheme: 'per_channel_affine',
    scales: Float64Array.from(scales),
    zeroPoints: Int32Array.from(zeroPoints),
    axis,
  };
}

function checkScale(scale: number, fn: string): void {
  if (!(scale > 0) || !Number.isFinite(scale)) {
    throw new ArgumentError({
      fn,
      argument: 'scale',
      expected: 'a positive finite number',
      got: String(scale),
    });
  }
}

function checkZeroPoint(zeroPoint: number, dtype: QuantizedDType, fn: string): void {
  const { min, max } = DTYPES[dtype];
  if (!Number.isInteger(zeroPoint) || zeroPoint < min || zeroPoint > max) {
    throw new ArgumentError({
      fn,
      argument: 'zeroPoint',
      expected: `a whole number from ${min} to ${max} (${dtype})`,
      got: String(zeroPoint),
    });
  }
}
