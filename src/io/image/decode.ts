import { ByteReader } from '../bytes.ts';
import { type FileSource, readSource } from '../files.ts';
import type { ImageReadOptions, RgbImage } from './image.ts';
import { decodeJpeg, isJpeg } from './jpeg.ts';
import { decodePng, isPng } from './png.ts';

/**
 * Decodes a JPEG or PNG, told apart by its first bytes, to 8-bit RGB.
 *
 * JPEG: baseline and progressive, grey and YCbCr, the same pixels as libjpeg-turbo and so as PIL; EXIF
 * rotation is not applied (PIL does not either). PNG: all colour types and depths; alpha is dropped, 16 bits
 * keep the upper eight.
 *
 * @throws FileFormatError where the file is neither, damaged, cut off, or larger than `maxPixels`.
 * @example
 * const { data, width, height } = await decodeImage(bytes);
 */
export async function decodeImage(bytes: Uint8Array, options: ImageReadOptions = {}): Promise<RgbImage> {
  if (isJpeg(bytes)) return decodeJpeg(bytes, options);
  if (isPng(bytes)) return decodePng(bytes, options);
  throw new ByteReader(bytes, options.file ?? '(bytes)', 'decodeImage').error(
    'file',
    'a JPEG or PNG image',
    'neither',
  );
}

/**
 * {@link decodeImage} for a path, a URL or bytes.
 *
 * @example
 * const image = await loadImage('cat.jpg');
 */
export async function loadImage(source: FileSource, options: ImageReadOptions = {}): Promise<RgbImage> {
  const { bytes, file } = await readSource(source, options.file);
  return decodeImage(bytes, { ...options, file });
}
