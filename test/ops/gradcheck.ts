import { expect } from 'vitest';
import { backward } from '../../src/autograd/index.ts';
import { GRADIENTS } from '../../src/autograd/rules/index.ts';
import { Generator } from '../../src/core/random.ts';
import { dispatch, noGrad } from '../../src/ops/index.ts';
import type { OpName } from '../../src/ops/signatures/index.ts';
import { zerosLike } from '../../src/tensor/creation.ts';
import { contiguousStrides } from '../../src/tensor/shape.ts';
import { Tensor } from '../../src/tensor/tensor.ts';

/** How the inputs lie in memory: as they read, or with the first dimension fastest. */
export type Layout = 'row-major' | 'column-major';

const STEP = 1e-6;
const TOLERANCE = 2e-7;

/**
 * Compares the gradients of one operator call with central differences in float64, for every element of every float64
 * tensor argument. Random outputs weights make one number of all outputs.
 */
export function gradcheck(op: OpName, args: readonly unknown[], layout: Layout): void {
  const inputs: Tensor[] = [];
  const own = (arg: unknown): unknown => {
    if (Array.isArray(arg) && arg.some((item) => item instanceof Tensor)) return arg.map(own);
    if (!(arg instanceof Tensor) || arg.dtype !== 'float64') return arg;
    const copy = laidOut(arg, layout);
    copy.requiresGrad = true;
    inputs.push(copy);
    return copy;
  };
  const owned = args.map(own);
  const run = (): Tensor[] => {
    for (const arg of owned) if (arg instanceof Generator) arg.manualSeed(1);
    const result = (dispatch as (op: OpName, ...rest: unknown[]) => Tensor | Tensor[])(op, ...owned);
    return result instanceof Tensor ? [result] : result;
  };
  const random = new Generator(11);
  const outputs = run();
  const weights = outputs.map((out) => {
    const w = zerosLike(out);
    if (out.dtype === 'float64') random.fillNormal(w.storage as Float64Array);
    return w;
  });
  outputs.forEach((out, i) => {
    if (out.requiresGrad) backward(out, weights[i], { retainGraph: true });
  });
  const total = (): number =>
    noGrad(run).reduce((sum, out, i) => {
      if (out.dtype !== 'float64') return sum;
      const w = weights[i].data;
      return (out.data as Float64Array).reduce((s, v, j) => s + v * w[j], sum);
    }, 0);

  inputs.forEach((input, k) => {
    expect(input.grad, `${op}: gradient of input ${k}`).not.toBeNull();
    expect(input.grad!.shape, `${op}: shape of gradient ${k}`).toEqual(input.shape);
    expect(input.grad!.dtype, `${op}: dtype of gradient ${k}`).toBe('float64');
    const analytic = input.grad!.layOut(input.strides);
    for (let i = 0; i < input.storage.length; i++) {
      const before = input.storage[i];
      input.storage[i] = before + STEP;
      const up = total();
      input.storage[i] = before - STEP;
      const numeric = (up - total()) / (2 * STEP);
      input.storage[i] = before;
      const difference = Math.abs(analytic[i] - numeric);
      if (!(difference <= TOLERANCE * (1 + Math.abs(numeric)))) {
        expect.fail(`${op}: input ${k}, element ${i}: ${analytic[i]} by the rule, ${numeric} by differences`);
      }
    }
  });
}

/** A copy of a tensor in the wanted memory order. */
function laidOut(x: Tensor, layout: Layout): Tensor {
  const rows = contiguousStrides(x.shape);
  const strides = layout === 'row-major' ? rows : contiguousStrides([...x.shape].reverse()).reverse();
  return new Tensor({ storage: x.layOut(strides), shape: x.shape, strides, dtype: x.dtype });
}

/** Whether an operator has a gradient rule at all. */
export function isDifferentiable(op: OpName): boolean {
  return typeof GRADIENTS[op] === 'function';
}
