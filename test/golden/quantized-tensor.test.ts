import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  add,
  cat,
  emptyAffineQuantized,
  eq,
  equal,
  lt,
  manualSeed,
  ne,
  quantizePerChannel,
  quantizePerTensor,
  quantizePerTensorDynamic,
  randn,
  slice,
  stack,
  Tensor,
  tensor,
} from '../../src/index.ts';

/** A result as `quantized_tensor.py` describes it. */
interface Described {
  readonly value?: boolean;
  readonly shape: number[];
  readonly kind: string;
  readonly data: string;
  readonly q?: [number, number];
  readonly axis?: number;
}

interface Case {
  readonly op: string;
  readonly seed: number;
  readonly input: number[];
  readonly dtype: 'quint8' | 'qint8';
  readonly q: [number, number];
  readonly q2: [number, number];
  readonly scales: number[];
  readonly zeroPoints: number[];
  readonly out: Described | Described[];
}

const { cases, printed } = JSON.parse(
  readFileSync(new URL('./data/quantized_tensor.json', import.meta.url), 'utf8'),
) as { cases: Case[]; printed: Record<string, string> };

type Result = Tensor | boolean | (Tensor | boolean)[];

/** The same calls as in `quantized_tensor.py`, on x and (where there are two operands) on a second tensor. */
const OPERATIONS: Readonly<Record<string, (x: Tensor, c: Case) => Result>> = {
  min: (x) => x.min(),
  max: (x) => x.max(),
  minDim: (x) => x.min(1),
  maxDim: (x) => x.max(1),
  argmin: (x) => x.argmin(),
  sort: (x) => x.sort(1)[0],
  sortDescending: (x) => x.sort(1, { descending: true })[0],
  topk: (x) => x.topk(2, { dim: 1 })[0],
  transpose: (x) => x.transpose(0, 2),
  permute: (x) => x.permute(2, 0, 1),
  contiguous: (x) => x.transpose(0, 1).contiguous(),
  view: (x) => x.view(-1, x.shape[2]),
  reshape: (x) => x.transpose(0, 1).reshape(-1),
  flatten: (x) => x.flatten(1),
  clone: (x) => x.clone(),
  slice: (x) => x.at(slice(), slice(1, 3), slice(null, null, 2)),
  select: (x) => x.select(0, -1),
  unsqueeze: (x) => x.unsqueeze(1),
  mean: (x) => x.mean(),
  meanLast: (x) => x.mean(-1),
  meanKeep: (x) => x.mean([0, 2], { keepdim: true }),
  relu: (x) => x.relu(),
  clamp: (x) => x.clamp(-0.4, 0.9),
  eqScalar: (x) => x.eq(0),
  ltScalar: (x) => x.lt(0.3),
  geScalar: (x) => x.ge(-0.2),
  dequantize: (x) => x.dequantize(),
  cat: (x, c) => cat([x, second(c)], 1),
  stack: (x, c) => stack([x, quantizePerTensor(second(c).dequantize(), ...c.q, c.dtype)], 1),
  lt: (x, c) => lt(x, second(c)),
  ne: (x, c) => ne(x, second(c)),
  equal: (x, c) => equal(x, second(c)),
  equalSelf: (x) => equal(x, x.clone()),
  addOut: (x, c) =>
    add(x, second(c), { out: emptyAffineQuantized(c.input, { scale: 0.07, zeroPoint: 5, dtype: c.dtype }) }),
  addDefault: (x, c) => add(x, second(c)),
  dynamic: (x, c) => quantizePerTensorDynamic(x.dequantize(), c.dtype),
  dynamicReduced: (x, c) => quantizePerTensorDynamic(x.dequantize(), c.dtype, { reduceRange: true }),
  perChannel: (_, c) => perChannel(c),
  perChannelValues: (_, c) => perChannel(c).dequantize(),
  perChannelEq: (_, c) => eq(perChannel(c), perChannel(c)),
};

function drawn(c: Case): Tensor {
  manualSeed(c.seed);
  return randn(c.input);
}

function first(c: Case): Tensor {
  return quantizePerTensor(drawn(c), ...c.q, c.dtype);
}

/** The second operand, drawn after the first. */
function second(c: Case): Tensor {
  drawn(c);
  return quantizePerTensor(randn(c.input), ...c.q2, c.dtype);
}

function perChannel(c: Case): Tensor {
  return quantizePerChannel(drawn(c), c.scales, c.zeroPoints, 1, c.dtype);
}

function decode(d: Described): number[] {
  const bytes = Buffer.from(d.data, 'base64');
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  if (d.kind === 'int64') return Array.from(new BigInt64Array(buffer), Number);
  const kinds = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array } as const;
  return Array.from(new kinds[d.kind as keyof typeof kinds](buffer));
}

/**
 * Means over other than the innermost dimensions are float sums in PyTorch, in an order of its own: a mean on a tie between
 * two integers may come out as either.
 */
const TIES_MAY_DIFFER = new Set(['meanKeep']);

/** Where integers differ, both are as near to the exact mean. */
function onTies(x: Tensor, got: ArrayLike<number>, want: readonly number[]): void {
  const exact = x.intRepr().to('float64').mean([0, 2], { keepdim: true }).data;
  want.forEach((w, i) => {
    if (got[i] !== w) expect([Math.abs(got[i] - exact[i]), Math.abs(w - exact[i])]).toEqual([0.5, 0.5]);
  });
}

function matches(got: Tensor | boolean | undefined, want: Described): void {
  if (!(got instanceof Tensor)) {
    expect(got).toBe(want.value);
    return;
  }
  expect(got.shape).toEqual(want.shape);
  expect(Array.from((got.isQuantized ? got.intRepr() : got).data)).toEqual(decode(want));
  if (want.q) expect([got.qScale(), got.qZeroPoint()].map(Math.fround)).toEqual(want.q.map(Math.fround));
  if (want.axis !== undefined) expect(got.qPerChannelAxis()).toBe(want.axis);
}

for (const op of new Set(cases.map((c) => c.op))) {
  describe(op, () => {
    cases
      .filter((c) => c.op === op)
      .forEach((c, i) => {
        test(`case ${i}: ${c.dtype} [${c.input}]`, () => {
          const x = first(c);
          const got = OPERATIONS[op](x, c);
          if (TIES_MAY_DIFFER.has(op)) onTies(x, (got as Tensor).intRepr().data, decode(c.out as Described));
          else if (!Array.isArray(c.out)) matches(got as Tensor, c.out);
          else c.out.forEach((want, k) => void matches((got as Tensor[])[k], want));
        });
      });
  });
}

describe('printed forms', () => {
  manualSeed(3);
  const x = randn([3, 4]);
  const forms: Readonly<Record<string, () => Tensor>> = {
    perTensor: () => quantizePerTensor(x, 0.05, 64, 'quint8'),
    signed: () => quantizePerTensor(x, 0.05, -4, 'qint8'),
    wide: () => quantizePerTensor(x, 1e-5, 0, 'qint32'),
    perChannel: () => quantizePerChannel(x, [0.1, 0.05, 0.02], [1, 2, 3], 0, 'quint8'),
    intRepr: () => quantizePerTensor(x, 0.05, 64, 'quint8').intRepr(),
    scalar: () => quantizePerTensor(tensor(0.5), 0.1, 0, 'quint8'),
    empty: () => emptyAffineQuantized([0, 2], { scale: 0.1, zeroPoint: 3 }),
  };
  for (const [name, make] of Object.entries(forms)) {
    test(name, () => expect(String(make())).toBe(printed[name]));
  }
});
