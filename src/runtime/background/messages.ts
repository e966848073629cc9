import * as errors from '../../core/errors.ts';
import { DTYPES, type DType, type TypedArray } from '../../tensor/dtype.ts';
import type { QParams } from '../../tensor/qparams.ts';
import type { Shape } from '../../tensor/shape.ts';
import { Tensor } from '../../tensor/tensor.ts';

/** What the host of a program is sent. */
export type Request =
  | { readonly kind: 'load'; readonly bytes: Uint8Array }
  | { readonly kind: 'run'; readonly id: number; readonly threads: number; readonly inputs: Packed };

/** What it answers. */
export type Response =
  | { readonly id: number; readonly output: Packed }
  | { readonly id: number; readonly error: PackedError };

/** Inputs or results of a program as plain data. */
export type Packed =
  | { readonly tensor: PackedTensor }
  | { readonly list: readonly Packed[] }
  | { readonly dict: readonly (readonly [string, Packed])[] }
  | { readonly other: unknown };

interface PackedTensor {
  readonly storage: TypedArray;
  readonly shape: Shape;
  readonly strides: Shape;
  readonly dtype: DType;
  readonly qparams: QParams | null;
}

interface PackedError {
  readonly name: string;
  readonly message: string;
  readonly details: errors.ErrorDetails | null;
}

/** Copies tensors out of a structure; the buffers of the copies, which nobody else has, go to `transfer`. */
export function pack(value: unknown, transfer: ArrayBuffer[]): Packed {
  if (value instanceof Tensor) {
    const { shape, strides, dtype, qparams, offset } = value;
    const last = value.numel === 0 ? 0 : shape.reduce((at, size, d) => at + (size - 1) * strides[d], 0) + 1;
    const part = value.storage.subarray(offset, offset + last);
    // Not `slice`: that of Node's Buffer is no copy, and transferring it would take away memory of others.
    const storage = DTYPES[dtype].allocate(part.byteLength / DTYPES[dtype].bytes);
    storage.set(part);
    transfer.push(storage.buffer as ArrayBuffer);
    return { tensor: { storage, shape: [...shape], strides: [...strides], dtype, qparams } };
  }
  if (Array.isArray(value)) return { list: value.map((item) => pack(item, transfer)) };
  if (typeof value !== 'object' || value === null) return { other: value };
  return { dict: Object.entries(value).map(([key, item]) => [key, pack(item, transfer)] as const) };
}

/** What {@link pack} packed. */
export function unpack(packed: Packed): unknown {
  if ('tensor' in packed) return new Tensor(packed.tensor);
  if ('list' in packed) return packed.list.map(unpack);
  if ('other' in packed) return packed.other;
  return Object.fromEntries(packed.dict.map(([key, item]) => [key, unpack(item)]));
}

export function packError(error: unknown): PackedError {
  if (!(error instanceof errors.ZeropointError)) {
    return { name: 'Error', message: String(error), details: null };
  }
  const { name, message, fn, argument, expected, got, fix } = error;
  return { name, message, details: { fn, argument, expected, got, fix } };
}

/** Classes that running a program throws, and that details alone make. */
const CLASSES: Readonly<Record<string, new (details: errors.ErrorDetails) => errors.ZeropointError>> = {
  ArgumentError: errors.ArgumentError,
  ShapeError: errors.ShapeError,
  DTypeError: errors.DTypeError,
  QuantizationError: errors.QuantizationError,
  KernelError: errors.KernelError,
};

/** The error again, of its class; a {@link KernelError} where the library did not throw it. */
export function unpackError({ name, message, details }: PackedError): errors.ZeropointError {
  const fallback = { fn: 'jit.Program.runAsync', argument: 'program', expected: 'a run', got: message };
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name] : errors.KernelError;
  const error = new Class(details ?? fallback);
  if (details !== null) error.message = message;
  return error;
}
