import { ArgumentError, ShapeError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import { formatShape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { checkImage, type RgbImage } from './image.ts';
import { resizeBilinear } from './resize.ts';

/** Mean of each channel over ImageNet, in [0, 1]. */
export const IMAGENET_MEAN: readonly number[] = Object.freeze([0.485, 0.456, 0.406]);

/** Standard deviation of each channel over ImageNet, in [0, 1]. */
export const IMAGENET_STD: readonly number[] = Object.freeze([0.229, 0.224, 0.225]);

/**
 * Resizes so that the shorter side has `size` pixels, keeping proportions (the longer side is rounded down).
 * Source: `torchvision.transforms.Resize(size)` on images.
 *
 * @example
 * resizeShortSide(image, 256);
 */
export function resizeShortSide(image: RgbImage, size: number): RgbImage {
  const { width, height } = image;
  const long = Math.trunc((size * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? resizeBilinear(image, size, long) : resizeBilinear(image, long, size);
}

/**
 * The middle `size` × `size` pixels; smaller images are padded with black. Source:
 * `torchvision.transforms.CenterCrop`.
 *
 * @example
 * centerCrop(image, 224);
 */
export function centerCrop(image: RgbImage, size: number): RgbImage {
  checkImage(image, 'centerCrop');
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new ArgumentError({
      fn: 'centerCrop',
      argument: 'size',
      expected: 'a whole number from 1',
      got: String(size),
    });
  }
  const { width, height } = image;
  const left = cropStart(width, size);
  const top = cropStart(height, size);
  const data = new Uint8Array(size * size * 3);
  const from = Math.max(left, 0);
  const to = Math.min(left + size, width);
  for (let y = Math.max(0, -top); y < size && top + y < height; y++) {
    const row = (top + y) * width;
    data.set(image.data.subarray(3 * (row + from), 3 * (row + to)), 3 * (y * size + from - left));
  }
  return { data, width: size, height: size };
}

/**
 * A float32 tensor of [3, height, width] with values in [0, 1]. Source: `torchvision.transforms.ToTensor`.
 *
 * @example
 * toTensor(image).shape; // [3, 224, 224]
 */
export function toTensor(image: RgbImage): Tensor {
  checkImage(image, 'toTensor');
  const { data, width, height } = image;
  const plane = width * height;
  const storage = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    for (let i = 0, j = c; i < plane; i++, j += 3) storage[c * plane + i] = data[j] / 255;
  }
  return new Tensor({ storage, shape: [3, height, width], dtype: 'float32' });
}

/**
 * `(x − mean) / std` for each channel of a float32 tensor of [channels, height, width], into a new one. Source:
 * `torchvision.transforms.Normalize`.
 *
 * @example
 * normalize(toTensor(image), IMAGENET_MEAN, IMAGENET_STD);
 */
export function normalize(x: Tensor, mean: readonly number[], std: readonly number[]): Tensor {
  const fits =
    x.dtype === 'float32' && x.ndim === 3 && mean.length === x.shape[0] && std.length === x.shape[0];
  if (!fits) {
    throw new ShapeError({
      fn: 'normalize',
      argument: 'tensor',
      expected: 'float32 [channels, height, width] with a mean and a deviation for each channel',
      got: `${x.dtype} ${formatShape(x.shape)} with ${mean.length} and ${std.length}`,
    });
  }
  if (std.some((s) => !(s > 0))) {
    throw new ArgumentError({
      fn: 'normalize',
      argument: 'std',
      expected: 'positive numbers',
      got: std.join(', '),
    });
  }
  const { data } = x;
  const storage = new Float32Array(data.length);
  const plane = x.shape[1] * x.shape[2];
  for (let c = 0; c < mean.length; c++) {
    const m = Math.fround(mean[c]);
    const s = Math.fround(std[c]);
    for (let i = c * plane; i < (c + 1) * plane; i++) storage[i] = Math.fround(data[i] - m) / s;
  }
  return new Tensor({ storage, shape: x.shape, dtype: 'float32' });
}

/** Options of {@link imagenetTransform}. */
export interface ImagenetTransformOptions {
  /** Length of the shorter side after resizing; 256. */
  readonly resize?: number;
  /** Side of the square cut from the middle; 224. */
  readonly crop?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

/**
 * The usual preparation of ImageNet pictures as one function: resize, crop, to tensor, normalize. Gives what
 * torchvision's `Compose([Resize(256), CenterCrop(224), ToTensor(), Normalize(mean, std)])` gives, bit for
 * bit.
 *
 * @example
 * const prepare = imagenetTransform();
 * const x = prepare(await loadImage('cat.jpg')); // [3, 224, 224]
 */
export function imagenetTransform(options: ImagenetTransformOptions = {}): (image: RgbImage) => Tensor {
  const { resize = 256, crop = 224, mean = IMAGENET_MEAN, std = IMAGENET_STD } = options;
  return (image) => normalize(toTensor(centerCrop(resizeShortSide(image, resize), crop)), mean, std);
}

/** First row or column of the crop: negative where the image has to be padded. */
function cropStart(length: number, size: number): number {
  return length >= size ? roundHalfEven((length - size) / 2) : -Math.floor((size - length) / 2);
}
