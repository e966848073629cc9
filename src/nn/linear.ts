import { ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { zeros } from '../tensor/creation.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';
import { pythonBool } from './python-repr.ts';

/** Options of {@link Linear} and {@link Bilinear}. */
export interface LinearOptions {
  /** Learn an additive bias; true where not given. */
  readonly bias?: boolean;
}

/**
 * y = x·Wᵀ + b over the last dimension: [*, inFeatures] → [*, outFeatures]. `weight` is [outFeatures, inFeatures].
 * Source: `torch.nn.Linear`.
 *
 * @example
 * new Linear(784, 10)(rand([32, 784])).shape; // [32, 10]
 */
export class Linear extends Module {
  readonly inFeatures: number;
  readonly outFeatures: number;
  weight: Parameter;
  bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.weight = new Parameter(zeros([outFeatures, inFeatures]));
    this.bias = (options.bias ?? true) ? new Parameter(zeros([outFeatures])) : null;
    this.resetParameters();
  }

  /** Draws weight and bias anew, as PyTorch does: uniform in ±1/√inFeatures. */
  resetParameters(): void {
    init.resetLike(this.weight, this.bias);
  }

  forward(x: Tensor): Tensor {
    return dispatch('linear', x, this.weight, this.bias);
  }

  override extraRepr(): string {
    return `in_features=${this.inFeatures}, out_features=${this.outFeatures}, bias=${pythonBool(this.bias !== null)}`;
  }
}

/**
 * A {@link Linear} that dynamic quantization leaves alone: the output projection of {@link MultiheadAttention}.
 * Source: `torch.nn.modules.linear.NonDynamicallyQuantizableLinear`.
 */
export class NonDynamicallyQuantizableLinear extends Linear {}

/**
 * y = x₁·W·x₂ + b: [*, in1Features] and [*, in2Features] → [*, outFeatures]. `weight` is
 * [outFeatures, in1Features, in2Features]. Source: `torch.nn.Bilinear`.
 *
 * @example
 * new Bilinear(20, 30, 40)(rand([128, 20]), rand([128, 30])).shape; // [128, 40]
 */
export class Bilinear extends Module<[Tensor, Tensor]> {
  readonly in1Features: number;
  readonly in2Features: number;
  readonly outFeatures: number;
  weight: Parameter;
  bias: Parameter | null;

  constructor(in1Features: number, in2Features: number, outFeatures: number, options: LinearOptions = {}) {
    super();
    this.in1Features = in1Features;
    this.in2Features = in2Features;
    this.outFeatures = outFeatures;
    this.weight = new Parameter(zeros([outFeatures, in1Features, in2Features]));
    this.bias = (options.bias ?? true) ? new Parameter(zeros([outFeatures])) : null;
    this.resetParameters();
  }

  /** Draws weight and bias anew, as PyTorch does: uniform in ±1/√in1Features. */
  resetParameters(): void {
    const bound = 1 / Math.sqrt(this.in1Features);
    init.uniform_(this.weight, -bound, bound);
    if (this.bias) init.uniform_(this.bias, -bound, bound);
  }

  forward(x1: Tensor, x2: Tensor): Tensor {
    const { in1Features, in2Features, outFeatures } = this;
    const lead = x1.shape.slice(0, -1);
    if (
      x1.size(-1) !== in1Features ||
      x2.size(-1) !== in2Features ||
      lead.join() !== x2.shape.slice(0, -1).join()
    ) {
      throw new ShapeError({
        fn: 'Bilinear',
        argument: 'inputs',
        expected: `[*, ${in1Features}] and [*, ${in2Features}] with the same leading sizes`,
        got: `${formatShape(x1.shape)} and ${formatShape(x2.shape)}`,
      });
    }
    // x₁·W for every output at once: [N, in1]·[in1, out·in2], then the row product with x₂.
    const a = dispatch('reshape', x1, [-1, in1Features]);
    const b = dispatch('reshape', x2, [-1, 1, in2Features]);
    const w = dispatch('reshape', dispatch('permute', this.weight, [0, 2, 1]), [
      outFeatures * in2Features,
      in1Features,
    ]);
    const left = dispatch('reshape', dispatch('linear', a, w, null), [-1, outFeatures, in2Features]);
    const out = dispatch('reshape', dispatch('sum', dispatch('mul', left, b), -1, false), [
      ...lead,
      outFeatures,
    ]);
    return this.bias ? dispatch('add', out, this.bias, 1) : out;
  }

  override extraRepr(): string {
    const { in1Features, in2Features, outFeatures } = this;
    return `in1_features=${in1Features}, in2_features=${in2Features}, out_features=${outFeatures}, bias=${pythonBool(this.bias !== null)}`;
  }
}

/**
 * Gives back its input: what fused-away layers are replaced by. Source: `torch.nn.Identity`.
 *
 * @example
 * model.fc = new Identity();
 */
export class Identity<T = Tensor> extends Module<[T], T> {
  forward(x: T): T {
    return x;
  }
}
