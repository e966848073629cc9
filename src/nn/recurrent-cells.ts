import { ShapeError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { zeros } from '../tensor/creation.ts';
import type { PlainDType } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import * as init from './init.ts';
import { Module } from './module.ts';
import { Parameter } from './parameter.ts';

/** Options of the recurrent cells. */
export interface CellOptions {
  /** Learn additive biases; true where not given. */
  readonly bias?: boolean;
}

/** What the cells share: one step on [batch, inputs], or [inputs]. Source: `torch.nn.RNNCellBase`. */
export abstract class RNNCellBase<State, Out = State> extends Module<[Tensor, (State | null)?], Out> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly bias: boolean;

  constructor(inputSize: number, hiddenSize: number, options: CellOptions) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.bias = options.bias ?? true;
  }

  /** [batch, inputs] → [batch, gates · hidden]. */
  abstract inputGates(x: Tensor): Tensor;

  /** [batch, hidden] → [batch, gates · hidden]. */
  abstract hiddenGates(h: Tensor): Tensor;

  /**
   * Runs `step` on a batch: adds the batch dimension where there is none, and zeros where there is no state.
   */
  stepBatch(
    x: Tensor,
    state: readonly Tensor[] | null,
    parts: number,
    step: (x: Tensor, state: readonly Tensor[]) => readonly Tensor[],
  ): readonly Tensor[] {
    if ((x.ndim !== 1 && x.ndim !== 2) || x.size(-1) !== this.inputSize) {
      throw new ShapeError({
        fn: this.typeName,
        argument: 'input',
        expected: `[batch, ${this.inputSize}] or [${this.inputSize}]`,
        got: formatShape(x.shape),
      });
    }
    const batched = x.ndim === 2;
    const rows = batched ? x : dispatch('unsqueeze', x, 0);
    const fresh = zeros([rows.shape[0], this.hiddenSize], { dtype: x.dtype as PlainDType });
    const given = state ?? new Array<Tensor>(parts).fill(fresh);
    const next = step(
      rows,
      given.map((s) => (s.ndim === 1 ? dispatch('unsqueeze', s, 0) : s)),
    );
    return batched ? next : next.map((s) => dispatch('squeeze', s, 0));
  }

  override extraRepr(): string {
    return `${this.inputSize}, ${this.hiddenSize}${this.bias ? '' : ', bias=False'}`;
  }
}

/** A cell with float weights that are learned. */
abstract class FloatCell<State, Out = State> extends RNNCellBase<State, Out> {
  static override readonly stateNames: Readonly<Record<string, string>> = {
    weightIh: 'weight_ih',
    weightHh: 'weight_hh',
    biasIh: 'bias_ih',
    biasHh: 'bias_hh',
  };

  weightIh: Parameter;
  weightHh: Parameter;
  biasIh: Parameter | null;
  biasHh: Parameter | null;

  constructor(inputSize: number, hiddenSize: number, gates: number, options: CellOptions) {
    super(inputSize, hiddenSize, options);
    const rows = gates * hiddenSize;
    this.weightIh = new Parameter(zeros([rows, inputSize]));
    this.weightHh = new Parameter(zeros([rows, hiddenSize]));
    this.biasIh = this.bias ? new Parameter(zeros([rows])) : null;
    this.biasHh = this.bias ? new Parameter(zeros([rows])) : null;
    this.resetParameters();
  }

  /** Draws all weights anew, as PyTorch does: uniform in ±1/√hiddenSize. */
  resetParameters(): void {
    const bound = this.hiddenSize > 0 ? 1 / Math.sqrt(this.hiddenSize) : 0;
    for (const p of this.parameters()) init.uniform_(p, -bound, bound);
  }

  inputGates(x: Tensor): Tensor {
    return dispatch('linear', x, this.weightIh, this.biasIh);
  }

  hiddenGates(h: Tensor): Tensor {
    return dispatch('linear', h, this.weightHh, this.biasHh);
  }
}

/** Options of {@link RNNCell}. */
export interface RNNCellOptions extends CellOptions {
  /** `tanh` where not given. */
  readonly nonlinearity?: 'tanh' | 'relu';
}

/**
 * One step of Elman's network: [batch, inputs] and h [batch, hidden] → h'. Source: `torch.nn.RNNCell`.
 *
 * @example
 * let h: Tensor | null = null;
 * for (const x of xs) h = cell(x, h);
 */
export class RNNCell extends FloatCell<Tensor> {
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(inputSize: number, hiddenSize: number, options: RNNCellOptions = {}) {
    super(inputSize, hiddenSize, 1, options);
    this.nonlinearity = options.nonlinearity ?? 'tanh';
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
 * One step of an LSTM: [batch, inputs] and [h, c] → [h', c']. Source: `torch.nn.LSTMCell`.
 *
 * @example
 * let state: [Tensor, Tensor] | null = null;
 * for (const x of xs) state = cell(x, state);
 */
export class LSTMCell extends FloatCell<readonly [Tensor, Tensor], [Tensor, Tensor]> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, 4, options);
  }

  forward(x: Tensor, state: readonly [Tensor, Tensor] | null = null): [Tensor, Tensor] {
    const [h, c] = this.stepBatch(x, state, 2, (rows, [h0, c0]) =>
      dispatch('lstmPointwise', dispatch('add', this.hiddenGates(h0), this.inputGates(rows), 1), c0),
    );
    return [h, c];
  }
}

/** One step of a GRU: [batch, inputs] and h [batch, hidden] → h'. Source: `torch.nn.GRUCell`. */
export class GRUCell extends FloatCell<Tensor> {
  constructor(inputSize: number, hiddenSize: number, options: CellOptions = {}) {
    super(inputSize, hiddenSize, 3, options);
  }

  forward(x: Tensor, h: Tensor | null = null): Tensor {
    return this.stepBatch(x, h && [h], 1, (rows, [state]) => [
      dispatch('gruPointwise', this.inputGates(rows), this.hiddenGates(state), state),
    ])[0];
  }
}
