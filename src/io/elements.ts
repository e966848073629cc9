import type { FileFormatError } from '../core/errors.ts';
import { DTYPES, type DType, type PlainDType, type TypedArray } from '../tensor/dtype.ts';

const TWO_32 = 4294967296;
const LIMIT = 2 ** 53;

/** Bytes that `n` elements take in a file. */
export function elementBytes(dtype: DType, n: number): number {
  return Math.ceil(n * DTYPES[dtype].bytes);
}

/**
 * Copies the little-endian elements of a file into typed-array storage of `dtype`. int64 becomes doubles; a
 * value beyond ±2^53 would lose digits and is refused through `fault`. Booleans become 0 or 1 whatever the
 * byte was.
 *
 * @param bytes Exactly the elements' bytes.
 * @param fault Makes the error for an element: its byte position within `bytes`, and what it holds.
 * @param adopt Elements that lie as storage would stay where they are: `bytes` is given up by whoever had it.
 */
export function decodeElements(
  bytes: Uint8Array,
  dtype: DType,
  fault: (position: number, got: string) => FileFormatError,
  adopt = false,
): TypedArray {
  const n = Math.floor(bytes.length / DTYPES[dtype].bytes);
  if (dtype === 'int64') {
    const words = new Uint32Array(2 * n);
    new Uint8Array(words.buffer).set(bytes);
    const integers = new Float64Array(n);
    decodeWords(words, true, integers, fault);
    return integers;
  }
  const out = (adopt ? viewOf(bytes, dtype) : null) ?? copyOf(bytes, dtype, n);
  if (dtype === 'bool') for (let i = 0; i < n; i++) out[i] = out[i] === 0 ? 0 : 1;
  return out;
}

function copyOf(bytes: Uint8Array, dtype: DType, n: number): TypedArray {
  const out = DTYPES[dtype].allocate(n);
  new Uint8Array(out.buffer).set(bytes);
  return out;
}

/** Storage over the bytes themselves; null where they are not aligned. */
function viewOf({ buffer, byteOffset, length }: Uint8Array, dtype: DType): TypedArray | null {
  const Storage = DTYPES[dtype].allocate(0).constructor as new (
    buffer: ArrayBufferLike,
    byteOffset: number,
    length: number,
  ) => TypedArray;
  const { BYTES_PER_ELEMENT: width } = Storage as unknown as { readonly BYTES_PER_ELEMENT: number };
  return byteOffset % width === 0 ? new Storage(buffer, byteOffset, length / width) : null;
}

/** Element types of files that PyTorch 1.13 has no dtype for; they are read into the next wider one. */
export type WideType = 'uint16' | 'uint32' | 'uint64';

/** Bytes per element of a {@link WideType}. */
export const WIDE_BYTES: Readonly<Record<WideType, number>> = { uint16: 2, uint32: 4, uint64: 8 };

/** {@link decodeElements} for unsigned types: uint16 becomes int32, uint32 and uint64 int64 (up to 2^53). */
export function decodeWide(
  bytes: Uint8Array,
  type: WideType,
  fault: (position: number, got: string) => FileFormatError,
): { readonly storage: TypedArray; readonly dtype: PlainDType } {
  const copy = bytes.slice().buffer;
  if (type === 'uint16') return { storage: Int32Array.from(new Uint16Array(copy)), dtype: 'int32' };
  if (type === 'uint32') return { storage: Float64Array.from(new Uint32Array(copy)), dtype: 'int64' };
  const storage = new Float64Array(bytes.length / 8);
  decodeWords(new Uint32Array(copy), false, storage, fault);
  return { storage, dtype: 'int64' };
}

function decodeWords(
  words: Uint32Array,
  signed: boolean,
  out: TypedArray,
  fault: (position: number, got: string) => FileFormatError,
): void {
  for (let i = 0; i < out.length; i++) {
    const high = signed ? words[2 * i + 1] | 0 : words[2 * i + 1];
    const low = words[2 * i];
    const value = high * TWO_32 + low;
    // 2^53 + 1 rounds to 2^53 in a double; its low word gives it away.
    if (Math.abs(value) > LIMIT || (Math.abs(value) === LIMIT && low !== 0))
      throw fault(8 * i, `a value near ${value}`);
    out[i] = value;
  }
}

/** The little-endian bytes of storage as files hold them; int64 leaves its doubles. */
export function encodeElements(storage: TypedArray, dtype: DType): Uint8Array {
  if (dtype !== 'int64') return new Uint8Array(storage.buffer, storage.byteOffset, storage.byteLength);
  const words = new Int32Array(2 * storage.length);
  for (let i = 0; i < storage.length; i++) {
    const value = storage[i];
    const high = Math.floor(value / TWO_32);
    words[2 * i] = value - high * TWO_32;
    words[2 * i + 1] = high;
  }
  return new Uint8Array(words.buffer);
}
