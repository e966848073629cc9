import { QuantizationError } from '../core/errors.ts';
import { Identity } from '../nn/index.ts';
import { type AnyModule, Module, type StateLoader } from '../nn/module.ts';
import { dispatch } from '../ops/dispatch.ts';
import { pythonFloat } from '../tensor/format.ts';
import type { StateDict } from '../tensor/state.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { evaluateInIntegers, isRounding } from './fake-quantize/integer-evaluation.ts';
import { loadOutputQParams, saveOutputQParams } from './layers/state.ts';
import './module-qconfig.ts';
import { observedQParams } from './observed-qparams.ts';
import { ObserverBase } from './observers/observer.ts';

/**
 * Additions, products and concatenations as a module, so that eager mode has a place to observe their results.
 * One instance per place in the model: each learns its own scale. Source: `torch.ao.nn.quantized.FloatFunctional`.
 *
 * @example
 * class Residual extends Module {
 *   conv = new Conv2d(8, 8, 3, { padding: 1 });
 *   skip = new FloatFunctional();
 *   forward(x: Tensor): Tensor { return this.skip.addRelu(this.conv(x), x); }
 * }
 */
export class FloatFunctional extends Module {
  declare activation_post_process: AnyModule;
  /** True once {@link addScalar} or {@link mulScalar} ran, whose results are not observed. */
  ranScalar = false;

  constructor() {
    super();
    this.activation_post_process = new Identity();
  }

  /** Not a layer: throws, telling to call one of the operations. */
  forward(_x: Tensor): Tensor {
    throw notCallable('FloatFunctional');
  }

  /** a + b, observed. */
  add(a: Tensor, b: Tensor): Tensor {
    return observed(this, dispatch('add', a, b, 1), [a, b], (q, x, y) => q.add(x, y));
  }

  /** a + b for a plain number b; not observed, the quantized result reuses a's scale. */
  addScalar(a: Tensor, b: number): Tensor {
    this.ranScalar = true;
    return dispatch('add', a, b, 1);
  }

  /** a · b, observed. */
  mul(a: Tensor, b: Tensor): Tensor {
    return observed(this, dispatch('mul', a, b), [a, b], (q, x, y) => q.mul(x, y));
  }

  /** a · b for a plain number b; not observed. */
  mulScalar(a: Tensor, b: number): Tensor {
    this.ranScalar = true;
    return dispatch('mul', a, b);
  }

  /** Concatenation along `dim`, observed. */
  cat(tensors: readonly Tensor[], dim = 0): Tensor {
    return observed(this, dispatch('cat', tensors, dim), tensors, (q, ...parts) => q.cat(parts, dim));
  }

  /** relu(a + b), observed after the relu. */
  addRelu(a: Tensor, b: Tensor): Tensor {
    const sum = dispatch('relu', dispatch('add', a, b, 1));
    return observed(this, sum, [a, b], (q, x, y) => q.addRelu(x, y));
  }
}

/** A result, observed; in evaluation mode, where it is rounded, what the quantized operation computes. */
function observed(
  module: FloatFunctional,
  result: Tensor,
  operands: readonly Tensor[],
  compute: (quantized: QFunctional, ...operands: Tensor[]) => Tensor,
): Tensor {
  const rounding = module.activation_post_process;
  const y = rounding(result);
  if (!module.training && isRounding(rounding))
    evaluateInIntegers(rounding, y, operands, (...x) => compute(QFunctional.fromFloat(module), ...x));
  return y;
}

/**
 * {@link FloatFunctional} without an observer of its own: for traced graphs, where observers stand in the graph.
 * Source: `torch.ao.nn.quantized.FXFloatFunctional`.
 */
export class FXFloatFunctional extends Module {
  /** Not a layer: throws, telling to call one of the operations. */
  forward(_x: Tensor): Tensor {
    throw notCallable('FXFloatFunctional');
  }

  /** a + b. */
  add(a: Tensor, b: Tensor): Tensor {
    return dispatch('add', a, b, 1);
  }

  /** a + b for a plain number b. */
  addScalar(a: Tensor, b: number): Tensor {
    return dispatch('add', a, b, 1);
  }

  /** a · b. */
  mul(a: Tensor, b: Tensor): Tensor {
    return dispatch('mul', a, b);
  }

  /** a · b for a plain number b. */
  mulScalar(a: Tensor, b: number): Tensor {
    return dispatch('mul', a, b);
  }

  /** Concatenation along `dim`. */
  cat(tensors: readonly Tensor[], dim = 0): Tensor {
    return dispatch('cat', tensors, dim);
  }

  /** relu(a + b). */
  addRelu(a: Tensor, b: Tensor): Tensor {
    return dispatch('relu', dispatch('add', a, b, 1));
  }
}

/**
 * What a {@link FloatFunctional} becomes at `convert`: the same operations on quantized tensors, with the output scale
 * and zero point that were observed. Source: `torch.ao.nn.quantized.QFunctional`.
 */
export class QFunctional extends Module {
  scale = 1;
  zeroPoint = 0;
  declare activation_post_process: AnyModule;

  constructor() {
    super();
    this.activation_post_process = new Identity();
  }

  /** Takes the observed parameters of a prepared {@link FloatFunctional}. */
  static fromFloat(module: FloatFunctional): QFunctional {
    const q = new QFunctional();
    const observer = module.activation_post_process;
    // Operations with a number derive their output parameters from the input's: nothing had to be observed.
    if (module.ranScalar && observer instanceof ObserverBase && !observer.hasObserved()) return q;
    const { scale, zeroPoint } = observedQParams(observer, 'QFunctional.fromFloat');
    q.scale = scale;
    q.zeroPoint = zeroPoint;
    return q;
  }

  forward(_x: Tensor): Tensor {
    throw notCallable('QFunctional');
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.activation_post_process(dispatch('quantized::add', a, b, this.scale, this.zeroPoint));
  }

  addScalar(a: Tensor, b: number): Tensor {
    return dispatch('quantized::add_scalar', a, b);
  }

  mul(a: Tensor, b: Tensor): Tensor {
    return this.activation_post_process(dispatch('quantized::mul', a, b, this.scale, this.zeroPoint));
  }

  mulScalar(a: Tensor, b: number): Tensor {
    return dispatch('quantized::mul_scalar', a, b);
  }

  cat(tensors: readonly Tensor[], dim = 0): Tensor {
    return this.activation_post_process(dispatch('quantized::cat', tensors, this.scale, this.zeroPoint, dim));
  }

  addRelu(a: Tensor, b: Tensor): Tensor {
    return this.activation_post_process(dispatch('quantized::add_relu', a, b, this.scale, this.zeroPoint));
  }

  override extraRepr(): string {
    return `scale=${pythonFloat(this.scale)}, zero_point=${this.zeroPoint}`;
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    saveOutputQParams(this, into, prefix);
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    loadOutputQParams(this, loader, prefix);
  }
}

function notCallable(fn: string): QuantizationError {
  return new QuantizationError({
    fn,
    argument: 'forward',
    expected: 'one of its operations: add, addRelu, addScalar, mul, mulScalar, cat',
    got: 'a call of the module itself',
    fix: 'Write this.skip.add(a, b) instead of this.skip(a).',
  });
}
