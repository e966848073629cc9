import {
  type GRU as FloatGRU,
  type LSTM as FloatLSTM,
  type RNN as FloatRNN,
  type PackedSequence,
  type RecurrentCell,
  type RecurrentOptions,
  type RecurrentWeights,
  RNNBase,
  type RNNOptions,
} from '../../../nn/index.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import {
  gatesObject,
  type PackedGates,
  packFloatGates,
  packGates,
  readGatesObject,
  weightsOf,
  zeroGates,
} from './packed-gates.ts';
import { multiply } from './packed-params.ts';

/**
 * What the dynamic recurrent layers share. The input of each layer is quantized once for all its steps, the hidden
 * state step by step. Source: `torch.ao.nn.quantized.dynamic.RNNBase`.
 */
export abstract class DynamicRNNBase<State> extends RNNBase<State> {
  // Assigned by makeWeights, which the constructor of the base class calls: a field would take it away again.
  declare packed: PackedGates[];

  override makeWeights(rows: number): void {
    const { inputSize, hiddenSize, numDirections } = this;
    this.packed = Array.from({ length: this.numLayers * numDirections }, (_, i) => {
      const inputs = i < numDirections ? inputSize : hiddenSize * numDirections;
      return zeroGates(rows, inputs, hiddenSize, this.bias);
    });
  }

  /** The weights of a layer (from 0) in a direction (0 forward, 1 backward), qint8 or float16. */
  override weights(layer: number, direction = 0): RecurrentWeights {
    return weightsOf(this.packed[layer * this.numDirections + direction]);
  }

  /** Replaces the weights of a layer in a direction: quantized ones, or float ones that become float16. */
  setWeights(layer: number, direction: number, weights: RecurrentWeights): void {
    this.packed[layer * this.numDirections + direction] = packGates(weights);
  }

  /** Takes over the weights of a float layer with a dynamic qconfig. */
  adoptWeights(module: AnyModule): this {
    const float = module as RNNBase<State>;
    this.packed = this.packed.map((_, i) => {
      const weights = float.weights(Math.floor(i / this.numDirections), i % this.numDirections);
      return packFloatGates(module, weights, `${this.typeName}.fromFloat`);
    });
    return this;
  }

  /** The next state, from the inputs' share of the gates, the hidden product and the state. */
  abstract step(gates: Tensor, hidden: (h: Tensor) => Tensor, state: readonly Tensor[]): readonly Tensor[];

  cell(layer: number, direction: number): RecurrentCell {
    const { ih, hh } = this.packed[layer * this.numDirections + direction];
    const hidden = (h: Tensor): Tensor => multiply(h, hh);
    return {
      project: (x) => multiply(x, ih),
      step: (gates, state) => this.step(gates, hidden, state),
    };
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    this.packed.forEach((gates, i) => {
      into.set(`${prefix}_all_weight_values.${i}.param`, gatesObject(gates));
    });
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    this.packed.forEach((like, i) => {
      const key = `${prefix}_all_weight_values.${i}.param`;
      const value = loader.take(key);
      if (value === undefined) return;
      readGatesObject(loader, key, value, like, (gates) => {
        this.packed[i] = gates;
      });
    });
  }
}

/** The call of {@link RNN}: a tensor gives a tensor, a packed sequence a packed sequence. */
export interface RNN {
  (x: Tensor, state?: Tensor | null): [Tensor, Tensor];
  (x: PackedSequence, state?: Tensor | null): [PackedSequence, Tensor];
}

/**
 * Elman's network with int8 (or float16) weights, float tensors in and out; the call is that of `nn.RNN`. PyTorch has
 * the cell only; the arithmetic is that of its `quantized_rnn_tanh_cell_dynamic`.
 */
export class RNN extends DynamicRNNBase<Tensor> {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = options.nonlinearity ?? 'tanh';
  }

  override get typeName(): string {
    return 'DynamicQuantizedRNN';
  }

  /** Packs the weights of a float layer that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): RNN {
    const float = module as FloatRNN;
    return new RNN(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  step(gates: Tensor, hidden: (h: Tensor) => Tensor, [h]: readonly Tensor[]): readonly Tensor[] {
    return [dispatch(this.nonlinearity, dispatch('add', hidden(h), gates, 1))];
  }

  stateParts(state: Tensor): readonly Tensor[] {
    return [state];
  }

  stateOf([h]: readonly Tensor[]): Tensor {
    return h;
  }

  stateSize(): number {
    return 1;
  }
}

/** The call of {@link LSTM}: a tensor gives a tensor, a packed sequence a packed sequence. */
export interface LSTM {
  (x: Tensor, state?: readonly [Tensor, Tensor] | null): [Tensor, [Tensor, Tensor]];
  (x: PackedSequence, state?: readonly [Tensor, Tensor] | null): [PackedSequence, [Tensor, Tensor]];
}

/**
 * Long short-term memory with int8 (or float16) weights, float tensors in and out; shapes and call are those of
 * `nn.LSTM`. Source: `torch.ao.nn.quantized.dynamic.LSTM`.
 *
 * @example
 * const small = quantizeDynamic(model, [nn.LSTM, nn.Linear]);
 * small.loadStateDict(await loadStateDict('dynamic.pt')); // as saved by PyTorch
 */
export class LSTM extends DynamicRNNBase<readonly [Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 4, options);
  }

  override get typeName(): string {
    return 'DynamicQuantizedLSTM';
  }

  /** Packs the weights of a float layer that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): LSTM {
    const float = module as FloatLSTM;
    return new LSTM(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  step(gates: Tensor, hidden: (h: Tensor) => Tensor, [h, c]: readonly Tensor[]): readonly Tensor[] {
    return dispatch('lstmPointwise', dispatch('add', hidden(h), gates, 1), c);
  }

  stateParts(state: readonly [Tensor, Tensor]): readonly Tensor[] {
    return state;
  }

  stateOf([h, c]: readonly Tensor[]): [Tensor, Tensor] {
    return [h, c];
  }

  stateSize(): number {
    return 2;
  }
}

/** The call of {@link GRU}: a tensor gives a tensor, a packed sequence a packed sequence. */
export interface GRU {
  (x: Tensor, state?: Tensor | null): [Tensor, Tensor];
  (x: PackedSequence, state?: Tensor | null): [PackedSequence, Tensor];
}

/**
 * Gated recurrent units with int8 (or float16) weights, float tensors in and out; shapes and call are those of
 * `nn.GRU`. Source: `torch.ao.nn.quantized.dynamic.GRU`.
 */
export class GRU extends DynamicRNNBase<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 3, options);
  }

  override get typeName(): string {
    return 'DynamicQuantizedGRU';
  }

  /** Packs the weights of a float layer that has a dynamic qconfig. */
  static fromFloat(module: AnyModule): GRU {
    const float = module as FloatGRU;
    return new GRU(float.inputSize, float.hiddenSize, float).adoptWeights(float);
  }

  step(gates: Tensor, hidden: (h: Tensor) => Tensor, [h]: readonly Tensor[]): readonly Tensor[] {
    return [dispatch('gruPointwise', gates, hidden(h), h)];
  }

  stateParts(state: Tensor): readonly Tensor[] {
    return [state];
  }

  stateOf([h]: readonly Tensor[]): Tensor {
    return h;
  }

  stateSize(): number {
    return 1;
  }
}
