import { type AnyModule, Module, ModuleList, Sigmoid } from '../../nn/index.ts';
import { chunk } from '../../ops/index.ts';
import { DeQuantStub, FloatFunctional, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { Demucs, type DemucsOptions } from '../demucs.ts';
import { fuseChain, type QuantizableModel } from './fusable.ts';

/** A gated activation over channels whose product is observed. */
export class QuantizableGLU extends Module {
  sigmoid: Module = new Sigmoid();
  product: FloatFunctional = new FloatFunctional();

  forward(x: Tensor): Tensor {
    const [signal, gate] = chunk(x, 2, 1);
    return this.product.mul(signal, this.sigmoid(gate));
  }
}

/** {@link Demucs} between stubs. Padding and trimming by the length of the recording stay outside of them. */
export class QuantizableDemucs extends Demucs implements QuantizableModel {
  quant: Module = new QuantStub();
  skips: ModuleList;
  dequant: Module = new DeQuantStub();

  constructor(options: DemucsOptions = {}) {
    super(options, () => new QuantizableGLU());
    this.skips = new ModuleList([...this.encoder].map(() => new FloatFunctional()));
  }

  override filter(x: Tensor): Tensor {
    return this.dequant(super.filter(this.quant(x)));
  }

  override join(signal: Tensor, skip: Tensor, level: number): Tensor {
    return ([...this.skips][level] as FloatFunctional).add(signal, skip);
  }

  fuseModel(): this {
    for (const layer of this.encoder as Iterable<AnyModule>) fuseChain(layer, [['Conv1d', 'ReLU']]);
    return this;
  }
}

/**
 * Demucs for eager-mode quantization; same checkpoint keys as `demucs`. Transposed convolutions take one scale for all
 * weights: their qconfig must not be one per channel.
 *
 * @example
 * const model = quantizableDemucs({ hidden: 16, depth: 3 }).eval().fuseModel();
 * model.qconfig = quantization.defaultQConfig;
 */
export function quantizableDemucs(options: DemucsOptions = {}): QuantizableDemucs {
  return new QuantizableDemucs(options);
}
