import { ShapeError } from '../core/errors.ts';
import { product } from '../core/math.ts';

/**
 * Sizes of a convolution or pooling over 1, 2 or 3 spatial dimensions, outermost first. All lists but `batch` have one
 * entry per spatial dimension; a linear layer has none (`[]`). Data is channels-last: N, spatial…, C.
 */
export interface ConvGeometry {
  readonly batch: number;
  readonly inputSize: readonly number[];
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  /** Padding before each dimension; behind it there is as much as `outputSize` needs. */
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly outputSize: readonly number[];
}

/** The geometry of a matrix product: `rows` pixels, no spatial dimensions. */
export function linearGeometry(rows: number): ConvGeometry {
  return { batch: rows, inputSize: [], outputSize: [], kernel: [], stride: [], padding: [], dilation: [] };
}

/**
 * A geometry with the output size of `torch.nn.functional.conv*d`: floor((in + 2·padding − dilation·(kernel − 1) − 1) / stride) + 1.
 *
 * @throws ShapeError when the kernel does not fit the padded input.
 */
export function convGeometry(options: Omit<ConvGeometry, 'outputSize'>): ConvGeometry {
  const { inputSize, kernel, stride, padding, dilation } = options;
  const outputSize = inputSize.map(
    (size, i) => Math.floor((size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i]) + 1,
  );
  if (outputSize.some((size) => size < 1)) {
    throw new ShapeError({
      fn: 'convGeometry',
      argument: 'inputSize',
      expected: `spatial sizes that hold the kernel [${kernel}] with padding [${padding}] and dilation [${dilation}]`,
      got: `[${inputSize}]`,
    });
  }
  return { ...options, outputSize };
}

/** Throws a {@link ShapeError} unless every list has the same 0–3 entries and every size is a sensible integer. */
export function checkGeometry(fn: string, geometry: ConvGeometry): void {
  const rank = geometry.inputSize.length;
  const lists = ['inputSize', 'outputSize', 'kernel', 'stride', 'padding', 'dilation'] as const;
  for (const name of lists) {
    const least = name === 'padding' ? 0 : 1;
    const list = geometry[name];
    if (rank <= 3 && list.length === rank && list.every((v) => Number.isSafeInteger(v) && v >= least))
      continue;
    throw new ShapeError({
      fn,
      argument: `geometry.${name}`,
      expected: `${rank} integers >= ${least}, of at most 3 spatial dimensions`,
      got: `[${list}]`,
    });
  }
  if (!Number.isSafeInteger(geometry.batch) || geometry.batch < 0) {
    throw new ShapeError({
      fn,
      argument: 'geometry.batch',
      expected: 'an integer >= 0',
      got: `${geometry.batch}`,
    });
  }
}

/** Whether two geometries are the same numbers apart from the batch size. */
export function sameImageGeometry(a: ConvGeometry, b: ConvGeometry): boolean {
  const same = (x: readonly number[], y: readonly number[]): boolean =>
    x.length === y.length && x.every((v, i) => v === y[i]);
  return (
    same(a.inputSize, b.inputSize) &&
    same(a.kernel, b.kernel) &&
    same(a.stride, b.stride) &&
    same(a.padding, b.padding) &&
    same(a.dilation, b.dilation) &&
    same(a.outputSize, b.outputSize)
  );
}

/** A 1×…×1 kernel with stride 1 and no padding: output pixel i reads input pixel i, a plain matrix product. */
export function isPointwise(geometry: ConvGeometry): boolean {
  return (
    geometry.kernel.every((v) => v === 1) &&
    geometry.stride.every((v) => v === 1) &&
    geometry.padding.every((v) => v === 0) &&
    product(geometry.inputSize) === product(geometry.outputSize)
  );
}

/** How the table of {@link indirectionTable} addresses staged images. */
export interface IndirectionLayout {
  /** Distance of neighbouring pixels of the innermost dimension. */
  readonly pixelBytes: number;
  /** Distance of neighbouring lines (innermost rows); at least the innermost size times `pixelBytes`. */
  readonly lineBytes: number;
  /** Distance of neighbouring images, for a table of the whole batch; without it, the table is that of one image. */
  readonly imageBytes?: number;
  /** Where taps outside of the image point. */
  readonly paddingOffset: number;
  /** Entries per output pixel, at least the number of taps; the rest point at `paddingOffset`. */
  readonly slots: number;
}

/**
 * Byte offsets into an image (or a batch) for every (output pixel, tap) in row-major order, modulo 2^32. This replaces im2col: kernels read rows
 * through the table, so nothing is copied (M. Dukhan, "The Indirect Convolution Algorithm", 2019).
 */
export function indirectionTable(
  geometry: ConvGeometry,
  layout: IndirectionLayout,
): Uint32Array<ArrayBuffer> {
  const missing = 3 - geometry.inputSize.length;
  const pad = (list: readonly number[], value: number): number[] => [
    ...new Array(missing).fill(value),
    ...list,
  ];
  const [inD, inH, inW] = pad(geometry.inputSize, 1);
  const [outD, outH, outW] = pad(geometry.outputSize, 1);
  const [kD, kH, kW] = pad(geometry.kernel, 1);
  const [sD, sH, sW] = pad(geometry.stride, 1);
  const [pD, pH, pW] = pad(geometry.padding, 0);
  const [dD, dH, dW] = pad(geometry.dilation, 1);
  const { pixelBytes, lineBytes, imageBytes, paddingOffset, slots } = layout;
  const images = imageBytes === undefined ? 1 : geometry.batch;
  const imageEntries = outD * outH * outW * slots;
  const table = new Uint32Array(images * imageEntries).fill(paddingOffset);
  let base = 0;
  for (let od = 0; od < outD; od++) {
    for (let oh = 0; oh < outH; oh++) {
      for (let ow = 0; ow < outW; ow++, base += slots) {
        let slot = base;
        for (let kd = 0; kd < kD; kd++) {
          const d = od * sD - pD + kd * dD;
          for (let kh = 0; kh < kH; kh++) {
            const h = oh * sH - pH + kh * dH;
            if (d < 0 || d >= inD || h < 0 || h >= inH) {
              slot += kW;
              continue;
            }
            const line = (d * inH + h) * lineBytes;
            for (let kw = 0; kw < kW; kw++, slot++) {
              const w = ow * sW - pW + kw * dW;
              if (w >= 0 && w < inW) table[slot] = line + w * pixelBytes;
            }
          }
        }
      }
    }
  }
  for (let image = 1; image < images; image++) {
    const offset = image * (imageBytes as number);
    const padded = paddingOffset >>> 0;
    for (let i = 0, at = image * imageEntries; i < imageEntries; i++, at++)
      table[at] = table[i] === padded ? padded : table[i] + offset;
  }
  return table;
}
