import { type Module, ReLU } from '../../nn/index.ts';
import { type ChannelPair, DeQuantStub, FloatFunctional, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { CifarBasicBlock, CifarResNet } from '../cifar-resnet.ts';
import type { ClassifierOptions } from '../options.ts';
import { fuseChildren, type RescuableModel, type RescuePlan } from './fusable.ts';

/** {@link CifarBasicBlock} whose rectifiers and addition are modules. */
export class QuantizableCifarBasicBlock extends CifarBasicBlock {
  relu: Module = new ReLU();
  add_relu: FloatFunctional = new FloatFunctional();

  override forward(x: Tensor): Tensor {
    const out = this.bn2(this.conv2(this.relu(this.bn1(this.conv1(x)))));
    return this.add_relu.addRelu(out, this.shortcut(x));
  }

  /** Fuses the block's convolutions in place. */
  fuseModel(): this {
    fuseChildren(this, [
      ['conv1', 'bn1', 'relu'],
      ['conv2', 'bn2'],
    ]);
    return this;
  }
}

/** {@link CifarResNet} between stubs, made of {@link QuantizableCifarBasicBlock}s. */
export class QuantizableCifarResNet extends CifarResNet implements RescuableModel {
  relu: Module = new ReLU();
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  constructor(blocks: number, options: ClassifierOptions = {}) {
    super(blocks, options, QuantizableCifarBasicBlock);
  }

  override forward(x: Tensor): Tensor {
    return this.dequant(this.head(this.relu(this.bn1(this.conv1(this.quant(x))))));
  }

  fuseModel(): this {
    fuseChildren(this, [['conv1', 'bn1', 'relu']]);
    for (const m of this.modules()) if (m instanceof QuantizableCifarBasicBlock) m.fuseModel();
    return this;
  }

  /** The two convolutions of each block; what leaves a block is shared by the shortcuts. */
  rescuePlan(): RescuePlan {
    const blocks = this.namedModules().filter(([, m]) => m instanceof QuantizableCifarBasicBlock);
    return { pairs: blocks.map(([path]): ChannelPair => [`${path}.conv1`, `${path}.conv2`]) };
  }
}

/**
 * ResNet-20 for eager-mode quantization; same checkpoint keys as `resnet20`.
 *
 * @example
 * const model = quantizableResnet20().eval().fuseModel();
 */
export function quantizableResnet20(options: ClassifierOptions = {}): QuantizableCifarResNet {
  return new QuantizableCifarResNet(3, options);
}

/** ResNet-32 for eager-mode quantization. */
export function quantizableResnet32(options: ClassifierOptions = {}): QuantizableCifarResNet {
  return new QuantizableCifarResNet(5, options);
}

/** ResNet-44 for eager-mode quantization. */
export function quantizableResnet44(options: ClassifierOptions = {}): QuantizableCifarResNet {
  return new QuantizableCifarResNet(7, options);
}

/** ResNet-56 for eager-mode quantization. */
export function quantizableResnet56(options: ClassifierOptions = {}): QuantizableCifarResNet {
  return new QuantizableCifarResNet(9, options);
}
