import type { DType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import * as ops from '../functions/elementwise.ts';
import { installMethods } from './install.ts';

declare module '../../tensor/tensor.ts' {
  interface Tensor {
    /** See {@link ops.neg}. */
    neg(): Tensor;
    /** See {@link ops.abs}. */
    abs(): Tensor;
    /** See {@link ops.exp}. */
    exp(): Tensor;
    /** See {@link ops.expm1}. */
    expm1(): Tensor;
    /** See {@link ops.log}. */
    log(): Tensor;
    /** See {@link ops.log1p}. */
    log1p(): Tensor;
    /** See {@link ops.sqrt}. */
    sqrt(): Tensor;
    /** See {@link ops.rsqrt}. */
    rsqrt(): Tensor;
    /** See {@link ops.square}. */
    square(): Tensor;
    /** See {@link ops.reciprocal}. */
    reciprocal(): Tensor;
    /** See {@link ops.sin}. */
    sin(): Tensor;
    /** See {@link ops.cos}. */
    cos(): Tensor;
    /** See {@link ops.tanh}. */
    tanh(): Tensor;
    /** See {@link ops.sigmoid}. */
    sigmoid(): Tensor;
    /** See {@link ops.erf}. */
    erf(): Tensor;
    /** See {@link ops.sign}. */
    sign(): Tensor;
    /** See {@link ops.floor}. */
    floor(): Tensor;
    /** See {@link ops.ceil}. */
    ceil(): Tensor;
    /** See {@link ops.round}. */
    round(): Tensor;
    /** See {@link ops.clone}. */
    clone(): Tensor;
    /** See {@link ops.relu}. */
    relu(): Tensor;
    /** See {@link ops.relu6}. */
    relu6(): Tensor;
    /** See {@link ops.silu}. */
    silu(): Tensor;
    /** See {@link ops.hardswish}. */
    hardswish(): Tensor;
    /** See {@link ops.hardsigmoid}. */
    hardsigmoid(): Tensor;
    /** See {@link ops.logicalNot}. */
    logicalNot(): Tensor;
    /** See {@link ops.hardtanh}. */
    hardtanh(min?: number, max?: number): Tensor;
    /** See {@link ops.leakyRelu}. */
    leakyRelu(negativeSlope?: number): Tensor;
    /** See {@link ops.prelu}. */
    prelu(weight: Tensor): Tensor;
    /** See {@link ops.elu}. */
    elu(alpha?: number): Tensor;
    /** See {@link ops.gelu}. */
    gelu(options?: ops.GeluOptions): Tensor;
    /** See {@link ops.softplus}. */
    softplus(options?: ops.SoftplusOptions): Tensor;
    /** See {@link ops.clamp}. */
    clamp(min?: number | null, max?: number | null): Tensor;
    /** See {@link ops.add}. */
    add(other: Tensor | number, options?: ops.AddOptions): Tensor;
    /** See {@link ops.sub}. */
    sub(other: Tensor | number, options?: ops.AddOptions): Tensor;
    /** See {@link ops.mul}. */
    mul(other: Tensor | number, options?: ops.OutOptions): Tensor;
    /** See {@link ops.div}. */
    div(other: Tensor | number, options?: ops.OutOptions): Tensor;
    /** See {@link ops.pow}. */
    pow(exponent: Tensor | number): Tensor;
    /** See {@link ops.remainder}. */
    remainder(divisor: Tensor | number): Tensor;
    /** See {@link ops.maximum}. */
    maximum(other: Tensor): Tensor;
    /** See {@link ops.minimum}. */
    minimum(other: Tensor): Tensor;
    /** See {@link ops.eq}. */
    eq(other: Tensor | number): Tensor;
    /** See {@link ops.ne}. */
    ne(other: Tensor | number): Tensor;
    /** See {@link ops.lt}. */
    lt(other: Tensor | number): Tensor;
    /** See {@link ops.le}. */
    le(other: Tensor | number): Tensor;
    /** See {@link ops.gt}. */
    gt(other: Tensor | number): Tensor;
    /** See {@link ops.ge}. */
    ge(other: Tensor | number): Tensor;
    /** See {@link ops.logicalAnd}. */
    logicalAnd(other: Tensor): Tensor;
    /** See {@link ops.logicalOr}. */
    logicalOr(other: Tensor): Tensor;
    /** See {@link ops.maskedFill}. */
    maskedFill(mask: Tensor, value: number): Tensor;
    /** See {@link ops.to}. */
    to(dtype: DType): Tensor;
    /** These elements where the condition is true, those of `other` elsewhere. See {@link ops.where}. */
    where(condition: Tensor, other: Tensor): Tensor;
    /** See {@link ops.equal}. */
    equal(other: Tensor): boolean;
    /** See {@link ops.allclose}. */
    allclose(other: Tensor, options?: ops.AllcloseOptions): boolean;
    /** Converted to float32. See {@link ops.to}. */
    float(): Tensor;
    /** Converted to float64. See {@link ops.to}. */
    double(): Tensor;
    /** Converted to float16. See {@link ops.to}. */
    half(): Tensor;
    /** Converted to bfloat16. See {@link ops.to}. */
    bfloat16(): Tensor;
    /** Converted to int32. See {@link ops.to}. */
    int(): Tensor;
    /** Converted to int64. See {@link ops.to}. */
    long(): Tensor;
    /** Converted to bool. See {@link ops.to}. */
    bool(): Tensor;
  }
}

installMethods({
  neg(): Tensor {
    return ops.neg(this);
  },
  abs(): Tensor {
    return ops.abs(this);
  },
  exp(): Tensor {
    return ops.exp(this);
  },
  expm1(): Tensor {
    return ops.expm1(this);
  },
  log(): Tensor {
    return ops.log(this);
  },
  log1p(): Tensor {
    return ops.log1p(this);
  },
  sqrt(): Tensor {
    return ops.sqrt(this);
  },
  rsqrt(): Tensor {
    return ops.rsqrt(this);
  },
  square(): Tensor {
    return ops.square(this);
  },
  reciprocal(): Tensor {
    return ops.reciprocal(this);
  },
  sin(): Tensor {
    return ops.sin(this);
  },
  cos(): Tensor {
    return ops.cos(this);
  },
  tanh(): Tensor {
    return ops.tanh(this);
  },
  sigmoid(): Tensor {
    return ops.sigmoid(this);
  },
  erf(): Tensor {
    return ops.erf(this);
  },
  sign(): Tensor {
    return ops.sign(this);
  },
  floor(): Tensor {
    return ops.floor(this);
  },
  ceil(): Tensor {
    return ops.ceil(this);
  },
  round(): Tensor {
    return ops.round(this);
  },
  clone(): Tensor {
    return ops.clone(this);
  },
  relu(): Tensor {
    return ops.relu(this);
  },
  relu6(): Tensor {
    return ops.relu6(this);
  },
  silu(): Tensor {
    return ops.silu(this);
  },
  hardswish(): Tensor {
    return ops.hardswish(this);
  },
  hardsigmoid(): Tensor {
    return ops.hardsigmoid(this);
  },
  logicalNot(): Tensor {
    return ops.logicalNot(this);
  },
  hardtanh(min?: number, max?: number): Tensor {
    return ops.hardtanh(this, min, max);
  },
  leakyRelu(negativeSlope?: number): Tensor {
    return ops.leakyRelu(this, negativeSlope);
  },
  prelu(weight: Tensor): Tensor {
    return ops.prelu(this, weight);
  },
  elu(alpha?: number): Tensor {
    return ops.elu(this, alpha);
  },
  gelu(options?: ops.GeluOptions): Tensor {
    return ops.gelu(this, options);
  },
  softplus(options?: ops.SoftplusOptions): Tensor {
    return ops.softplus(this, options);
  },
  clamp(min?: number | null, max?: number | null): Tensor {
    return ops.clamp(this, min, max);
  },
  add(other: Tensor | number, options?: ops.AddOptions): Tensor {
    return ops.add(this, other, options);
  },
  sub(other: Tensor | number, options?: ops.AddOptions): Tensor {
    return ops.sub(this, other, options);
  },
  mul(other: Tensor | number, options?: ops.OutOptions): Tensor {
    return ops.mul(this, other, options);
  },
  div(other: Tensor | number, options?: ops.OutOptions): Tensor {
    return ops.div(this, other, options);
  },
  pow(exponent: Tensor | number): Tensor {
    return ops.pow(this, exponent);
  },
  remainder(divisor: Tensor | number): Tensor {
    return ops.remainder(this, divisor);
  },
  maximum(other: Tensor): Tensor {
    return ops.maximum(this, other);
  },
  minimum(other: Tensor): Tensor {
    return ops.minimum(this, other);
  },
  eq(other: Tensor | number): Tensor {
    return ops.eq(this, other);
  },
  ne(other: Tensor | number): Tensor {
    return ops.ne(this, other);
  },
  lt(other: Tensor | number): Tensor {
    return ops.lt(this, other);
  },
  le(other: Tensor | number): Tensor {
    return ops.le(this, other);
  },
  gt(other: Tensor | number): Tensor {
    return ops.gt(this, other);
  },
  ge(other: Tensor | number): Tensor {
    return ops.ge(this, other);
  },
  logicalAnd(other: Tensor): Tensor {
    return ops.logicalAnd(this, other);
  },
  logicalOr(other: Tensor): Tensor {
    return ops.logicalOr(this, other);
  },
  maskedFill(mask: Tensor, value: number): Tensor {
    return ops.maskedFill(this, mask, value);
  },
  to(dtype: DType): Tensor {
    return ops.to(this, dtype);
  },
  where(condition: Tensor, other: Tensor): Tensor {
    return ops.where(condition, this, other);
  },
  equal(other: Tensor): boolean {
    return ops.equal(this, other);
  },
  allclose(other: Tensor, options?: ops.AllcloseOptions): boolean {
    return ops.allclose(this, other, options);
  },
  float(): Tensor {
    return ops.to(this, 'float32');
  },
  double(): Tensor {
    return ops.to(this, 'float64');
  },
  half(): Tensor {
    return ops.to(this, 'float16');
  },
  bfloat16(): Tensor {
    return ops.to(this, 'bfloat16');
  },
  int(): Tensor {
    return ops.to(this, 'int32');
  },
  long(): Tensor {
    return ops.to(this, 'int64');
  },
  bool(): Tensor {
    return ops.to(this, 'bool');
  },
});
