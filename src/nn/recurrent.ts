import { ArgumentError, ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { dropout } from '../ops/functions/layer/dropout.ts';
import { zeros } from '../tensor/creation.ts';
import type { PlainDType } from '../tensor/dtype.ts';
import { pythonFloat } from '../tensor/format.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module } from './module.ts';
import { PackedSequence } from './packed-sequence.ts';
import { Parameter } from './parameter.ts';
import { pythonBool } from './python-repr.ts';
import { type RecurrentCell, walkLayers } from './recurrent-walk.ts';

/** Options of the recurrent layers. */
export interface RecurrentOptions {
  /** Layers stacked on one another; 1 where not given. */
  readonly numLayers?: number;
  /** Learn additive biases; true where not given. */
  readonly bias?: boolean;
  /** Inputs and outputs are [batch, time, features] rather than [time, batch, features]; states are not affected. */
  readonly batchFirst?: boolean;
  /** Probability of dropping elements between layers while training; 0 where not given. */
  readonly dropout?: number;
  /** Run a second set of layers from the end to the beginning, and join the two outputs. */
  readonly bidirectional?: boolean;
}

/** The weights of one layer in one direction. */
export interface RecurrentWeights {
  /** [gates · hidden, inputs] */
  readonly weightIh: Tensor;
  /** [gates · hidden, hidden] */
  readonly weightHh: Tensor;
  readonly biasIh: Tensor | null;
  readonly biasHh: Tensor | null;
}

/** A padded batch or a packed one. */
export type RecurrentInput = Tensor | PackedSequence;

/**
 * What {@link RNN}, {@link LSTM} and {@link GRU} share. Parameters are fields under PyTorch's names: `weight_ih_l0`,
 * `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, `weight_ih_l0_reverse`, …. Source: `torch.nn.RNNBase`.
 */
export abstract class RNNBase<State> extends Module<
  [RecurrentInput, (State | null)?],
  [RecurrentInput, State]
> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  dropout: number;
  readonly bidirectional: boolean;

  /** @param gates How many rows per hidden unit the weights have. */
  constructor(inputSize: number, hiddenSize: number, gates: number, options: RecurrentOptions) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = options.numLayers ?? 1;
    this.bias = options.bias ?? true;
    this.batchFirst = options.batchFirst ?? false;
    this.dropout = options.dropout ?? 0;
    this.bidirectional = options.bidirectional ?? false;
    if (!(this.dropout >= 0 && this.dropout <= 1)) {
      throw new ArgumentError({
        fn: new.target.name,
        argument: 'dropout',
        expected: 'a probability from 0 to 1',
        got: String(this.dropout),
      });
    }
    this.makeWeights(gates * hiddenSize);
    this.resetParameters();
  }

  /** 2 where bidirectional, else 1. */
  get numDirections(): number {
    return this.bidirectional ? 2 : 1;
  }

  /** Adds the weights of every layer and direction as fields. Quantized forms, which keep theirs packed, override it. */
  makeWeights(rows: number): void {
    for (let layer = 0; layer < this.numLayers; layer++) {
      const inputs = layer === 0 ? this.inputSize : this.hiddenSize * this.numDirections;
      for (let direction = 0; direction < this.numDirections; direction++) {
        const suffix = weightSuffix(layer, direction);
        const fields: Record<string, Parameter> = {
          [`weight_ih${suffix}`]: new Parameter(zeros([rows, inputs])),
          [`weight_hh${suffix}`]: new Parameter(zeros([rows, this.hiddenSize])),
        };
        if (this.bias) {
          fields[`bias_ih${suffix}`] = new Parameter(zeros([rows]));
          fields[`bias_hh${suffix}`] = new Parameter(zeros([rows]));
        }
        Object.assign(this, fields);
      }
    }
  }

  /** Draws all weights anew, as PyTorch does: uniform in ±1/√hiddenSize. */
  resetParameters(): void {
    const bound = this.hiddenSize > 0 ? 1 / Math.sqrt(this.hiddenSize) : 0;
    for (const p of this.parameters()) init.uniform_(p, -bound, bound);
  }

  /** The weights of a layer (from 0) in a direction (0 forward, 1 backward). */
  weights(layer: number, direction = 0): RecurrentWeights {
    const suffix = weightSuffix(layer, direction);
    const fields = this as unknown as Record<string, Tensor | undefined>;
    const field = (name: string): Tensor | null => fields[name + suffix] ?? null;
    return {
      weightIh: field('weight_ih') as Tensor,
      weightHh: field('weight_hh') as Tensor,
      biasIh: field('bias_ih'),
      biasHh: field('bias_hh'),
    };
  }

  /** The arithmetic of a layer in a direction. */
  abstract cell(layer: number, direction: number): RecurrentCell;

  /** The parts of a state, each [layers · directions, batch, hidden]. */
  abstract stateParts(state: State): readonly Tensor[];

  /** The state made of parts. */
  abstract stateOf(parts: readonly Tensor[]): State;

  /** How many parts a state has. */
  abstract stateSize(): number;

  forward(x: RecurrentInput, state: State | null = null): [RecurrentInput, State] {
    if (x instanceof PackedSequence) {
      const { data, batchSizes, sortedIndices, unsortedIndices } = x;
      const given = state && reorder(this.stateParts(state), sortedIndices);
      const { output, parts } = this.run(data, batchSizes, given);
      const packed = new PackedSequence(output, batchSizes, sortedIndices);
      return [packed, this.stateOf(reorder(parts, unsortedIndices))];
    }
    if ((x.ndim !== 2 && x.ndim !== 3) || x.size(-1) !== this.inputSize) {
      throw new ShapeError({
        fn: this.typeName,
        argument: 'input',
        expected: `[${this.batchFirst ? 'batch, time' : 'time, batch'}, ${this.inputSize}], or [time, ${this.inputSize}]`,
        got: formatShape(x.shape),
      });
    }
    return x.ndim === 2 ? this.forwardUnbatched(x, state) : this.forwardBatch(x, state);
  }

  forwardUnbatched(x: Tensor, state: State | null): [Tensor, State] {
    const batchDim = this.batchFirst ? 0 : 1;
    const given = state && this.stateOf(this.stateParts(state).map((s) => dispatch('unsqueeze', s, 1)));
    const [output, next] = this.forwardBatch(dispatch('unsqueeze', x, batchDim), given);
    const parts = this.stateParts(next).map((s) => dispatch('squeeze', s, 1));
    return [dispatch('squeeze', output, batchDim), this.stateOf(parts)];
  }

  forwardBatch(x: Tensor, state: State | null): [Tensor, State] {
    const steps = this.batchFirst ? dispatch('transpose', x, 0, 1) : x;
    const [time, batch] = steps.shape;
    const rows = dispatch('reshape', steps, [time * batch, this.inputSize]);
    const { output, parts } = this.run(
      rows,
      new Array<number>(time).fill(batch),
      state && this.stateParts(state),
    );
    const out = dispatch('reshape', output, [time, batch, output.shape[1]]);
    return [this.batchFirst ? dispatch('transpose', out, 0, 1) : out, this.stateOf(parts)];
  }

  /** Runs all layers over packed rows. */
  run(
    data: Tensor,
    batchSizes: readonly number[],
    given: readonly Tensor[] | null,
  ): { readonly output: Tensor; readonly parts: readonly Tensor[] } {
    const { numLayers, numDirections, hiddenSize } = this;
    if (batchSizes.length === 0) {
      throw new ShapeError({
        fn: this.typeName,
        argument: 'input',
        expected: 'at least one time step',
        got: 'none',
      });
    }
    const walks = numLayers * numDirections;
    const shape = [walks, batchSizes[0], hiddenSize];
    for (const part of given ?? []) {
      if (part.shape.join() === shape.join()) continue;
      throw new ShapeError({
        fn: this.typeName,
        argument: 'state',
        expected: formatShape(shape),
        got: formatShape(part.shape),
      });
    }
    const start = zeros([batchSizes[0], hiddenSize], { dtype: data.dtype as PlainDType });
    const initial = Array.from({ length: walks }, (_, i) =>
      given
        ? given.map((part) => dispatch('select', part, 0, i))
        : new Array<Tensor>(this.stateSize()).fill(start),
    );
    const layers = Array.from({ length: numLayers }, (_, layer) =>
      Array.from({ length: numDirections }, (__, direction) => this.cell(layer, direction)),
    );
    const { output, finals } = walkLayers(data, batchSizes, layers, initial, (between) =>
      dropout(between, this.dropout, this.training),
    );
    const parts = finals[0].map((_, i) =>
      dispatch(
        'stack',
        finals.map((f) => f[i]),
        0,
      ),
    );
    return { output, parts };
  }

  override extraRepr(): string {
    const parts = [`${this.inputSize}, ${this.hiddenSize}`];
    if (this.numLayers !== 1) parts.push(`num_layers=${this.numLayers}`);
    if (!this.bias) parts.push('bias=False');
    if (this.batchFirst) parts.push(`batch_first=${pythonBool(this.batchFirst)}`);
    if (this.dropout !== 0) parts.push(`dropout=${pythonFloat(this.dropout)}`);
    if (this.bidirectional) parts.push(`bidirectional=${pythonBool(this.bidirectional)}`);
    return parts.join(', ');
  }
}

/** Options of {@link RNN}. */
export interface RNNOptions extends RecurrentOptions {
  /** `tanh` where not given. */
  readonly nonlinearity?: 'tanh' | 'relu';
}

/** The call of {@link RNN}: a tensor gives a tensor, a packed sequence a packed sequence. */
export interface RNN {
  (x: Tensor, state?: Tensor | null): [Tensor, Tensor];
  (x: PackedSequence, state?: Tensor | null): [PackedSequence, Tensor];
}

/**
 * Elman's network: h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh), or with ReLU. [time, batch, inputs] and a state
 * [layers · directions, batch, hidden] → [time, batch, directions · hidden] and the last state.
 * Source: `torch.nn.RNN`.
 *
 * @example
 * const [out, h] = new RNN(10, 20, { numLayers: 2 })(randn([5, 3, 10])); // [5, 3, 20] and [2, 3, 20]
 */
export class RNN extends RNNBase<Tensor> {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(inputSize: number, hiddenSize: number, options: RNNOptions = {}) {
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = options.nonlinearity ?? 'tanh';
  }

  cell(layer: number, direction: number): RecurrentCell {
    const { weightIh, weightHh, biasIh, biasHh } = this.weights(layer, direction);
    return {
      project: (x) => dispatch('linear', x, weightIh, biasIh),
      step: (gates, [h]) => [
        dispatch(this.nonlinearity, dispatch('add', dispatch('linear', h, weightHh, biasHh), gates, 1)),
      ],
    };
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
 * Long short-term memory. [time, batch, inputs] and a state [h, c], each [layers · directions, batch, hidden] →
 * [time, batch, directions · hidden] and the last state. Gate rows of the weights are i, f, g, o.
 * Source: `torch.nn.LSTM`; Hochreiter and Schmidhuber (1997).
 *
 * @example
 * const [out, [h, c]] = new LSTM(10, 20, { batchFirst: true })(randn([3, 5, 10])); // [3, 5, 20], [1, 3, 20] twice
 */
export class LSTM extends RNNBase<readonly [Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 4, options);
  }

  cell(layer: number, direction: number): RecurrentCell {
    const { weightIh, weightHh, biasIh, biasHh } = this.weights(layer, direction);
    return {
      project: (x) => dispatch('linear', x, weightIh, biasIh),
      step: (gates, [h, c]) =>
        dispatch('lstmPointwise', dispatch('add', dispatch('linear', h, weightHh, biasHh), gates, 1), c),
    };
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
 * Gated recurrent units. [time, batch, inputs] and a state [layers · directions, batch, hidden] →
 * [time, batch, directions · hidden] and the last state. Gate rows of the weights are r, z, n.
 * Source: `torch.nn.GRU`; Cho et al. (2014).
 *
 * @example
 * const [out, h] = new GRU(10, 20, { bidirectional: true })(randn([5, 3, 10])); // [5, 3, 40] and [2, 3, 20]
 */
export class GRU extends RNNBase<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 3, options);
  }

  cell(layer: number, direction: number): RecurrentCell {
    const { weightIh, weightHh, biasIh, biasHh } = this.weights(layer, direction);
    return {
      project: (x) => dispatch('linear', x, weightIh, biasIh),
      step: (gates, [h]) => [dispatch('gruPointwise', gates, dispatch('linear', h, weightHh, biasHh), h)],
    };
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

function weightSuffix(layer: number, direction: number): string {
  return `_l${layer}${direction === 1 ? '_reverse' : ''}`;
}

function reorder(parts: readonly Tensor[], order: Tensor | null): readonly Tensor[] {
  return order ? parts.map((part) => dispatch('indexSelect', part, 1, order)) : parts;
}
