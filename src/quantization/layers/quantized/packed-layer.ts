import { Module, type StateLoader } from '../../../nn/module.ts';
import type { StateDict } from '../../../tensor/state.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { loadOutputQParams, readWeightAndBias, saveOutputQParams } from '../state.ts';

/**
 * A layer whose quantized weight and float bias are packed for the kernels; `P` is the form they are packed in. State
 * dicts hold `weight`, `bias`, `scale` and `zero_point`. Constructors of subclasses assign the first `packed`.
 */
export abstract class PackedLayer<
  P extends { readonly weight: Tensor; readonly bias: Tensor | null },
> extends Module {
  declare packed: P;
  /** Output scale and zero point; 1 and 0 in dynamic layers, whose output is float. */
  scale = 1;
  zeroPoint = 0;

  /** Packs a weight and bias for the layer's kernels. */
  abstract pack(weight: Tensor, bias: Tensor | null): P;

  /** The quantized weight, in the float layer's shape. */
  weight(): Tensor {
    return this.packed.weight;
  }

  /** The float32 bias, or null. */
  bias(): Tensor | null {
    return this.packed.bias;
  }

  /** Replaces weight and bias; they are packed for the kernels on first use. */
  setWeightBias(weight: Tensor, bias: Tensor | null): void {
    this.packed = this.pack(weight, bias);
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    into.set(`${prefix}weight`, this.packed.weight);
    into.set(`${prefix}bias`, this.packed.bias);
    saveOutputQParams(this, into, prefix);
  }

  /** A state dict without the bias leaves the layer's own. */
  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    const key = `${prefix}weight`;
    const weight = loader.take(key);
    const bias = loader.take(`${prefix}bias`);
    if (weight !== undefined) {
      const kept = bias === undefined ? this.packed.bias : bias;
      readWeightAndBias(loader, key, weight, kept, this.packed.weight.shape, (w, b) =>
        this.setWeightBias(w, b),
      );
    }
    loadOutputQParams(this, loader, prefix);
  }
}
