import { ArgumentError } from '../../core/errors.ts';

/** An 8-bit RGB picture: `data` holds height × width × 3 bytes, row by row, red first. */
export interface RgbImage {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Limits of the image decoders. */
export interface ImageReadOptions {
  /** Name that errors give the file. */
  readonly file?: string;
  /**
   * Most pixels an image may have, checked from its header before anything is decoded. 64 million where not
   * given.
   */
  readonly maxPixels?: number;
}

/** Limit on pixels where the caller sets none. */
export const DEFAULT_MAX_PIXELS: number = 64_000_000;

/** Throws an {@link ArgumentError} unless the sizes are whole and positive and the data fits them. */
export function checkImage(image: RgbImage, fn: string): void {
  const { width, height, data } = image;
  const sized = [width, height].every((n) => Number.isSafeInteger(n) && n > 0);
  if (!sized || data.length !== width * height * 3) {
    throw new ArgumentError({
      fn,
      argument: 'image',
      expected: 'width × height × 3 bytes',
      got: `${data.length} bytes for ${width} × ${height}`,
    });
  }
}
