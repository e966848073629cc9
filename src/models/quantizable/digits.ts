import type { Module } from '../../nn/module.ts';
import { DeQuantStub, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { LeNet } from '../lenet.ts';
import { MLP } from '../mlp.ts';
import type { ClassifierOptions } from '../options.ts';
import { fuseChildren, type QuantizableModel } from './fusable.ts';

/** {@link MLP} between stubs. */
export class QuantizableMLP extends MLP implements QuantizableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    fuseChildren(this, [
      ['fc1', 'relu1'],
      ['fc2', 'relu2'],
    ]);
    return this;
  }
}

/** {@link LeNet} between stubs. */
export class QuantizableLeNet extends LeNet implements QuantizableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    fuseChildren(this, [
      ['conv1', 'relu1'],
      ['conv2', 'relu2'],
      ['fc1', 'relu3'],
      ['fc2', 'relu4'],
    ]);
    return this;
  }
}

/** The multi-layer perceptron for eager-mode quantization; same checkpoint keys as `mlp`. */
export function quantizableMlp(options: ClassifierOptions = {}): QuantizableMLP {
  return new QuantizableMLP(options);
}

/** LeNet for eager-mode quantization; same checkpoint keys as `lenet`. */
export function quantizableLenet(options: ClassifierOptions = {}): QuantizableLeNet {
  return new QuantizableLeNet(options);
}
