import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { dispatch } from '../../src/ops/index.ts';
import type { OpName } from '../../src/ops/signatures/index.ts';
import type { PlainDType } from '../../src/tensor/dtype.ts';
import { channelsLastStrides } from '../../src/tensor/shape.ts';
import { encodeNumbers, fromStorage, Tensor } from '../../src/tensor/tensor.ts';

/** A tensor as `common.py` writes it: row-major numbers, with NaN and infinities as strings. */
export interface EncodedTensor {
  readonly dtype: PlainDType;
  readonly shape: readonly number[];
  readonly data: readonly (number | 'nan' | 'inf' | '-inf')[];
  readonly layout?: 'channelsLast';
}

/** One run of an operator in PyTorch. */
export interface GoldenCase {
  readonly name: string;
  readonly op: OpName;
  readonly args: readonly unknown[];
  readonly outputs: readonly EncodedTensor[];
  readonly gradOutputs?: readonly (EncodedTensor | null)[];
  readonly gradInputs?: readonly (EncodedTensor | null)[];
  /** Relative tolerance where the default does not fit; the script says why. */
  readonly tolerance?: number;
}

/** A few float32 roundings: both sides round, and PyTorch sums in float32. */
const RELATIVE = 2e-6;

/** The cases of one family. */
export function readCases(family: string): GoldenCase[] {
  return JSON.parse(readFileSync(new URL(`./data/${family}.json`, import.meta.url), 'utf8')) as GoldenCase[];
}

/** Runs the operator (or function) that a case names. */
export type Run = (op: string, ...args: unknown[]) => Tensor | readonly Tensor[];

/** Defines one test per case of a family: forward, and the gradients of every float input. */
export function testGolden(family: string, run: Run = dispatch as unknown as Run): void {
  readCases(family).forEach((c, i) => {
    test(`${c.op} #${i}${c.name === c.op ? '' : ` (${c.name})`}`, () => runCase(c, run));
  });
}

/** Runs a case and compares everything it says. */
export function runCase(c: GoldenCase, run: Run = dispatch as unknown as Run): void {
  const inputs: Tensor[] = [];
  const args = c.args.map((a) => decode(a, inputs));
  const wantsGrad = c.gradInputs?.some((g) => g !== null) ?? false;
  if (wantsGrad)
    inputs.forEach((t, i) => {
      t.requiresGrad = (c.gradInputs![i] ?? null) !== null;
    });
  const result = run(c.op, ...args);
  const outputs = result instanceof Tensor ? [result] : result;
  c.outputs.forEach((expected, i) => {
    expectClose(outputs[i], expected, `${c.op} output ${i}`, c.tolerance);
  });
  if (!wantsGrad) return;
  c.gradOutputs!.forEach((g, i) => {
    if (g) backward(outputs[i], decodeTensor(g), { retainGraph: true });
  });
  c.gradInputs!.forEach((expected, i) => {
    if (!expected) return;
    expect(inputs[i].grad, `${c.op} gradient of input ${i}`).not.toBeNull();
    expectClose(inputs[i].grad!, expected, `${c.op} gradient of input ${i}`, c.tolerance);
  });
}

/** Turns an encoded argument into the operator's; tensors met on the way are appended to `inputs`. */
export function decode(value: unknown, inputs: Tensor[] = []): unknown {
  if (Array.isArray(value)) return value.map((v) => decode(v, inputs));
  if (value === null || typeof value !== 'object') return value;
  if ('tensor' in value) {
    const t = decodeTensor(value.tensor as EncodedTensor);
    inputs.push(t);
    return t;
  }
  if ('absent' in value) return undefined;
  if ('number' in value) return toNumber(value.number as number);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, decode(v, inputs)]));
}

/** A tensor from its encoding. */
export function decodeTensor(encoded: EncodedTensor): Tensor {
  const flat = fromStorage(
    encodeNumbers(encoded.data.map(toNumber), encoded.dtype),
    encoded.shape,
    encoded.dtype,
  );
  if (encoded.layout !== 'channelsLast') return flat;
  const strides = channelsLastStrides(flat.shape);
  return new Tensor({ storage: flat.layOut(strides), shape: flat.shape, strides, dtype: flat.dtype });
}

/** Compares values, shape and dtype. The absolute part of the tolerance scales with the largest expected value. */
export function expectClose(
  got: Tensor,
  expected: EncodedTensor,
  what: string,
  relative: number = RELATIVE,
): void {
  expect(got.shape, `${what}: shape`).toEqual(expected.shape);
  expect(got.dtype, `${what}: dtype`).toBe(expected.dtype);
  const values = got.numbers();
  const wanted = expected.data.map(toNumber);
  const largest = wanted.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0);
  const tolerance = relative * (expected.dtype === 'float16' || expected.dtype === 'bfloat16' ? 4000 : 1);
  wanted.forEach((want, i) => {
    const value = values[i];
    if (Object.is(value, want) || value === want) return;
    const limit = tolerance * Math.abs(want) + tolerance * 0.5 * largest;
    if (!(Math.abs(value - want) <= limit)) {
      expect.fail(`${what}: element ${i}: expected ${want} ± ${limit}, got ${value}`);
    }
  });
}

function toNumber(v: number | string): number {
  return v === 'nan' ? Number.NaN : v === 'inf' ? Infinity : v === '-inf' ? -Infinity : (v as number);
}
