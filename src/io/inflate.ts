import { inflateSync, unzlibSync } from 'fflate';
import type { FileFormatError } from '../core/errors.ts';

// No deflate stream grows more than this: a match of 258 bytes takes at least two bits.
const MAX_RATIO = 1032;

/**
 * Inflates a deflate or zlib stream that must give exactly `size` bytes. A size that the stream cannot hold is
 * refused before memory is taken; broken, shorter and longer streams are refused without growing beyond it.
 */
export function inflateExactly(
  raw: Uint8Array,
  size: number,
  format: 'deflate' | 'zlib',
  fault: (expected: string, got: string) => FileFormatError,
): Uint8Array {
  if (size > raw.length * MAX_RATIO) {
    throw fault(`a size that ${raw.length} compressed bytes can hold`, String(size));
  }
  const expected = `a ${format} stream of ${size} bytes`;
  let data: Uint8Array;
  try {
    // One byte of slack: a longer stream fills it and shows itself, and memory stays bounded all the same.
    const out = new Uint8Array(size + 1);
    data = format === 'zlib' ? unzlibSync(raw, { out }) : inflateSync(raw, { out });
  } catch (cause) {
    const error = fault(expected, cause instanceof Error ? cause.message : String(cause));
    error.cause = cause;
    throw error;
  }
  if (data.length > size) throw fault(expected, 'a longer one');
  if (data.length < size) throw fault(expected, `one of ${data.length} bytes`);
  return data;
}
