import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { product } from '../../src/core/math.ts';
import { manualSeed } from '../../src/core/random.ts';
import { dispatch } from '../../src/ops/index.ts';
import { PackedWeights } from '../../src/ops/quantized/packed.ts';
import type { QuantizedDType } from '../../src/tensor/dtype.ts';
import { randn, type Tensor, tensor } from '../../src/tensor/index.ts';

/** A case as `quantized_ops.py` writes it. */
interface Case {
  readonly op: string;
  readonly seed: number;
  readonly input: number[];
  readonly input2?: number[];
  readonly weight?: number[];
  readonly stride?: any;
  readonly padding?: any;
  readonly dilation?: number[];
  readonly groups?: number;
  readonly bias?: boolean;
  readonly relu?: boolean;
  readonly perChannel?: boolean;
  readonly dtype?: QuantizedDType;
  readonly kernel?: number;
  readonly ceilMode?: boolean;
  readonly countIncludePad?: boolean;
  readonly size?: number;
  readonly value?: number;
  readonly min?: number;
  readonly max?: number;
  readonly qIn: [number, number];
  readonly qIn2?: [number, number];
  readonly q: [number, number];
  readonly qOut?: [number, number];
  readonly shapeOut: number[];
  readonly out: string;
}

const cases = JSON.parse(
  readFileSync(new URL('./data/quantized_ops.json', import.meta.url), 'utf8'),
) as Case[];

/**
 * Operators whose PyTorch kernels fuse a multiply and an add, where ours rounds twice (so that both wasm builds agree
 * to the bit): an element whose exact value lies on a tie may come out one step apart.
 */
const MAY_DIFFER_BY_ONE = new Set(['add', 'add_relu']);

const compared = new Map<string, { elements: number; differing: number }>();

afterAll(() => {
  const lines = [...compared].map(
    ([op, { elements, differing }]) => `${op}: ${elements} elements, ${differing} differ`,
  );
  console.log(`against PyTorch's integers:\n  ${lines.join('\n  ')}`);
});

for (const op of new Set(cases.map((c) => c.op))) {
  describe(op, () => {
    cases
      .filter((c) => c.op === op)
      .forEach((c, i) => {
        test(`case ${i}: ${c.dtype ?? 'quint8'} [${c.input}]`, () => check(c));
      });
  });
}

function check(c: Case): void {
  manualSeed(c.seed);
  const y = run(c);
  expect(y.shape).toEqual(c.shapeOut);
  if (c.qOut) {
    expect(Math.fround(y.qScale())).toBe(Math.fround(c.qOut[0]));
    expect(y.qZeroPoint()).toBe(c.qOut[1]);
  }
  const bytes = Buffer.from(c.out, 'base64');
  if (!y.isQuantized) {
    const want = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    // Float results: the product and the bias are rounded once each, in an order PyTorch leaves to its engine.
    const bound = 5e-7 * Math.max(...want.map(Math.abs));
    want.forEach((w, i) => {
      expect(Math.abs(y.data[i] - w), `element ${i}: ${y.data[i]} against ${w}`).toBeLessThanOrEqual(bound);
    });
    tally(c.op, want.length, 0);
    return;
  }
  const want = y.dtype === 'qint8' ? new Int8Array(bytes) : new Uint8Array(bytes);
  const got = dispatch('intRepr', y).data;
  let differing = 0;
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    differing++;
    const bound = MAY_DIFFER_BY_ONE.has(c.op) ? 1 : 0;
    expect(Math.abs(got[i] - want[i]), `element ${i}: ${got[i]} against ${want[i]}`).toBeLessThanOrEqual(
      bound,
    );
  }
  expect(differing).toBeLessThanOrEqual(want.length * 0.005);
  tally(c.op, want.length, differing);
}

function tally(op: string, elements: number, differing: number): void {
  const before = compared.get(op) ?? { elements: 0, differing: 0 };
  compared.set(op, { elements: before.elements + elements, differing: before.differing + differing });
}

function run(c: Case): Tensor {
  const dtype = c.dtype ?? 'quint8';
  const input = (shape = c.input, q = c.qIn): Tensor =>
    dispatch('quantizePerTensor', randn(shape), q[0], q[1], dtype);
  const window = (dilation = 1) => ({
    kernelSize: [c.kernel!, c.kernel!],
    stride: [c.stride, c.stride],
    padding: [c.padding, c.padding],
    dilation: [dilation, dilation],
    ceilMode: c.ceilMode!,
  });
  switch (c.op) {
    case 'conv1d':
    case 'conv2d':
    case 'conv3d': {
      const x = input();
      const packed = new PackedWeights(weight(c), c.bias ? randn([c.weight![0]]) : null, {
        stride: c.stride,
        padding: c.padding,
        dilation: c.dilation!,
        groups: c.groups!,
      });
      return dispatch(`quantized::${c.op}${c.relu ? '_relu' : ''}`, x, packed, c.q[0], c.q[1]);
    }
    case 'linear': {
      const x = input();
      const packed = new PackedWeights(weight(c), c.bias ? randn([c.weight![0]]) : null, null);
      return dispatch(c.relu ? 'quantized::linear_relu' : 'quantized::linear', x, packed, c.q[0], c.q[1]);
    }
    case 'linear_dynamic': {
      const x = randn(c.input);
      const packed = new PackedWeights(weight(c), c.bias ? randn([c.weight![0]]) : null, null);
      return dispatch('quantized::linear_dynamic', x, packed, false);
    }
    case 'add':
    case 'add_relu':
    case 'mul':
    case 'mul_relu':
      return dispatch(`quantized::${c.op}`, input(), input(c.input, c.qIn2), c.q[0], c.q[1]);
    case 'add_scalar':
    case 'mul_scalar':
      return dispatch(`quantized::${c.op}`, input(), c.value!);
    case 'cat':
      return dispatch('quantized::cat', [input(), input(c.input2, c.qIn2)], c.q[0], c.q[1], 1);
    case 'relu':
      return dispatch('relu', input());
    case 'hardtanh':
      return dispatch('hardtanh', input(), c.min!, c.max!);
    case 'max_pool2d':
      return dispatch('maxPool2d', input(), window());
    case 'avg_pool2d':
      return dispatch('avgPool2d', input(), { ...window(), countIncludePad: c.countIncludePad! });
    case 'adaptive_avg_pool2d':
      return dispatch('adaptiveAvgPool2d', input(), [c.size!, c.size!]);
    case 'quantize_per_tensor':
      return input();
    case 'quantize_per_channel': {
      const scales = tensor(Float64Array.from({ length: 7 }, (_, j) => 0.01 + 0.003 * j));
      const zeroPoints = tensor(
        Int32Array.from({ length: 7 }, (_, j) => (dtype === 'qint8' ? 3 * j - 9 : 3 * j)),
      );
      return dispatch('quantizePerChannel', randn(c.input), scales, zeroPoints, 1, dtype);
    }
    default:
      throw new Error(`no runner for ${c.op} (${product(c.input)} elements)`);
  }
}

function weight(c: Case): Tensor {
  const shape = c.weight!;
  const w = randn(shape);
  if (!c.perChannel) return dispatch('quantizePerTensor', w, 0.03, 0, 'qint8');
  const scales = tensor(Float64Array.from({ length: shape[0] }, (_, i) => 0.015 + 0.002 * (i % 11)));
  return dispatch('quantizePerChannel', w, scales, tensor(new Int32Array(shape[0])), 0, 'qint8');
}
