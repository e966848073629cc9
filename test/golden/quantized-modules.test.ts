import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import {
  interpolate,
  manualSeed,
  nn,
  ops,
  quantization,
  quantizePerChannel,
  quantizePerTensor,
  rand,
  randn,
  tensor,
} from '../../src/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import type { Tensor } from '../../src/tensor/index.ts';

const { quantized: q } = nn;

/** A case as `quantized_modules.py` writes it. */
interface Case {
  readonly op: string;
  readonly seed: number;
  readonly input: number[];
  readonly dtype: any;
  readonly qIn: [number, number];
  readonly spread: number;
  readonly q: [number, number];
  readonly qOut?: [number, number];
  readonly shapeOut: number[];
  readonly out: string;
  readonly printed?: string;
  readonly [option: string]: any;
}

const cases = ['activation', 'normalization', 'other'].flatMap(
  (kind) =>
    JSON.parse(
      readFileSync(new URL(`./data/quantized_modules_${kind}.json`, import.meta.url), 'utf8'),
    ) as Case[],
);

/**
 * Hardly any element may come out a step apart, where its value lies on (or next to) a tie: PyTorch's channels-last resizing,
 * which it also takes for single channels, fuses multiplies with adds; onednn adds the bias as a float, not rounded to the
 * accumulator's integers.
 */
const MAY_DIFFER = new Set(['bilinear', 'upsample', 'ConvTranspose3d']);

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
        test(`case ${i}: ${c.dtype} [${c.input}]`, () => check(c));
      });
  });
}

function check(c: Case): void {
  manualSeed(c.seed);
  const { y, layer } = noGrad(() => run(c));
  expect(y.shape).toEqual(c.shapeOut);
  if (c.printed) expect(String(layer)).toBe(c.printed);
  const bytes = Buffer.from(c.out, 'base64');
  if (!y.isQuantized) {
    const want = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    want.forEach((w, i) => {
      expect(Math.abs(y.data[i] - w), `element ${i}: ${y.data[i]} against ${w}`).toBeLessThanOrEqual(
        2e-6 * Math.max(1, Math.abs(w)),
      );
    });
    tally(c.op, want.length, 0);
    return;
  }
  expect([y.qScale(), y.qZeroPoint()].map(Math.fround)).toEqual(c.qOut?.map(Math.fround));
  const want = y.dtype === 'qint8' ? new Int8Array(bytes) : new Uint8Array(bytes);
  const got = y.intRepr().data;
  let differing = 0;
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    differing++;
    expect(MAY_DIFFER.has(c.op), `element ${i}: ${got[i]} against ${want[i]}`).toBe(true);
    expect(Math.abs(got[i] - want[i]), `element ${i}: ${got[i]} against ${want[i]}`).toBeLessThanOrEqual(1);
  }
  expect(differing).toBeLessThanOrEqual(Math.max(1, want.length * 0.01));
  tally(c.op, want.length, differing);
}

function tally(op: string, elements: number, differing: number): void {
  const before = compared.get(op) ?? { elements: 0, differing: 0 };
  compared.set(op, { elements: before.elements + elements, differing: before.differing + differing });
}

interface Result {
  readonly y: Tensor;
  readonly layer?: nn.Module<any>;
}

function run(c: Case): Result {
  if (c.op.startsWith('Embedding')) return lookUp(c);
  const x = quantize(randn(c.input).mul(c.spread), c.qIn, c.dtype);
  const through = (layer: nn.Module): Result => ({ y: layer(x), layer });
  const [scale, zeroPoint] = c.q ?? [1, 0];
  const channels = c.input[1];
  const gains = (affine: boolean, shape: number[]): [Tensor | null, Tensor | null] =>
    affine ? [randn(shape), randn(shape)] : [null, null];
  switch (c.op) {
    case 'ReLU6':
      return through(new q.ReLU6());
    case 'Hardswish':
      return through(new q.Hardswish(scale, zeroPoint));
    case 'ELU':
      return through(new q.ELU(scale, zeroPoint, 0.7));
    case 'LeakyReLU':
      return through(new q.LeakyReLU(scale, zeroPoint, 0.15));
    case 'Sigmoid':
      return through(new q.Sigmoid(scale, zeroPoint));
    case 'Softmax':
      return through(new q.Softmax(-1, scale, zeroPoint));
    case 'sigmoid':
      return through(new nn.Sigmoid());
    case 'tanh':
      return through(new nn.Tanh());
    case 'hardsigmoid':
      return through(new nn.Hardsigmoid());
    case 'leaky_relu':
      return through(new nn.LeakyReLU(0.2));
    case 'celu':
      return { y: ops.quantized.celu(x, scale, zeroPoint, 1.3) };
    case 'threshold':
      return { y: ops.quantized.threshold(x, 0.3, -0.5) };
    case 'PReLU': {
      const layer = new q.PReLU(scale, zeroPoint, c.count);
      layer.setWeight(quantize(randn([c.count]), [0.02, 20], c.dtype));
      return through(layer);
    }
    case 'BatchNorm2d':
    case 'BatchNorm3d':
    case 'BNReLU2d':
    case 'BNReLU3d': {
      const make = { ...q, ...nn.intrinsic.quantized }[c.op];
      const layer = new make(channels, { eps: c.eps });
      layer.weight = new nn.Parameter(randn([channels]), false);
      layer.bias = new nn.Parameter(randn([channels]), false);
      layer.runningMean = randn([channels]);
      layer.runningVar = rand([channels]).add(0.1);
      layer.scale = scale;
      layer.zeroPoint = zeroPoint;
      return through(layer);
    }
    case 'LayerNorm': {
      const [w, b] = gains(c.affine, c.tail);
      return through(new q.LayerNorm(c.tail, w, b, scale, zeroPoint, { elementwiseAffine: c.affine }));
    }
    case 'GroupNorm': {
      const [w, b] = gains(c.affine, [channels]);
      return through(new q.GroupNorm(c.groups, channels, w, b, scale, zeroPoint, { affine: c.affine }));
    }
    case 'InstanceNorm1d':
    case 'InstanceNorm2d':
    case 'InstanceNorm3d': {
      const [w, b] = gains(c.affine, [channels]);
      return through(new q[c.op](channels, w, b, scale, zeroPoint, { affine: c.affine }));
    }
    case 'nearest':
      return { y: interpolate(x, { size: c.size }) };
    case 'bilinear':
      return { y: interpolate(x, { size: c.size, mode: 'bilinear', alignCorners: c.align }) };
    case 'upsample':
      return { y: q.functional.upsample(x, { scaleFactor: c.factor, mode: 'bilinear' }) };
    case 'ConvTranspose1d':
    case 'ConvTranspose2d':
    case 'ConvTranspose3d': {
      const [inChannels, outChannels] = c.channels;
      const { stride, padding, outputPadding, dilation, groups, bias } = c;
      const options = { stride, padding, outputPadding, dilation, groups, bias };
      const layer = new q[c.op](inChannels, outChannels, c.kernel, options);
      const weight = quantize(randn([inChannels, outChannels / groups, ...c.kernel]), [0.03, 0], 'qint8');
      layer.setWeightBias(weight, bias ? randn([outChannels]) : null);
      layer.scale = scale;
      layer.zeroPoint = zeroPoint;
      return through(layer);
    }
    default:
      throw new Error(`no runner for ${c.op}`);
  }
}

function lookUp(c: Case): Result {
  const weight = randn([c.rows, c.width]);
  const observer = new quantization.PerChannelMinMaxObserver({
    dtype: c.dtype,
    qscheme: 'per_channel_affine_float_qparams',
    chAxis: 0,
  });
  observer(weight);
  const { scale, zeroPoint } = observer.calculateQParams();
  const table = quantizePerChannel(weight, scale, zeroPoint, 0, c.dtype);
  const indices = tensor(c.indices, { dtype: 'int64' });
  const options = { dtype: c.dtype, weight: table };
  if (c.op === 'Embedding') {
    const layer = new q.Embedding(c.rows, c.width, options);
    return { y: layer(indices), layer };
  }
  const layer = new q.EmbeddingBag(c.rows, c.width, { ...options, includeLastOffset: c.last });
  const shares = c.weighted ? randn([c.indices.length]) : null;
  return { y: layer(indices, tensor(c.offsets, { dtype: 'int64' }), shares), layer };
}

function quantize(x: Tensor, [scale, zeroPoint]: readonly [number, number], dtype: any): Tensor {
  return quantizePerTensor(x, scale, zeroPoint, dtype);
}
