import type { Module } from '../../nn/module.ts';
import { DeQuantStub, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { DsCnn } from '../ds-cnn.ts';
import type { ClassifierOptions } from '../options.ts';
import { fuseChain, type QuantizableModel } from './fusable.ts';

/** {@link DsCnn} between stubs. */
export class QuantizableDsCnn extends DsCnn implements QuantizableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    fuseChain(this.features, [['Conv2d', 'BatchNorm2d', 'ReLU']]);
    return this;
  }
}

/** The keyword spotter for eager-mode quantization; same checkpoint keys as `dsCnn`. */
export function quantizableDsCnn(options: ClassifierOptions = {}): QuantizableDsCnn {
  return new QuantizableDsCnn(options);
}
