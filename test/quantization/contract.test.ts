import { afterAll, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { DTypeError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import { readPyTorch, readSafetensors, writePyTorch, writeSafetensors } from '../../src/io/index.ts';
import { type AnyModule, Module } from '../../src/nn/module.ts';
import * as nn from '../../src/nn-public.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import { FakeQuantizeBase } from '../../src/quantization/fake-quantize/fake-quantize.ts';
import { disableObserver } from '../../src/quantization/index.ts';
import type { StateDict } from '../../src/tensor/state.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { type Class, CONTRACTS, type Contract } from './contracts.ts';

/** The namespaces whose classes are under contract. */
const NAMESPACES = {
  quantized: nn.quantized,
  'quantized.dynamic': nn.quantized.dynamic,
  quantizable: nn.quantizable,
  qat: nn.qat,
  'qat.dynamic': nn.qat.dynamic,
  'intrinsic.quantized': nn.intrinsic.quantized,
  'intrinsic.quantized.dynamic': nn.intrinsic.quantized.dynamic,
  'intrinsic.qat': nn.intrinsic.qat,
};

const classes = new Map<string, Class>(
  Object.entries(NAMESPACES).flatMap(([place, exported]) =>
    Object.entries(exported)
      .filter(([, value]) => typeof value === 'function' && value.prototype instanceof Module)
      .map(([name, value]): [string, Class] => [`${place}.${name}`, value as Class]),
  ),
);

test('every exported class has a contract, and every contract a class', () => {
  expect(Object.keys(CONTRACTS).sort()).toEqual([...classes.keys()].sort());
});

const counts = new Map<string, number>();
afterAll(() =>
  console.log(
    `contracts: ${classes.size} classes; ${[...counts].map(([what, n]) => `${n} ${what}`).join(', ')}`,
  ),
);
function count(what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** What a call of the class takes. */
function given(c: Contract, dtype: 'quint8' | 'qint8' = 'quint8'): Tensor[] {
  const zeroPoint = dtype === 'quint8' ? 120 : -5;
  const quantized = c.kind === 'static' || c.kind === 'leave';
  return c.input().map((x) => (quantized ? dispatch('quantizePerTensor', x, 0.03, zeroPoint, dtype) : x));
}

function run(c: Contract, module: AnyModule, inputs: readonly Tensor[]): Tensor[] {
  const call = c.call ?? ((m: AnyModule, ...x: readonly Tensor[]) => m(...(x as [Tensor])));
  return noGrad(() => flat(call(module, ...inputs)));
}

function flat(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  return Array.isArray(value) ? value.flatMap(flat) : [];
}

/** Values, or the integers with their parameters. */
function contents(tensors: readonly Tensor[]): unknown {
  return tensors.map((t) => [
    t.dtype,
    t.shape,
    t.isQuantized ? [dispatch('intRepr', t).numbers(), t.qScale(), t.qZeroPoint()] : t.numbers(),
  ]);
}

function makeEval(c: Contract): AnyModule {
  manualSeed(7);
  // What an observer sees in evaluation would move what is compared.
  return noGrad(c.made).eval().apply(disableObserver);
}

describe.each(Object.entries(CONTRACTS))('nn.%s', (name, c) => {
  test('is made from the float form, and constructed with its arguments', () => {
    const module = makeEval(c);
    expect(module.constructor).toBe(classes.get(name));
    const constructed = c.constructed();
    expect(constructed.constructor).toBe(classes.get(name));
    expect([...constructed.stateDict().keys()]).toEqual([...module.stateDict().keys()]);
    if (!c.own) count('constructed as the float class');
  });

  test('takes and gives what its kind says', () => {
    const module = makeEval(c);
    for (const dtype of ['quint8', 'qint8'] as const) {
      if (dtype === 'qint8') {
        if (c.kind !== 'static' || c.quint8Only) continue;
        moveZeroPoints(module);
      }
      const y = run(c, module, given(c, dtype));
      expect(y.length).toBeGreaterThan(0);
      const expected = c.kind === 'static' ? dtype : c.kind === 'enter' ? 'quint8' : 'float32';
      expect([...new Set(y.map((t) => t.dtype))]).toEqual([expected]);
    }
  });

  test('refuses the other kind of tensor with a typed error that tells the way out', () => {
    const module = makeEval(c);
    const float = c.input();
    if (c.either) expect(run(c, module, float)[0].dtype).toBe('float32');
    else if (c.kind === 'static') {
      expect(() => run(c, module, float)).toThrow(DTypeError);
      expect(() => run(c, module, float)).toThrow(/QuantStub|float32 tensor/);
    } else if (c.kind === 'leave') {
      // A float tensor passes through, as in PyTorch.
      expect(contents(run(c, module, float))).toEqual(contents(float));
    } else if (c.kind === 'indices') {
      expect(() =>
        run(c, module, [dispatch('quantizePerTensor', float[0].to('float32'), 1, 0, 'quint8')]),
      ).toThrow(DTypeError);
    } else {
      const quantized = float.map((x) => dispatch('quantizePerTensor', x, 0.03, 120, 'quint8'));
      // Additions exist for both kinds.
      if (c.call) expect(run(c, module, quantized)[0].dtype).toBe('quint8');
      else {
        expect(() => run(c, module, quantized)).toThrow(DTypeError);
        expect(() => run(c, module, quantized)).toThrow(/dequantize\(\)|float tensor/);
      }
    }
    if (!c.either && c.kind !== 'leave') count('refuse the other kind');
  });

  test('its weights are quantized tensors, or fake-quantized while it is trained', () => {
    const module = makeEval(c) as unknown as Record<string, unknown>;
    for (const field of c.weights ?? []) {
      const value = module[field];
      if (value instanceof FakeQuantizeBase) {
        expect(value.hasObserved()).toBe(true);
        count('fake-quantized weights');
        continue;
      }
      const found =
        typeof value === 'function' ? (value as (walk?: number) => unknown).call(module, 0) : value;
      const tensors = found instanceof Tensor ? [found] : Object.values(found as object);
      const weights = tensors.filter((t): t is Tensor => (t instanceof Tensor && t.ndim > 1) || t === found);
      expect(weights.length).toBeGreaterThan(0);
      for (const w of weights) {
        expect(w.isQuantized, `${field}: ${w.dtype}`).toBe(true);
        count('quantized weights');
      }
    }
  });

  test('its state goes through a dict, a .pt and a safetensors file into a fresh one that computes the same', () => {
    const module = makeEval(c);
    const inputs = given(c);
    const want = contents(run(c, module, inputs));
    const state = module.stateDict();
    if (c.withoutState) expect(state.size).toBe(0);
    else expect(state.size).toBeGreaterThan(0);
    const ways: StateDict[] = [
      state,
      readPyTorch(writePyTorch(state)) as StateDict,
      readSafetensors(writeSafetensors(state)).dict,
    ];
    for (const dict of ways) {
      manualSeed(99);
      const fresh = c.constructed().eval();
      if (!c.withoutState && !c.call && c.printed !== 'QuantizedSoftmax')
        expect(contents(run(c, fresh, inputs))).not.toEqual(want);
      const report = fresh.loadStateDict(dict);
      expect(report).toEqual({ missingKeys: [], unexpectedKeys: [], mismatches: [] });
      expect(contents(run(c, fresh, inputs))).toEqual(want);
      count('loads that compute the same');
    }
  });

  test('a deep copy is its own, computes and prints the same', () => {
    const module = makeEval(c);
    const inputs = given(c);
    const want = contents(run(c, module, inputs));
    const text = String(module);
    const copy = nn.deepCopy(module);
    expect(copy.constructor).toBe(module.constructor);
    expect(copy.modules().some((m) => module.modules().includes(m))).toBe(false);
    expect(String(copy)).toBe(text);
    expect(contents(run(c, copy, inputs))).toEqual(want);
    // What is done to the copy does not reach the original.
    manualSeed(1234);
    copy.loadStateDict(c.constructed().stateDict());
    for (const t of [...copy.parameters(), ...copy.buffers()]) t.storage.fill(0);
    expect(String(module)).toBe(text);
    expect(contents(run(c, module, inputs))).toEqual(want);
  });

  test('prints PyTorch’s name', () => {
    expect(String(makeEval(c)).startsWith(`${c.printed}(`), String(makeEval(c))).toBe(true);
  });
});

/** Output zero points of a module made for quint8, brought into the range of qint8. */
function moveZeroPoints(module: AnyModule): void {
  for (const m of module.modules()) {
    const own = m as unknown as { zeroPoint?: unknown };
    if (typeof own.zeroPoint === 'number') own.zeroPoint = Math.max(-128, own.zeroPoint - 128);
  }
}
