import { ArgumentError } from '../../core/errors.ts';
import type { Engine } from '../engine.ts';

// Kernels work on unsigned bytes. Signed data is the same with the top bit flipped and the zero point raised by 128.

/** Whether data is qint8 rather than quint8. */
export function isSigned(data: Uint8Array | Int8Array): data is Int8Array {
  return data instanceof Int8Array;
}

/** Turns signed bytes in the engine's memory into unsigned ones, and back. */
export function flipSignInPlace(engine: Engine, ptr: number, bytes: number): void {
  engine.kernels.u8_flip_sign(ptr, bytes, ptr);
}

/** A value of 8-bit data moved to 0..255, checked against the range of its dtype. */
export function toUnsigned(fn: string, argument: string, value: number, signed: boolean): number {
  const shifted = signed ? value + 128 : value;
  if (Number.isInteger(shifted) && shifted >= 0 && shifted <= 255) return shifted;
  const expected = signed ? 'an integer in -128..127' : 'an integer in 0..255';
  throw new ArgumentError({ fn, argument, expected, got: String(value) });
}

/** Zero point and clamp of an output, moved to 0..255. */
export function unsignedEpilogue(
  fn: string,
  epilogue: { readonly zeroPoint: number; readonly min: number; readonly max: number },
  signed: boolean,
): { zeroPoint: number; min: number; max: number } {
  const min = toUnsigned(fn, 'min', epilogue.min, signed);
  const max = toUnsigned(fn, 'max', epilogue.max, signed);
  if (min > max) {
    throw new ArgumentError({
      fn,
      argument: 'min',
      expected: `at most max (${epilogue.max})`,
      got: `${epilogue.min}`,
    });
  }
  return { zeroPoint: toUnsigned(fn, 'zeroPoint', epilogue.zeroPoint, signed), min, max };
}

/** Copies 8-bit data to the engine's memory as unsigned bytes. */
export function stageBytes(engine: Engine, data: Uint8Array | Int8Array, ptr: number): void {
  if (isSigned(data)) {
    engine.heap.i8.set(data, ptr);
    flipSignInPlace(engine, ptr, data.length);
  } else engine.heap.u8.set(data, ptr);
}

/** Takes unsigned bytes back out of the engine's memory, as the dtype of the data they came from. */
export function takeBytes<T extends Uint8Array | Int8Array>(
  engine: Engine,
  ptr: number,
  length: number,
  like: T,
): T {
  if (isSigned(like)) flipSignInPlace(engine, ptr, length);
  return (isSigned(like) ? engine.heap.i8 : engine.heap.u8).slice(ptr, ptr + length) as T;
}
