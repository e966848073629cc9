import { ShapeError } from '../../../core/errors.ts';
import {
  type LSTM as FloatLSTM,
  ModuleList,
  type RecurrentOptions,
  type RecurrentWeights,
} from '../../../nn/index.ts';
import { type AnyModule, Module } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { formatShape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { LSTMCell, type LSTMState, zeroState } from './lstm-cell.ts';

/** One layer in one direction: the cell, step by step. Source: `torch.ao.nn.quantizable.modules.rnn._LSTMSingleLayer`. */
class LSTMSingleLayer extends Module<[Tensor, (LSTMState | null)?], [Tensor, LSTMState]> {
  cell: LSTMCell;

  constructor(cell: LSTMCell) {
    super();
    this.cell = cell;
  }

  override get typeName(): string {
    return '_LSTMSingleLayer';
  }

  forward(x: Tensor, state: LSTMState | null = null): [Tensor, LSTMState] {
    const outputs: Tensor[] = [];
    let at = state;
    for (const step of dispatch('unbind', x, 0)) {
      at = this.cell(step, at);
      outputs.push(at[0]);
    }
    return [dispatch('stack', outputs, 0), at as LSTMState];
  }
}

/** One layer in one or both directions. Source: `torch.ao.nn.quantizable.modules.rnn._LSTMLayer`. */
class LSTMLayer extends Module<[Tensor, LSTMState], [Tensor, LSTMState]> {
  layer_fw: LSTMSingleLayer;

  constructor(cells: readonly LSTMCell[]) {
    super();
    this.layer_fw = new LSTMSingleLayer(cells[0]);
    if (cells.length > 1) this.addModule('layer_bw', new LSTMSingleLayer(cells[1]));
  }

  override get typeName(): string {
    return '_LSTMLayer';
  }

  /** @param state Each [hidden directions, batch, hidden] where there are two, else [batch, hidden]. */
  forward(x: Tensor, state: LSTMState): [Tensor, LSTMState] {
    const backward = (this as unknown as { layer_bw?: LSTMSingleLayer }).layer_bw;
    if (!backward) return this.layer_fw(x, state);
    const [hs, cs] = state.map((s) => dispatch('unbind', s, 0));
    const [forth, [h, c]] = this.layer_fw(x, [hs[0], cs[0]]);
    const [reversed, [hBack, cBack]] = backward(dispatch('flip', x, [0]), [hs[1], cs[1]]);
    const back = dispatch('flip', reversed, [0]);
    return [
      dispatch('cat', [forth, back], forth.ndim - 1),
      [dispatch('stack', [h, hBack], 0), dispatch('stack', [c, cBack], 0)],
    ];
  }
}

/**
 * Long short-term memory for static quantization: computes what the float layer computes, out of parts that are observed
 * one by one. `prepare` puts it in the place of every LSTM with a qconfig, `convert` makes an `nn.quantized.LSTM` of it.
 * [time, batch, inputs] (or batch first) and a state [h, c], each [layers · directions, batch, hidden] →
 * [time, batch, directions · hidden] and the last state. On quantized inputs a given state must be quantized too. There is
 * no dropout, since it is not for training. Source: `torch.ao.nn.quantizable.LSTM`.
 *
 * As in PyTorch, joining puts the backward direction's outputs on the forward direction's grid, and the states of all
 * layers on the first one's: where their ranges differ much, give each direction an LSTM of its own.
 *
 * @throws {@link ShapeError} for inputs that are not [time, batch, inputs]; unbatched and packed ones are not taken.
 * @example
 * const [out, [h, c]] = new nn.quantizable.LSTM(10, 20, { numLayers: 2 })(randn([5, 3, 10]));
 */
export class LSTM extends Module<[Tensor, (LSTMState | null)?], [Tensor, LSTMState]> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly bias: boolean;
  readonly batchFirst: boolean;
  readonly dropout: number;
  readonly bidirectional: boolean;
  layers: ModuleList<LSTMLayer>;

  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = options.numLayers ?? 1;
    this.bias = options.bias ?? true;
    this.batchFirst = options.batchFirst ?? false;
    this.dropout = options.dropout ?? 0;
    this.bidirectional = options.bidirectional ?? false;
    const { numDirections, bias } = this;
    this.layers = layersOf(this.numLayers, numDirections, (layer) => {
      const inputs = layer === 0 ? inputSize : hiddenSize * numDirections;
      return new LSTMCell(inputs, hiddenSize, { bias });
    });
    this.eval();
  }

  override get typeName(): string {
    return 'QuantizableLSTM';
  }

  /** 2 where bidirectional, else 1. */
  get numDirections(): number {
    return this.bidirectional ? 2 : 1;
  }

  /** The observable form of a float LSTM, over the same weights and with its qconfig, in evaluation mode. */
  static fromFloat(module: FloatLSTM): LSTM {
    const { inputSize, hiddenSize, numLayers, bias, batchFirst, dropout, bidirectional } = module;
    const lstm = new LSTM(inputSize, hiddenSize, { numLayers, bias, batchFirst, dropout, bidirectional });
    lstm.layers = layersOf(numLayers, lstm.numDirections, (layer, direction) =>
      LSTMCell.fromParams(module.weights(layer, direction) as RecurrentWeights),
    );
    lstm.qconfig = module.qconfig;
    return lstm.eval();
  }

  forward(input: Tensor, state: LSTMState | null = null): [Tensor, LSTMState] {
    if (!(input instanceof Tensor) || input.ndim !== 3 || input.size(-1) !== this.inputSize) {
      throw new ShapeError({
        fn: this.typeName,
        argument: 'input',
        expected: `[${this.batchFirst ? 'batch, time' : 'time, batch'}, ${this.inputSize}]`,
        got: input instanceof Tensor ? formatShape(input.shape) : 'a packed sequence',
        fix: 'Pad packed sequences, and give single ones a batch of one.',
      });
    }
    let x = this.batchFirst ? dispatch('transpose', input, 0, 1) : input;
    const initial = this.initialStates(x, state);
    const finals: LSTMState[] = [];
    for (const [i, layer] of [...this.layers].entries()) {
      const [output, final] = layer(x, initial[i]);
      x = output;
      finals.push(final);
    }
    const joined = ([0, 1] as const).map((part) => {
      const all = dispatch(
        'stack',
        finals.map((f) => f[part]),
        0,
      );
      return dispatch('reshape', all, [-1, all.shape[all.ndim - 2], all.shape[all.ndim - 1]]);
    });
    return [this.batchFirst ? dispatch('transpose', x, 0, 1) : x, [joined[0], joined[1]]];
  }

  /** The state each layer starts with: [batch, hidden], or [2, batch, hidden] where bidirectional. */
  initialStates(x: Tensor, state: LSTMState | null): LSTMState[] {
    const { numLayers, numDirections, hiddenSize } = this;
    const batch = x.shape[1];
    const perLayer = numDirections === 1 ? [batch, hiddenSize] : [numDirections, batch, hiddenSize];
    if (!state) {
      const nothing = zeroState(perLayer, x);
      return Array.from({ length: numLayers }, () => [nothing, nothing]);
    }
    const expected = [numLayers * numDirections, batch, hiddenSize];
    const [hs, cs] = state.map((part) => {
      if (part.shape.join() === expected.join())
        return dispatch('unbind', dispatch('reshape', part, [numLayers, ...perLayer]), 0);
      throw new ShapeError({
        fn: this.typeName,
        argument: 'state',
        expected: formatShape(expected),
        got: formatShape(part.shape),
      });
    });
    return hs.map((h, i) => [h, cs[i]]);
  }
}

function layersOf(
  layers: number,
  directions: number,
  cell: (layer: number, direction: number) => LSTMCell,
): ModuleList<LSTMLayer> {
  return new ModuleList(
    Array.from(
      { length: layers },
      (_, layer) =>
        new LSTMLayer(Array.from({ length: directions }, (__, direction) => cell(layer, direction))),
    ),
  );
}

/**
 * {@link LSTM} with its parts converted: quantized tensors in and out, output and states on the grid of the last product.
 * Source: `torch.ao.nn.quantized.LSTM`.
 */
export class QuantizedLSTM extends LSTM {
  override get typeName(): string {
    return 'QuantizedLSTM';
  }

  /** Makes an observed LSTM whose parts were converted already a quantized one: the same object under this class. */
  static fromObserved(module: AnyModule): QuantizedLSTM {
    return Object.setPrototypeOf(module, QuantizedLSTM.prototype);
  }
}
