import type { RecurrentWeights } from '../../../nn/index.ts';
import type { AnyModule, StateLoader } from '../../../nn/module.ts';
import { dispatch } from '../../../ops/dispatch.ts';
import { noGrad } from '../../../ops/grad-mode.ts';
import { zeros } from '../../../tensor/creation.ts';
import type { StateValue } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import {
  type PackedParams,
  packFloatParams,
  packParams,
  readScriptObject,
  scriptObject,
} from './packed-params.ts';

/** The weights of one recurrent layer in one direction, packed: inputs to gates, and hidden state to gates. */
export interface PackedGates {
  readonly ih: PackedParams;
  readonly hh: PackedParams;
}

/** The name TorchScript gives {@link PackedGates} in files. */
const CLASS_NAME = '__torch__.torch.classes.rnn.CellParamsBase';

/** Gates whose weights are all zero, to be replaced: [rows, inputs] and [rows, hidden]. */
export function zeroGates(rows: number, inputs: number, hidden: number, bias: boolean): PackedGates {
  const part = (columns: number): PackedParams => {
    const weight = noGrad(() => dispatch('quantizePerTensor', zeros([rows, columns]), 1, 0, 'qint8'));
    return packParams(weight, bias ? zeros([rows]) : null);
  };
  return { ih: part(inputs), hh: part(hidden) };
}

/** Packs given weights: quantized ones as they are, float ones as float16. */
export function packGates({ weightIh, weightHh, biasIh, biasHh }: RecurrentWeights): PackedGates {
  return { ih: packParams(weightIh, biasIh), hh: packParams(weightHh, biasHh) };
}

/** Packs float weights in the type their module's qconfig asks for. */
export function packFloatGates(module: AnyModule, weights: RecurrentWeights, fn: string): PackedGates {
  return {
    ih: packFloatParams(module, weights.weightIh, weights.biasIh, fn),
    hh: packFloatParams(module, weights.weightHh, weights.biasHh, fn),
  };
}

/** The tensors inside packed gates. */
export function weightsOf({ ih, hh }: PackedGates): RecurrentWeights {
  return { weightIh: ih.weight, weightHh: hh.weight, biasIh: ih.bias, biasHh: hh.bias };
}

/**
 * The state-dict form of packed gates: the TorchScript object PyTorch keeps, biases twice over. The flag says that
 * activations lose a bit on PyTorch's x86 kernels, which need that; ours never do.
 */
export function gatesObject({ ih, hh }: PackedGates): StateValue {
  const parts = [scriptObject(ih), scriptObject(hh)];
  if (!ih.weight.isQuantized) return [CLASS_NAME, ['quantized_fp16', [], [], [], parts]];
  const bias = ({ weight, bias: b }: PackedParams): Tensor => b ?? zeros([weight.shape[0]]);
  return [CLASS_NAME, ['quantized_dynamic', [bias(ih), bias(hh)], [], [1], parts]];
}

/** Reads what {@link gatesObject} made, of the same sizes as `like`, and hands it on once everything fits. */
export function readGatesObject(
  loader: StateLoader,
  key: string,
  value: StateValue,
  like: PackedGates,
  assign: (gates: PackedGates) => void,
): void {
  const [name, state] = listOf(value);
  const [kind, , , , parts] = listOf(state);
  if (name !== CLASS_NAME || (kind !== 'quantized_dynamic' && kind !== 'quantized_fp16')) {
    loader.mismatch(`${key} does not hold packed weights of a dynamic recurrent layer`);
    return;
  }
  const [ihState, hhState] = listOf(parts);
  let gates = like;
  readScriptObject(loader, `${key} (input weights)`, ihState, like.ih.weight.shape, (ih) => {
    gates = { ...gates, ih };
  });
  readScriptObject(loader, `${key} (hidden weights)`, hhState, like.hh.weight.shape, (hh) => {
    gates = { ...gates, hh };
    assign(gates);
  });
}

function listOf(value: StateValue | undefined): readonly StateValue[] {
  return Array.isArray(value) ? (value as readonly StateValue[]) : [];
}
