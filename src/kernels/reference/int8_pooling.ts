import type { ConvGeometry } from '../geometry.ts';
import { referenceRequantize } from './int8_conv.ts';

/** For every output element, the input elements of its window that lie inside of the image (channels last, 2-d). */
function gatherWindows(
  x: ArrayLike<number>,
  channels: number,
  geometry: ConvGeometry,
): { values: number[]; oh: number; ow: number }[] {
  const { batch, inputSize, outputSize, kernel, stride, padding, dilation } = geometry;
  const result: { values: number[]; oh: number; ow: number }[] = [];
  for (let b = 0; b < batch; b++) {
    for (let oh = 0; oh < outputSize[0]; oh++) {
      for (let ow = 0; ow < outputSize[1]; ow++) {
        for (let c = 0; c < channels; c++) {
          const values: number[] = [];
          for (let kh = 0; kh < kernel[0]; kh++) {
            for (let kw = 0; kw < kernel[1]; kw++) {
              const h = oh * stride[0] - padding[0] + kh * dilation[0];
              const w = ow * stride[1] - padding[1] + kw * dilation[1];
              if (h < 0 || h >= inputSize[0] || w < 0 || w >= inputSize[1]) continue;
              values.push(x[((b * inputSize[0] + h) * inputSize[1] + w) * channels + c]);
            }
          }
          result.push({ values, oh, ow });
        }
      }
    }
  }
  return result;
}

/** Twin of `qMaxPool2d`. */
export function referenceMaxPool(x: ArrayLike<number>, channels: number, geometry: ConvGeometry): number[] {
  return gatherWindows(x, channels, geometry).map(({ values }) => Math.max(...values));
}

/** Twin of `qAvgPool2d`, for integers in [min, max]. */
export function referenceAvgPool(
  x: ArrayLike<number>,
  channels: number,
  geometry: ConvGeometry,
  options: {
    readonly zeroPoint: number;
    readonly countIncludePad: boolean;
    readonly min: number;
    readonly max: number;
  },
): number[] {
  const { zeroPoint, countIncludePad, min, max } = options;
  const { inputSize, kernel, stride, padding } = geometry;
  const extent = (o: number, d: number): number => {
    let count = 0;
    for (let k = 0; k < kernel[d]; k++) if (o * stride[d] + k < inputSize[d] + 2 * padding[d]) count++;
    return count;
  };
  return gatherWindows(x, channels, geometry).map(({ values, oh, ow }) => {
    const sum = values.reduce((a, b) => a + (b - zeroPoint), 0);
    const n = countIncludePad ? extent(oh, 0) * extent(ow, 1) : values.length;
    return referenceRequantize(sum, Math.fround(1 / n), zeroPoint, min, max);
  });
}
