import { ArgumentError } from '../core/errors.ts';
import { product } from '../core/math.ts';
import { DTYPES, type DType, type PlainDType } from '../tensor/dtype.ts';
import { contiguousStrides } from '../tensor/shape.ts';
import type { StateDict } from '../tensor/state.ts';
import { Tensor } from '../tensor/tensor.ts';
import { ByteReader, concatBytes } from './bytes.ts';
import { decodeElements, decodeWide, encodeElements, WIDE_BYTES, type WideType } from './elements.ts';
import { type FileSource, readSource, writeFile } from './files.ts';
import { type Json, readJson, showJson } from './json.ts';
import { decodeState, encodeState, STATE_KEY } from './safetensors-state.ts';

/** What a safetensors file holds. */
export interface SafetensorsFile {
  readonly dict: StateDict;
  /** The file's own `__metadata__`, without the entry that {@link writeSafetensors} adds. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Options of {@link readSafetensors}. */
export interface SafetensorsReadOptions {
  /** Name of the file in errors. */
  readonly file?: string;
  /**
   * Lets tensors lie in the bytes themselves wherever those are aligned, instead of in copies: the bytes are given up, and stay in
   * memory as long as any of the tensors. Off by default.
   */
  readonly adopt?: boolean;
}

/** Options of {@link writeSafetensors}. */
export interface SafetensorsWriteOptions {
  /** Strings for the file's `__metadata__`. */
  readonly metadata?: Readonly<Record<string, string>>;
}

// The reference implementation's limit.
const MAX_HEADER = 100_000_000;

const FILE_TYPES: Readonly<Record<string, PlainDType | WideType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
  U16: 'uint16',
  U32: 'uint32',
  U64: 'uint64',
};

const TYPE_NAMES: Readonly<Record<DType, string>> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  int32: 'I32',
  int16: 'I16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
  qint8: 'I8',
  quint8: 'U8',
  qint32: 'I32',
  quint4x2: 'U8',
};

/** True where the bytes start like a safetensors file: a length that fits, then the brace of the header. */
export function isSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length < 10 || bytes[8] !== 0x7b) return false;
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  return length <= BigInt(bytes.length - 8);
}

/**
 * Reads safetensors bytes. F16 and BF16 become float16 and bfloat16 tensors, U16 int32, U32 and U64 int64.
 * Quantized tensors and other entries that {@link writeSafetensors} described in the metadata come back
 * exactly.
 *
 * Source: the safetensors format specification.
 *
 * @throws FileFormatError for any header that does not describe the bytes exactly: overlaps, holes, repeated
 *   names, …
 * @example
 * const { dict, metadata } = readSafetensors(bytes);
 */
export function readSafetensors(bytes: Uint8Array, options: SafetensorsReadOptions = {}): SafetensorsFile {
  const r = new ByteReader(bytes, options.file ?? '(bytes)', 'readSafetensors');
  const length = r.u64('header length');
  if (length > MAX_HEADER) throw r.error('header length', `at most ${MAX_HEADER}`, String(length), 0);
  r.need(length, 'header');
  if (bytes[8] !== 0x7b) throw r.error('header', 'an opening brace', 'another byte');
  const header = readJson(r, length, 'header');
  if (!(header instanceof Map)) throw r.error('header', 'an object', 'another value', 8);
  const dataStart = r.position;
  const metadata = readMetadata(r, header.get('__metadata__'));
  const spans: Span[] = [];
  for (const [name, info] of header) {
    if (name !== '__metadata__') spans.push(readSpan(r, name, info, bytes.length - dataStart));
  }
  checkCoverage(r, spans, dataStart);
  const dict: StateDict = new Map(
    spans.map((span) => [span.name, readTensor(r, span, dataStart, options.adopt)]),
  );
  const state = metadata.get(STATE_KEY);
  metadata.delete(STATE_KEY);
  return { dict: state === undefined ? dict : decodeState(dict as Map<string, Tensor>, state, r), metadata };
}

/**
 * {@link readSafetensors} for a path, a URL or bytes. Tensors of a path or URL lie in one memory, that of the file, which stays as
 * long as any of them does: `clone()` the few that shall outlive the others.
 *
 * @example
 * const { dict } = await loadSafetensors('model.safetensors');
 */
export async function loadSafetensors(
  source: FileSource,
  options: { readonly file?: string } = {},
): Promise<SafetensorsFile> {
  const { bytes, file, owned } = await readSource(source, options.file);
  return readSafetensors(bytes, { file, adopt: owned });
}

/**
 * Writes a state dict as safetensors that any reader opens. Quantized tensors are stored as their integers;
 * their scales and zero points, and entries that are no tensors, go into `__metadata__` under the key
 * `zeropoint` (see `safetensors-state.ts`), so that reading gives back the same dict. Tensors that share
 * storage are written once each.
 *
 * @example
 * const bytes = writeSafetensors(model.stateDict(), { metadata: { format: 'pt' } });
 */
export function writeSafetensors(dict: StateDict, options: SafetensorsWriteOptions = {}): Uint8Array {
  const { tensors, description } = encodeState(dict);
  const metadata: Record<string, string> = { ...options.metadata };
  if (STATE_KEY in metadata || tensors.has('__metadata__')) {
    throw new ArgumentError({
      fn: 'writeSafetensors',
      argument: 'keys',
      expected: `no metadata named ${STATE_KEY} and no tensor named __metadata__`,
      got: 'one',
      fix: 'The format or this writer uses those names itself.',
    });
  }
  if (description !== null) metadata[STATE_KEY] = description;
  // Wide elements first keeps every tensor aligned to its element size without holes, which the format forbids.
  const ordered = [...tensors].sort(([, a], [, b]) => DTYPES[b.dtype].bytes - DTYPES[a.dtype].bytes);
  const data: Uint8Array[] = [];
  const offsets = new Map<string, [number, number]>();
  let at = 0;
  for (const [name, tensor] of ordered) {
    const bytes = encodeElements(tensor.data, tensor.dtype);
    data.push(bytes);
    offsets.set(name, [at, at + bytes.length]);
    at += bytes.length;
  }
  // Built by hand because objects would move keys that look like numbers to the front.
  const fields = [...tensors].map(([name, { dtype, shape, data: elements }]) => {
    const info = {
      dtype: TYPE_NAMES[dtype],
      shape: dtype === 'quint4x2' ? [elements.length] : shape,
      data_offsets: offsets.get(name),
    };
    return `${JSON.stringify(name)}:${JSON.stringify(info)}`;
  });
  if (Object.keys(metadata).length > 0) fields.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const text = new TextEncoder().encode(`{${fields.join(',')}}`);
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return concatBytes([header, ...data]);
}

/**
 * {@link writeSafetensors} into a file, which appears whole or not at all.
 *
 * @example
 * await saveSafetensors(model.stateDict(), 'model.safetensors');
 */
export async function saveSafetensors(
  dict: StateDict,
  path: string | URL,
  options: SafetensorsWriteOptions = {},
): Promise<void> {
  await writeFile(path, writeSafetensors(dict, options));
}

interface Span {
  readonly name: string;
  readonly type: PlainDType | WideType;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

function readMetadata(r: ByteReader, value: Json | undefined): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) throw r.error('__metadata__', 'an object of strings', 'another value', 8);
  for (const [key, text] of value) {
    if (typeof text !== 'string') throw r.error(`__metadata__ ${key}`, 'a string', typeof text, 8);
    metadata.set(key, text);
  }
  return metadata;
}

function readSpan(r: ByteReader, name: string, info: Json, available: number): Span {
  const fail = (expected: string, got: string): Error => r.error(`tensor ${name}`, expected, got, 8);
  if (!(info instanceof Map) || info.size !== 3) throw fail('dtype, shape and data_offsets', 'other fields');
  const dtype = info.get('dtype');
  if (typeof dtype !== 'string' || !Object.hasOwn(FILE_TYPES, dtype)) {
    throw fail(`a dtype among ${Object.keys(FILE_TYPES).join(', ')}`, showJson(dtype));
  }
  const type = FILE_TYPES[dtype];
  const shape = readNumbers(info.get('shape'));
  if (!shape || shape.length > 64 || !Number.isSafeInteger(product(shape))) {
    throw fail('a shape of whole numbers', showJson(info.get('shape')));
  }
  const [begin, end, ...more] = readNumbers(info.get('data_offsets')) ?? [];
  if (end === undefined || more.length > 0 || begin > end || end > available) {
    throw fail(`offsets within ${available} bytes of data`, showJson(info.get('data_offsets')));
  }
  const width = type in WIDE_BYTES ? WIDE_BYTES[type as WideType] : DTYPES[type as PlainDType].bytes;
  if (end - begin !== product(shape) * width) {
    throw fail(`${product(shape) * width} bytes for ${dtype} [${shape.join(', ')}]`, `${end - begin}`);
  }
  return { name, type, shape, begin, end };
}

function readNumbers(value: Json | undefined): number[] | null {
  if (!Array.isArray(value)) return null;
  return value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0) ? (value as number[]) : null;
}

/** Every byte of data belongs to exactly one tensor. */
function checkCoverage(r: ByteReader, spans: readonly Span[], dataStart: number): void {
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (span.begin !== at) {
      throw r.error(
        `tensor ${span.name}`,
        `data from byte ${at}, where the one before it ends`,
        `${span.begin}`,
        8,
      );
    }
    at = span.end;
  }
  if (dataStart + at !== r.length) {
    throw r.error('data', `${at} bytes, as the header says`, `${r.length - dataStart}`, dataStart + at);
  }
}

function readTensor(r: ByteReader, span: Span, dataStart: number, adopt = false): Tensor {
  const { name, type, shape, begin, end } = span;
  const bytes = r.bytes.subarray(dataStart + begin, dataStart + end);
  const fault = (position: number, got: string) =>
    r.error(`tensor ${name}`, 'integers within ±2^53', got, dataStart + begin + position);
  if (type === 'uint16' || type === 'uint32' || type === 'uint64') {
    return new Tensor({ ...decodeWide(bytes, type, fault), shape });
  }
  return new Tensor({
    storage: decodeElements(bytes, type, fault, adopt),
    shape,
    strides: contiguousStrides(shape),
    dtype: type,
  });
}
