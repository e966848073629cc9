import { Generator } from '../../../src/core/random.ts';
import type { OpArgs, OpName } from '../../../src/ops/signatures/index.ts';
import { randn, tensor } from '../../../src/tensor/creation.ts';
import type { Shape } from '../../../src/tensor/shape.ts';
import type { Tensor } from '../../../src/tensor/tensor.ts';

/**
 * Arguments to check each operator of a family with: float64 tensors of a few elements, away from kinks. The compiler
 * lists the operators that are missing.
 */
export type SamplesOf<Family> = {
  readonly [K in keyof Family & OpName]: readonly OpArgs<K>[] | 'not differentiable';
};

const generator = new Generator(7);

/** Normal random float64 numbers. */
export function normal(...shape: number[]): Tensor {
  return randn(shape, { dtype: 'float64', generator });
}

/** Random float64 numbers from 0.3 up. */
export function positive(...shape: number[]): Tensor {
  const x = normal(...shape);
  return tensor(
    Float64Array.from(x.storage, (v) => Math.abs(v) + 0.3),
    { shape },
  );
}

/** Random float64 numbers, all different by at least 0.1: no ties, and nothing close to 0 or to a whole number. */
export function distinct(...shape: number[]): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const order = generator.permutation(n);
  return tensor(
    Float64Array.from(order, (v) => (v - n / 2) * 0.25 + 0.14),
    { shape },
  );
}

/** An int64 tensor. */
export function indices(values: readonly number[], shape: Shape = [values.length]): Tensor {
  return tensor(Float64Array.from(values), { shape, dtype: 'int64' });
}

/** A bool tensor. */
export function mask(values: readonly number[], shape: Shape = [values.length]): Tensor {
  return tensor(Float64Array.from(values), { shape, dtype: 'bool' });
}
