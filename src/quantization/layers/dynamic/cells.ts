import {
  type CellOptions,
  type GRUCell as FloatGRUCell,
  type LSTMCell as FloatLSTMCell,
  type RNNCell as FloatRNNCell,
  type RecurrentWeights,
  RNNCellBase,
  type RNNCellOptions,
} from '../../../nn/index.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { type PackedGates, packFloatGates, weightsOf, zeroGates } from './packed-gates.ts';
import { multiply, readScriptObject, scriptObject } from './packed-params.ts';

/** What the dynamic cells share. Source: `torch.ao.nn.quantized.dynamic.RNNCellBase`. */
export abstract class DynamicCell<State, Out = State> extends RNNCellBase<State, Out> {
  packed: PackedGates;

  constructor(inputSize: number, hiddenSize: number, gates: number, options: CellOptions) {
    super(inputSize, hiddenSize, options);
    this.packed = zeroGates(gates * hiddenSize, inputSize, hiddenSize, this.bias);
  }

  /** Takes over the weights of a float cell with a dynamic qconfig. */
  adoptWeights(float: AnyModule & RecurrentWeights): this {
    this.packed = packFloatGates(float, float, `${this.typeName}.fromFloat`);
    return this;
  }

  /** Weights (qint8 or float16) and biases. Source: `get_weight`, `get_bias`. */
  weights(): RecurrentWeights {
    return weightsOf(this.packed);
  }

  inputGates(x: Tensor): Tensor {
    return multiply(x, this.packed.ih);
  }

  hiddenGates(h: Tensor): Tensor {
    return multiply(h, this.packed.hh);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    into.set(`${prefix}_packed_weight_ih`, scriptObject(this.packed.ih));
    into.set(`${prefix}_packed_weight_hh`, scriptObject(this.packed.hh));
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    for (const part of ['ih', 'hh'] as const) {
      const key = `${prefix}_packed_weight_${part}`;
      const value = loader.take(key);
      if (value === undefined) continue;
      readScriptObject(loader, key, value, this.packed[part].weight.shape, (params) => {
        this.packed = { ...this.packed, [part]: params };
      });
    }
  }
}

/**
 * One step of Elman's network with int8 (or float16) weights, float tensors in and out. The call is that of
 * `nn.RNNCell`. Source: `torch.ao.nn.quantized.dynamic.RNNCell`.
 */
export class RNNCell extends DynamicCell<Tensor> {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(inputSize: number, hiddenSize: number, options: RNNCellOptions = {}) {
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = options.nonlinearity ?? 'tanh';
  }

  override get typeName(): string {
    return 'DynamicQuantizedRNNCell';
  }

  /** Packs the weights of a float cell that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): RNNCell {
    const float = module as FloatRNNCell;
    return new RNNCell(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  forward(x: Tensor, h: Tensor | null = null): Tensor {
    return this.stepBatch(x, h && [h], 1, (rows, [state]) => [
      dispatch(this.nonlinearity, dispatch('add', this.hiddenGates(state), this.inputGates(rows), 1)),
    ])[0];
  }

  override extraRepr(): string {
    const nonlinearity = this.nonlinearity === 'tanh' ? '' : `, nonlinearity=${this.nonlinearity}`;
    return super.extraRepr() + nonlinearity;
  }
}

/**
 * One step of an LSTM with int8 (or float16) weights, float tensors in and out. The call is that of `nn.LSTMCell`.
 * Source: `torch.ao.nn.quantized.dynamic.LSTMCell`.
 *
 * @example
 * const cell = quantizeDynamic(new Sequential(new nn.LSTMCell(10, 20)))['0'];
 */
export class LSTMCell extends DynamicCell<readonly [Tensor, Tensor], [Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, 4, options);
  }

  override get typeName(): string {
    return 'DynamicQuantizedLSTMCell';
  }

  /** Packs the weights of a float cell that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): LSTMCell {
    const float = module as FloatLSTMCell;
    return new LSTMCell(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  forward(x: Tensor, state: readonly [Tensor, Tensor] | null = null): [Tensor, Tensor] {
    const [h, c] = this.stepBatch(x, state, 2, (rows, [h0, c0]) =>
      dispatch('lstmPointwise', dispatch('add', this.hiddenGates(h0), this.inputGates(rows), 1), c0),
    );
    return [h, c];
  }
}

/**
 * One step of a GRU with int8 (or float16) weights, float tensors in and out. The call is that of `nn.GRUCell`.
 * Source: `torch.ao.nn.quantized.dynamic.GRUCell`.
 */
export class GRUCell extends DynamicCell<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, 3, options);
  }

  override get typeName(): string {
    return 'DynamicQuantizedGRUCell';
  }

  /** Packs the weights of a float cell that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): GRUCell {
    const float = module as FloatGRUCell;
    return new GRUCell(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  forward(x: Tensor, h: Tensor | null = null): Tensor {
    return this.stepBatch(x, h && [h], 1, (rows, [state]) => [
      dispatch('gruPointwise', this.inputGates(rows), this.hiddenGates(state), state),
    ])[0];
  }
}
