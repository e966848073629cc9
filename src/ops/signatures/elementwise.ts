import type { Generator } from '../../core/random.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Operators that compute each element from the elements at the same (broadcast) place. */
export interface ElementwiseOps {
  neg(x: Tensor): Tensor;
  abs(x: Tensor): Tensor;
  exp(x: Tensor): Tensor;
  expm1(x: Tensor): Tensor;
  log(x: Tensor): Tensor;
  log1p(x: Tensor): Tensor;
  sqrt(x: Tensor): Tensor;
  rsqrt(x: Tensor): Tensor;
  square(x: Tensor): Tensor;
  reciprocal(x: Tensor): Tensor;
  sin(x: Tensor): Tensor;
  cos(x: Tensor): Tensor;
  tanh(x: Tensor): Tensor;
  sigmoid(x: Tensor): Tensor;
  erf(x: Tensor): Tensor;
  sign(x: Tensor): Tensor;
  floor(x: Tensor): Tensor;
  ceil(x: Tensor): Tensor;
  round(x: Tensor): Tensor;

  relu(x: Tensor): Tensor;
  relu6(x: Tensor): Tensor;
  hardtanh(x: Tensor, min: number, max: number): Tensor;
  leakyRelu(x: Tensor, negativeSlope: number): Tensor;
  prelu(x: Tensor, weight: Tensor): Tensor;
  elu(x: Tensor, alpha: number): Tensor;
  gelu(x: Tensor, approximate: 'none' | 'tanh'): Tensor;
  silu(x: Tensor): Tensor;
  hardswish(x: Tensor): Tensor;
  hardsigmoid(x: Tensor): Tensor;
  softplus(x: Tensor, beta: number, threshold: number): Tensor;
  clamp(x: Tensor, min: number | null, max: number | null): Tensor;
  dropout(x: Tensor, p: number, generator: Generator): Tensor;

  add(a: Tensor, b: Tensor | number, alpha: number): Tensor;
  sub(a: Tensor, b: Tensor | number, alpha: number): Tensor;
  mul(a: Tensor, b: Tensor | number): Tensor;
  div(a: Tensor, b: Tensor | number): Tensor;
  pow(a: Tensor, b: Tensor | number): Tensor;
  remainder(a: Tensor, b: Tensor | number): Tensor;
  maximum(a: Tensor, b: Tensor): Tensor;
  minimum(a: Tensor, b: Tensor): Tensor;

  eq(a: Tensor, b: Tensor | number): Tensor;
  ne(a: Tensor, b: Tensor | number): Tensor;
  lt(a: Tensor, b: Tensor | number): Tensor;
  le(a: Tensor, b: Tensor | number): Tensor;
  gt(a: Tensor, b: Tensor | number): Tensor;
  ge(a: Tensor, b: Tensor | number): Tensor;
  logicalNot(x: Tensor): Tensor;
  logicalAnd(a: Tensor, b: Tensor): Tensor;
  logicalOr(a: Tensor, b: Tensor): Tensor;
  where(condition: Tensor, a: Tensor, b: Tensor): Tensor;
  maskedFill(x: Tensor, mask: Tensor, value: number): Tensor;

  to(x: Tensor, dtype: DType): Tensor;
  clone(x: Tensor): Tensor;
}
