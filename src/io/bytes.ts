import { FileFormatError } from '../core/errors.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const TWO_32 = 4294967296;

/**
 * A bounds-checked cursor over the bytes of a file. Every read names what it wanted, so that a truncated or
 * lying file ends in a {@link FileFormatError} with the byte offset and never in a wrong value.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  /** Path or label that errors name. */
  readonly file: string;
  /** Public function that errors name. */
  readonly fn: string;
  position = 0;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, file: string, fn: string) {
    // Node's Buffer is a Uint8Array whose `slice` does not copy.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.file = file;
    this.fn = fn;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get length(): number {
    return this.bytes.length;
  }

  get remaining(): number {
    return this.bytes.length - this.position;
  }

  /** The error to throw for a fault at `offset` (the current position where not given). */
  error(
    what: string,
    expected: string,
    got: string,
    offset: number = this.position,
    fix?: string,
  ): FileFormatError {
    // What the file holds may be as long as the file; a message is for reading.
    const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
    return new FileFormatError({
      fn: this.fn,
      file: this.file,
      offset,
      argument: short(what),
      expected: short(expected),
      got: short(got),
      fix,
    });
  }

  /** Throws unless `n` more bytes are there. */
  need(n: number, what: string): void {
    if (!(n >= 0) || n > this.remaining) {
      throw this.error(what, `${n} more bytes`, `${this.remaining}, the end of the file`);
    }
  }

  /** Moves the cursor to an absolute offset inside the file. */
  seek(offset: number, what: string): void {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > this.length) {
      throw this.error(what, `an offset from 0 to ${this.length}`, String(offset));
    }
    this.position = offset;
  }

  /** The next `n` bytes as a window on the file, not a copy. */
  take(n: number, what: string): Uint8Array {
    this.need(n, what);
    const at = this.position;
    this.position = at + n;
    return this.bytes.subarray(at, at + n);
  }

  u8(what: string): number {
    this.need(1, what);
    return this.bytes[this.position++];
  }

  u16(what: string, littleEndian = true): number {
    this.need(2, what);
    this.position += 2;
    return this.#view.getUint16(this.position - 2, littleEndian);
  }

  u32(what: string, littleEndian = true): number {
    this.need(4, what);
    this.position += 4;
    return this.#view.getUint32(this.position - 4, littleEndian);
  }

  i32(what: string, littleEndian = true): number {
    return this.u32(what, littleEndian) | 0;
  }

  /** An unsigned 64-bit number that must fit 2^53, as every honest size and offset does. */
  u64(what: string): number {
    const at = this.position;
    const low = this.u32(what);
    const high = this.u32(what);
    if (high >= 0x200000) throw this.error(what, 'a number below 2^53', `0x${high.toString(16)}…`, at);
    return high * TWO_32 + low;
  }

  f64(what: string, littleEndian = true): number {
    this.need(8, what);
    this.position += 8;
    return this.#view.getFloat64(this.position - 8, littleEndian);
  }

  /** `n` bytes of UTF-8. */
  text(n: number, what: string): string {
    const at = this.position;
    return this.#decodeText(this.take(n, what), what, at);
  }

  /** UTF-8 text up to the next newline, which is consumed and not returned. */
  line(what: string): string {
    const at = this.position;
    return this.#decodeText(this.#upToNewline(what), what, at);
  }

  /** {@link line} where every byte is one character. */
  latin1Line(what: string): string {
    let text = '';
    for (const byte of this.#upToNewline(what)) text += String.fromCharCode(byte);
    return text;
  }

  #upToNewline(what: string): Uint8Array {
    const at = this.position;
    const end = this.bytes.indexOf(10, at);
    if (end < 0) throw this.error(what, 'a line ending in a newline', 'the end of the file');
    this.position = end + 1;
    return this.bytes.subarray(at, end);
  }

  #decodeText(bytes: Uint8Array, what: string, at: number): string {
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new FileFormatError(
        {
          fn: this.fn,
          file: this.file,
          offset: at,
          argument: what,
          expected: 'UTF-8 text',
          got: 'other bytes',
        },
        { cause },
      );
    }
  }
}

/** Joins byte arrays into one. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  let n = 0;
  for (const part of parts) n += part.length;
  const out = new Uint8Array(n);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
