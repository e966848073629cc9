import { roundHalfEven } from '../../core/math.ts';
import type { ConvGeometry } from '../geometry.ts';

/** Arguments of {@link referenceConv}: one convolution, stated in full. */
export interface ReferenceConv {
  readonly input: Uint8Array | Int8Array;
  readonly weight: Uint8Array | Int8Array;
  readonly outChannels: number;
  readonly inChannelsPerGroup: number;
  readonly groups: number;
  readonly geometry: ConvGeometry;
  readonly bias: Float32Array | null;
  readonly inputScale: number;
  readonly inputZeroPoint: number;
  readonly weightScales: ArrayLike<number>;
  readonly weightZeroPoints: ArrayLike<number>;
}

/** Calls `visit` with the flat indices of every input pixel (or -1 in the padding) and tap that output pixel `out` reads. */
function forEachTap(
  geometry: ConvGeometry,
  out: readonly number[],
  visit: (pixel: number, tap: number) => void,
): void {
  const rank = out.length;
  const tap = new Array<number>(rank).fill(0);
  const taps = geometry.kernel.reduce((a, b) => a * b, 1);
  for (let t = 0; t < taps; t++) {
    let rest = t;
    for (let d = rank - 1; d >= 0; d--) {
      tap[d] = rest % geometry.kernel[d];
      rest = Math.floor(rest / geometry.kernel[d]);
    }
    let pixel = 0;
    for (let d = 0; d < rank; d++) {
      const at = out[d] * geometry.stride[d] - geometry.padding[d] + tap[d] * geometry.dilation[d];
      if (at < 0 || at >= geometry.inputSize[d]) pixel = -1;
      else if (pixel >= 0) pixel = pixel * geometry.inputSize[d] + at;
    }
    visit(pixel, t);
  }
}

/** The exact integer sums Σ(x − zx)(w − zw), channels last. Padding contributes nothing. */
function referenceConvSums(conv: ReferenceConv): Float64Array {
  const {
    input,
    weight,
    outChannels,
    inChannelsPerGroup,
    groups,
    geometry,
    inputZeroPoint,
    weightZeroPoints,
  } = conv;
  const inPixels = geometry.inputSize.reduce((a, b) => a * b, 1);
  const outPixels = geometry.outputSize.reduce((a, b) => a * b, 1);
  const taps = geometry.kernel.reduce((a, b) => a * b, 1);
  const inChannels = inChannelsPerGroup * groups;
  const result = new Float64Array(geometry.batch * outPixels * outChannels);
  for (let b = 0; b < geometry.batch; b++) {
    for (let o = 0; o < outPixels; o++) {
      const position = new Array<number>(geometry.outputSize.length);
      let rest = o;
      for (let d = position.length - 1; d >= 0; d--) {
        position[d] = rest % geometry.outputSize[d];
        rest = Math.floor(rest / geometry.outputSize[d]);
      }
      for (let c = 0; c < outChannels; c++) {
        const group = Math.floor((c * groups) / outChannels);
        let sum = 0;
        forEachTap(geometry, position, (pixel, tap) => {
          if (pixel < 0) return;
          for (let k = 0; k < inChannelsPerGroup; k++) {
            const x = input[(b * inPixels + pixel) * inChannels + group * inChannelsPerGroup + k];
            const w = weight[(c * taps + tap) * inChannelsPerGroup + k];
            sum += (x - inputZeroPoint) * (w - weightZeroPoints[c]);
          }
        });
        result[(b * outPixels + o) * outChannels + c] = sum;
      }
    }
  }
  return result;
}

/** `clamp(nearbyint(f32(acc) · scale) + zeroPoint, min, max)` with the product in float32. */
export function referenceRequantize(
  acc: number,
  scale: number,
  zeroPoint: number,
  min: number,
  max: number,
): number {
  const rounded = roundHalfEven(Math.fround(Math.fround(acc) * scale)) + zeroPoint;
  return Math.min(Math.max(rounded, min), max);
}

/** Twin of `qConv`. */
export function referenceConv(
  conv: ReferenceConv,
  output: { readonly scale: number; readonly zeroPoint: number; readonly min: number; readonly max: number },
): Float64Array {
  const inputScale = Math.fround(conv.inputScale);
  return referenceConvSums(conv).map((sum, i) => {
    const c = i % conv.outChannels;
    const accScale = Math.fround(Math.fround(conv.weightScales[c]) * inputScale);
    const bias = conv.bias ? roundHalfEven(Math.fround(conv.bias[c] * Math.fround(1 / accScale))) : 0;
    const acc = (sum + Math.min(Math.max(bias, -(2 ** 31)), 2 ** 31 - 1)) | 0;
    const scale = Math.fround(accScale * Math.fround(1 / Math.fround(output.scale)));
    return referenceRequantize(acc, scale, output.zeroPoint, output.min, output.max);
  });
}

/** Twin of `qConvFloat`. */
export function referenceConvFloat(conv: ReferenceConv): Float32Array {
  const inputScale = Math.fround(conv.inputScale);
  return Float32Array.from(referenceConvSums(conv), (sum, i) => {
    const c = i % conv.outChannels;
    const accScale = Math.fround(Math.fround(conv.weightScales[c]) * inputScale);
    return Math.fround(Math.fround(sum) * accScale) + (conv.bias ? conv.bias[c] : 0);
  });
}
