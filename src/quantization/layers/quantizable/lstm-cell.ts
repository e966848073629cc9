import { Linear, type RecurrentWeights } from '../../../nn/index.ts';
import { Module } from '../../../nn/module.ts';
import type { Parameter } from '../../../nn/parameter.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { zeros } from '../../../tensor/creation.ts';
import type { QuantizedDType } from '../../../tensor/dtype.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { standAlong } from '../../fake-quantize/integer-evaluation.ts';
import { FloatFunctional } from '../../float-functional.ts';

/** Hidden and cell state. */
export type LSTMState = readonly [h: Tensor, c: Tensor];

/** Zeros as `like` is: float, or quantized with scale 1 and zero point 0. */
export function zeroState(shape: readonly number[], like: Tensor): Tensor {
  const state = zeros(shape);
  const quantized = ({ dtype }: Tensor): Tensor =>
    dispatch('quantizePerTensor', state, 1, 0, dtype as QuantizedDType);
  return like.isQuantized ? quantized(like) : standAlong(state, like, quantized);
}

/**
 * One LSTM step out of parts that can be observed: two linear layers for the gates, and an addition or product per place.
 * The sigmoids and tangents need no observers, since their ranges are known. [batch, inputs] and a state of
 * [batch, hidden] each → the next state. Children are named as in PyTorch, whose state-dict keys they make.
 * Source: `torch.ao.nn.quantizable.LSTMCell`.
 *
 * @example
 * const [h, c] = new nn.quantizable.LSTMCell(10, 20)(randn([3, 10]));
 */
export class LSTMCell extends Module<[Tensor, (LSTMState | null)?], [Tensor, Tensor]> {
  readonly inputSize: number;
  readonly hiddenSize: number;
  igates: Module;
  hgates: Module;
  gates: FloatFunctional;
  fgate_cx: FloatFunctional;
  igate_cgate: FloatFunctional;
  fgate_cx_igate_cgate: FloatFunctional;
  ogate_cy: FloatFunctional;

  constructor(inputSize: number, hiddenSize: number, options: { readonly bias?: boolean } = {}) {
    super();
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.igates = new Linear(inputSize, 4 * hiddenSize, options);
    this.hgates = new Linear(hiddenSize, 4 * hiddenSize, options);
    this.gates = new FloatFunctional();
    this.fgate_cx = new FloatFunctional();
    this.igate_cgate = new FloatFunctional();
    this.fgate_cx_igate_cgate = new FloatFunctional();
    this.ogate_cy = new FloatFunctional();
  }

  override get typeName(): string {
    return 'QuantizableLSTMCell';
  }

  /** A cell over these weights; they are shared, not copied. Source: `from_params`. */
  static fromParams({ weightIh, weightHh, biasIh, biasHh }: RecurrentWeights): LSTMCell {
    const cell = new LSTMCell(weightIh.shape[1], weightHh.shape[1], { bias: biasIh !== null });
    for (const [linear, weight, bias] of [
      [cell.igates, weightIh, biasIh],
      [cell.hgates, weightHh, biasHh],
    ] as [Linear, Parameter, Parameter | null][]) {
      linear.weight = weight;
      linear.bias = bias;
    }
    return cell;
  }

  forward(x: Tensor, state: LSTMState | null = null): [Tensor, Tensor] {
    const shape = [x.shape[0], this.hiddenSize];
    const [h, c] = state ?? [zeroState(shape, x), zeroState(shape, x)];
    const gates = this.gates.add(this.igates(x), this.hgates(h));
    const [i, f, g, o] = dispatch('chunk', gates, 4, 1);
    const [input, forget, output] = [i, f, o].map((gate) => dispatch('sigmoid', gate));
    const kept = this.fgate_cx.mul(forget, c);
    const added = this.igate_cgate.mul(input, dispatch('tanh', g));
    const next = this.fgate_cx_igate_cgate.add(kept, added);
    return [this.ogate_cy.mul(output, dispatch('tanh', next)), next];
  }
}
