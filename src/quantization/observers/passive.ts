import { QuantizationError } from '../../core/errors.ts';
import { dispatch } from '../../ops/dispatch.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type ObservedQParams, ObserverBase, requireSameKind } from './observer.ts';

/** Base of the observers that carry a configuration (or tensors) but never parameters. */
abstract class PassiveObserver extends ObserverBase {
  override forward(x: Tensor): Tensor {
    return x;
  }

  /** Always throws: there is nothing to derive parameters from. */
  override calculateQParams(): ObservedQParams {
    throw new QuantizationError({
      fn: `${this.typeName}.calculateQParams`,
      argument: 'observer',
      expected: 'an observer that measures ranges',
      got: `${this.typeName}, which only carries a configuration`,
      fix: 'Use MinMaxObserver or HistogramObserver where scale and zero point are needed.',
    });
  }

  override hasObserved(): boolean {
    return false;
  }

  override merge(other: ObserverBase): void {
    requireSameKind(this, other);
  }
}

/** Options of {@link PlaceholderObserver}. */
export interface PlaceholderOptions {
  /** Type of the activation or weight; 'float32' where not given. */
  readonly dtype?: DType;
  /** Name of an operator that needs no observation. */
  readonly customOpName?: string;
  /** Type to quantize to call by call; makes the quantization dynamic. */
  readonly computeDtype?: DType;
}

/**
 * Passes its configuration on to `convert` and measures nothing: float16, and the activations of dynamic
 * quantization. Source: `torch.ao.quantization.PlaceholderObserver`.
 */
export class PlaceholderObserver extends PassiveObserver {
  readonly customOp: string;
  readonly computeDtype: DType | null;

  constructor(options: PlaceholderOptions = {}) {
    super(options.dtype ?? 'float32');
    this.customOp = options.customOpName ?? '';
    this.computeDtype = options.computeDtype ?? null;
  }

  override get isDynamic(): boolean {
    return this.computeDtype !== null;
  }
}

/** Options of {@link NoopObserver}. */
export interface NoopOptions {
  /** 'float16' where not given. */
  readonly dtype?: DType;
  /** Name of an operator that needs no observation. */
  readonly customOpName?: string;
}

/** Measures nothing, for quantization to float16. Source: `torch.ao.quantization.NoopObserver`. */
export class NoopObserver extends PassiveObserver {
  readonly customOp: string;

  constructor(options: NoopOptions = {}) {
    super(options.dtype ?? 'float16');
    this.customOp = options.customOpName ?? '';
  }
}

/**
 * Says that an output shares the observer of its input, as for reshape and max pooling.
 * Source: `torch.ao.quantization.ReuseInputObserver`.
 */
export class ReuseInputObserver extends PassiveObserver {
  constructor(_options: Readonly<Record<string, never>> = {}) {
    super('quint8');
  }
}

/**
 * Leaves a side of a `QConfig` in float: what `torch.nn.Identity` does in PyTorch's weight-only and activation-only
 * configurations, and printed like it.
 */
export class IdentityObserver extends PassiveObserver {
  constructor(_options: Readonly<Record<string, never>> = {}) {
    super('float32');
  }

  override get typeName(): string {
    return 'Identity';
  }
}

/** Options of {@link RecordingObserver}. */
export interface RecordingOptions {
  /** 'quint8' where not given. */
  readonly dtype?: DType;
}

/**
 * Keeps a copy of every tensor it sees, for debugging; memory grows with each.
 * Source: `torch.ao.quantization.RecordingObserver`.
 */
export class RecordingObserver extends PassiveObserver {
  tensorVal: Tensor[] = [];

  constructor(options: RecordingOptions = {}) {
    super(options.dtype ?? 'quint8');
  }

  override forward(x: Tensor): Tensor {
    this.tensorVal.push(noGrad(() => dispatch('clone', x)));
    return x;
  }

  /** The copies, oldest first. Source: `get_tensor_value`. */
  getTensorValue(): Tensor[] {
    return this.tensorVal;
  }

  override merge(other: ObserverBase): void {
    this.tensorVal.push(...requireSameKind<RecordingObserver>(this, other).tensorVal);
  }
}
