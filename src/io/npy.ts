import { ArgumentError, DTypeError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import type { DType, PlainDType } from '../tensor/dtype.ts';
import { contiguousStrides } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { ByteReader, concatBytes } from './bytes.ts';
import { decodeElements, decodeWide, encodeElements, type WideType } from './elements.ts';
import { type FileSource, readSource, writeFile } from './files.ts';

/** Options of {@link writeNpy}. */
export interface NpyWriteOptions {
  /** Write the first dimension fastest (false). */
  readonly fortranOrder?: boolean;
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
const MAX_HEADER = 65536;

const KINDS: Readonly<Record<string, PlainDType | WideType>> = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  b1: 'bool',
};

const DESCRIPTORS: Readonly<Partial<Record<DType, string>>> = {
  float16: '<f2',
  float32: '<f4',
  float64: '<f8',
  int8: '|i1',
  int16: '<i2',
  int32: '<i4',
  int64: '<i8',
  uint8: '|u1',
  bool: '|b1',
};

/**
 * Reads a NumPy array: any order and byte order, all numeric dtypes and bool. uint16 becomes int32, uint32
 * and uint64 int64 (up to 2^53). Text, object and structured arrays are refused by name. The result is
 * row-major.
 *
 * Source: `numpy.lib.format`.
 *
 * @throws FileFormatError where the header does not describe the bytes exactly.
 * @example
 * const x = readNpy(bytes); // tensor
 */
export function readNpy(bytes: Uint8Array, options: { readonly file?: string } = {}): Tensor {
  const r = new ByteReader(bytes, options.file ?? '(bytes)', 'readNpy');
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw r.error('file', 'the magic bytes of .npy', 'others');
  r.seek(6, 'version');
  const major = r.u8('version');
  r.u8('version');
  if (major < 1 || major > 3) throw r.error('version', '1, 2 or 3', String(major), 6);
  const length = major === 1 ? r.u16('header length') : r.u32('header length');
  if (length > MAX_HEADER) throw r.error('header length', `at most ${MAX_HEADER}`, String(length), 8);
  const at = r.position;
  const { type, bigEndian, fortran, shape } = readHeader(r, r.text(length, 'header'), at);
  const width = Number(type.descr.slice(1));
  const elements = product(shape);
  const size = elements * width;
  if (!Number.isSafeInteger(size) || size !== r.remaining) {
    throw r.error('data', `${size} bytes for ${type.descr} [${shape.join(', ')}]`, `${r.remaining}`);
  }
  const start = r.position;
  let raw = r.take(size, 'data');
  if (bigEndian && width > 1) raw = swapBytes(raw, width);
  const fault = (position: number, got: string) =>
    r.error('data', 'integers within ±2^53', got, start + position);
  const name = type.name;
  const { storage, dtype } =
    name === 'uint16' || name === 'uint32' || name === 'uint64'
      ? decodeWide(raw, name, fault)
      : { storage: decodeElements(raw, name, fault), dtype: name };
  if (!fortran || shape.length < 2) return new Tensor({ storage, shape, dtype });
  const strides = contiguousStrides([...shape].reverse()).reverse();
  const view = new Tensor({ storage, shape, dtype, strides });
  return new Tensor({ storage: view.layOut(contiguousStrides(shape)), shape, dtype });
}

/**
 * {@link readNpy} for a path, a URL or bytes.
 *
 * @example
 * const x = await loadNpy('features.npy');
 */
export async function loadNpy(source: FileSource, options: { readonly file?: string } = {}): Promise<Tensor> {
  const { bytes, file } = await readSource(source, options.file);
  return readNpy(bytes, { file });
}

/**
 * Writes a tensor as NumPy's `np.load` reads it, little-endian, format version 1.
 *
 * @throws DTypeError for bfloat16 and quantized tensors, which NumPy does not have.
 * @example
 * const bytes = writeNpy(tensor([[1, 2], [3, 4]]));
 */
export function writeNpy(x: Tensor, options: NpyWriteOptions = {}): Uint8Array {
  const descr = DESCRIPTORS[x.dtype];
  if (descr === undefined) {
    throw new DTypeError({
      fn: 'writeNpy',
      argument: 'tensor',
      expected: 'a dtype that NumPy has',
      got: x.dtype,
      fix: 'Convert it first: to("float32"), dequantize() or intRepr().',
    });
  }
  const fortran = options.fortranOrder === true && x.ndim > 1;
  const data = fortran ? x.layOut(contiguousStrides([...x.shape].reverse()).reverse()) : x.data;
  const shape = x.ndim === 1 ? `${x.shape[0]},` : x.shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape}), }`;
  // NumPy aligns the data to 64 bytes and ends the header with a newline.
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  if (length > 0xffff) {
    throw new ArgumentError({
      fn: 'writeNpy',
      argument: 'shape',
      expected: 'fewer dimensions',
      got: `${x.ndim}`,
    });
  }
  const header = new TextEncoder().encode(`${text.padEnd(length - 1)}\n`);
  return concatBytes([
    Uint8Array.from([...MAGIC, 1, 0, length & 255, length >> 8]),
    header,
    encodeElements(data, x.dtype),
  ]);
}

/**
 * {@link writeNpy} into a file, which appears whole or not at all.
 *
 * @example
 * await saveNpy(x, 'features.npy');
 */
export async function saveNpy(x: Tensor, path: string | URL, options: NpyWriteOptions = {}): Promise<void> {
  await writeFile(path, writeNpy(x, options));
}

interface Header {
  readonly type: { readonly descr: string; readonly name: PlainDType | WideType };
  readonly bigEndian: boolean;
  readonly fortran: boolean;
  readonly shape: number[];
}

/** The header is a Python dict literal with three fixed keys in any order. */
function readHeader(r: ByteReader, text: string, at: number): Header {
  const fields = new Map<string, string>();
  const field =
    /\s*'(\w+)'\s*:\s*('[^']*'|True|False|\([^()]*\)|\[[^\n]*?\](?=\s*,\s*'(?:fortran|shape)))\s*(?:,|(?=\s*\}))/y;
  const open = /^\s*\{/.exec(text);
  let end = open ? open[0].length : 0;
  field.lastIndex = end;
  for (let m = field.exec(text); m; m = field.exec(text)) {
    if (fields.has(m[1])) throw r.error('header', 'each key once', m[1], at);
    fields.set(m[1], m[2]);
    end = field.lastIndex;
  }
  const shape = readShape(fields.get('shape'));
  const fortran = fields.get('fortran_order');
  const descr = fields.get('descr');
  const whole = open !== null && /^\s*\}\s*$/.test(text.slice(end));
  if (!whole || fields.size !== 3 || !shape || !descr || (fortran !== 'True' && fortran !== 'False')) {
    throw r.error(
      'header',
      "{'descr': …, 'fortran_order': …, 'shape': (…)}",
      JSON.stringify(text.trim()),
      at,
    );
  }
  const match = /^'([<>|=])([a-z]\d)'$/.exec(descr);
  const name = match && Object.hasOwn(KINDS, match[2]) ? KINDS[match[2]] : undefined;
  if (!match || name === undefined) {
    throw r.error('dtype', `a number or bool (${Object.keys(KINDS).join(', ')})`, descr, at);
  }
  return { type: { descr: match[2], name }, bigEndian: match[1] === '>', fortran: fortran === 'True', shape };
}

function readShape(text: string | undefined): number[] | null {
  if (!text || !/^\(\s*(\d{1,16}L?\s*(,\s*\d{1,16}L?\s*)*,?\s*)?\)$/.test(text)) return null;
  const shape = (text.match(/\d+/g) ?? []).map(Number);
  return shape.length <= 64 && shape.every(Number.isSafeInteger) ? shape : null;
}

function swapBytes(bytes: Uint8Array, width: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i += width) {
    for (let b = 0; b < width; b++) out[i + b] = bytes[i + width - 1 - b];
  }
  return out;
}
