import { ArgumentError } from '../core/errors.ts';
import {
  centerCrop,
  loadImage,
  loadNpz,
  normalize,
  type RgbImage,
  readImageFolder,
  resizeShortSide,
  toTensor,
} from '../io/index.ts';
import type { ModelInfo } from '../models/registry.ts';
import { stack } from '../ops/index.ts';
import { tensor } from '../tensor/creation.ts';
import { fromStorage, type Tensor } from '../tensor/tensor.ts';

/** Inputs of a model, as many as fit in memory in their compact form, made into float batches on demand. */
export interface Samples {
  readonly length: number;
  /** Class index per sample as int64 [length], or null where the source has none. */
  readonly labels: Tensor | null;
  /** Samples `start` … `end − 1` as the model wants them. */
  batch(start: number, end: number): Tensor;
}

/** Options of {@link loadSamples}. */
export interface LoadSamplesOptions {
  /** Take only the first so many. */
  readonly limit?: number;
  /** Called as images are read: done, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Calibration or evaluation data for a model: a folder of JPEG and PNG images (with `labels.tsv` or class folders), or an
 * npz with `x` (uint8 images [N, H, W, C] or [N, H, W], or float inputs as the model takes them) and, where there are
 * labels, `y`. Images are scaled to 0 … 1 and normalized as `info` says.
 *
 * @throws {@link ArgumentError} where an npz has no `x` or shapes do not fit the model.
 * @example
 * const samples = await loadSamples('cifar10_train.npz', modelInfo('resnet20'), { limit: 512 });
 */
export async function loadSamples(
  path: string,
  info: ModelInfo,
  options: LoadSamplesOptions = {},
): Promise<Samples> {
  return path.endsWith('.npz') ? samplesFromNpz(path, info, options) : samplesFromFolder(path, info, options);
}

/** The batches of `samples` in order, `size` at a time. */
export function* batchesOf(samples: Samples, size: number): Generator<Tensor> {
  for (let start = 0; start < samples.length; start += size) {
    yield samples.batch(start, Math.min(start + size, samples.length));
  }
}

async function samplesFromFolder(
  path: string,
  info: ModelInfo,
  options: LoadSamplesOptions,
): Promise<Samples> {
  const folder = await readImageFolder(path);
  const length = Math.min(folder.files.length, options.limit ?? folder.files.length);
  if (length === 0) {
    throw new ArgumentError({
      fn: 'loadSamples',
      argument: 'path',
      expected: 'a folder with JPEG or PNG images',
      got: path,
    });
  }
  const [, height, width] = info.inputShape;
  const images: RgbImage[] = [];
  for (const file of folder.files.slice(0, length)) {
    const image = await loadImage(file);
    images.push(centerCrop(resizeShortSide(image, info.resize ?? Math.max(height, width)), height));
    options.onProgress?.(images.length, length);
  }
  const toInput = (image: RgbImage): Tensor => {
    const x = toTensor(image);
    return info.mean.length ? normalize(x, info.mean, info.std) : x;
  };
  return {
    length,
    labels: folder.labels && tensor(Float64Array.from(folder.labels.slice(0, length)), { dtype: 'int64' }),
    batch: (start, end) => stack(images.slice(start, end).map(toInput), 0),
  };
}

async function samplesFromNpz(path: string, info: ModelInfo, options: LoadSamplesOptions): Promise<Samples> {
  const arrays = await loadNpz(path);
  const x = arrays.get('x');
  if (!x) {
    throw new ArgumentError({
      fn: 'loadSamples',
      argument: path,
      expected: 'an array named x (inputs), and y (labels) where there are any',
      got: [...arrays.keys()].join(', ') || 'no arrays',
    });
  }
  const length = Math.min(x.shape[0], options.limit ?? x.shape[0]);
  const y = arrays.get('y');
  const labels = y ? tensor(Float64Array.from(y.numbers().subarray(0, length)), { dtype: 'int64' }) : null;
  const size = x.numel / x.shape[0];
  if (size !== info.inputShape.reduce((a, b) => a * b, 1)) {
    throw new ArgumentError({
      fn: 'loadSamples',
      argument: `x in ${path}`,
      expected: `samples of [${info.inputShape.join(', ')}] (images as [height, width, channels])`,
      got: `[${x.shape.slice(1).join(', ')}]`,
    });
  }
  const data = x.data;
  const batch = (start: number, end: number): Tensor => {
    const rows = data.subarray(start * size, end * size);
    const shape = [end - start, ...info.inputShape];
    return x.dtype === 'uint8'
      ? fromStorage(imagesToInput(rows as Uint8Array, info), shape, 'float32')
      : fromStorage(Float32Array.from(rows), shape, 'float32');
  };
  return { length, labels, batch };
}

/** uint8 [N, H, W, C] → float32 [N, C, H, W], scaled to 0 … 1 and normalized. */
function imagesToInput(pixels: Uint8Array, info: ModelInfo): Float32Array {
  const [channels, height, width] = info.inputShape;
  const plane = height * width;
  const out = new Float32Array(pixels.length);
  for (let image = 0; image < pixels.length; image += channels * plane) {
    for (let c = 0; c < channels; c++) {
      const mean = Math.fround(info.mean[c] ?? 0);
      const std = Math.fround(info.std[c] ?? 1);
      for (let i = 0; i < plane; i++) {
        out[image + c * plane + i] =
          Math.fround(Math.fround(pixels[image + i * channels + c] / 255) - mean) / std;
      }
    }
  }
  return out;
}
