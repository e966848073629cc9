import { crc32 } from 'node:zlib';
import { Generator } from '../../src/core/random.ts';
import { rand } from '../../src/tensor/creation.ts';
import { channelsLastStrides } from '../../src/tensor/shape.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

/** An input made from a seed; see observers_inputs.py, which makes the same. */
export interface InputSpec {
  readonly seed: number;
  readonly shape: readonly number[];
  readonly scale: number;
  readonly shift: number;
  readonly power?: number;
  readonly centered?: boolean;
  readonly floor?: number;
  readonly layout?: 'channelsLast';
}

/** A number as observers_inputs.py writes it. */
export type GoldenNumber = number | 'inf' | '-inf';

/** Uniform numbers, raised to a power, scaled, shifted, clamped below: each step rounds to float32. */
export function makeInput(spec: InputSpec): Tensor {
  const { fround } = Math;
  const x = rand(spec.shape, { generator: new Generator(spec.seed) });
  const [scale, shift] = [fround(spec.scale), fround(spec.shift)];
  x.storage.forEach((v, i) => {
    const u = spec.centered ? fround(v - 0.5) : v;
    let y = u;
    for (let k = 1; k < (spec.power ?? 1); k++) y = fround(y * u);
    y = fround(fround(y * scale) + shift);
    x.storage[i] = spec.floor === undefined ? y : Math.max(y, spec.floor);
  });
  if (spec.layout !== 'channelsLast') return x;
  const strides = channelsLastStrides(x.shape);
  return new Tensor({ storage: x.layOut(strides), shape: x.shape, strides, dtype: 'float32' });
}

/** CRC-32 of the float32 bytes in row-major order, negative zeros as zeros. */
export function checksum(x: Tensor): number {
  const values = Float32Array.from(x.numbers(), (v) => v + 0);
  return crc32(new Uint8Array(values.buffer));
}

/** The numbers of a golden list. */
export function goldenNumbers(values: readonly GoldenNumber[]): number[] {
  return values.map((v) => (v === 'inf' ? Infinity : v === '-inf' ? -Infinity : v));
}

/** snake_case keys to camelCase. */
export function camelKeys(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(options).map(([key, v]) => [key.replace(/_(\w)/g, (_, c: string) => c.toUpperCase()), v]),
  );
}
