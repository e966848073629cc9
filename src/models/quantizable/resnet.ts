import { type Module, ReLU } from '../../nn/index.ts';
import { DeQuantStub, FloatFunctional, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ClassifierOptions } from '../options.ts';
import { BasicBlock, Bottleneck, ResNet } from '../resnet.ts';
import { fuseChildren, type QuantizableModel } from './fusable.ts';

/** Source: `torchvision.models.quantization.resnet.QuantizableBasicBlock`. */
export class QuantizableBasicBlock extends BasicBlock {
  add_relu: FloatFunctional = new FloatFunctional();

  override forward(x: Tensor): Tensor {
    const out = this.bn2(this.conv2(this.relu(this.bn1(this.conv1(x)))));
    const identity = this.downsample ? this.downsample(x) : x;
    return this.add_relu.addRelu(out, identity);
  }

  /** Fuses the block's convolutions in place. */
  fuseModel(): this {
    fuseChildren(this, [
      ['conv1', 'bn1', 'relu'],
      ['conv2', 'bn2'],
    ]);
    if (this.downsample) fuseChildren(this.downsample, [['0', '1']]);
    return this;
  }
}

/** Source: `torchvision.models.quantization.resnet.QuantizableBottleneck`. */
export class QuantizableBottleneck extends Bottleneck {
  skip_add_relu: FloatFunctional = new FloatFunctional();
  relu1: Module = new ReLU();
  relu2: Module = new ReLU();

  override forward(x: Tensor): Tensor {
    const narrow = this.relu1(this.bn1(this.conv1(x)));
    const wide = this.bn3(this.conv3(this.relu2(this.bn2(this.conv2(narrow)))));
    const identity = this.downsample ? this.downsample(x) : x;
    return this.skip_add_relu.addRelu(wide, identity);
  }

  /** Fuses the block's convolutions in place. */
  fuseModel(): this {
    fuseChildren(this, [
      ['conv1', 'bn1', 'relu1'],
      ['conv2', 'bn2', 'relu2'],
      ['conv3', 'bn3'],
    ]);
    if (this.downsample) fuseChildren(this.downsample, [['0', '1']]);
    return this;
  }
}

/** {@link ResNet} between stubs. Source: `torchvision.models.quantization.resnet.QuantizableResNet`. */
export class QuantizableResNet extends ResNet implements QuantizableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    fuseChildren(this, [['conv1', 'bn1', 'relu']]);
    for (const m of this.modules()) {
      if (m instanceof QuantizableBasicBlock || m instanceof QuantizableBottleneck) m.fuseModel();
    }
    return this;
  }
}

/**
 * ResNet-18 for eager-mode quantization; same checkpoint keys as `resnet18`.
 *
 * @example
 * const model = quantizableResnet18().eval().fuseModel();
 */
export function quantizableResnet18(options: ClassifierOptions = {}): QuantizableResNet {
  return new QuantizableResNet(QuantizableBasicBlock, [2, 2, 2, 2], options);
}

/** ResNet-34 for eager-mode quantization. */
export function quantizableResnet34(options: ClassifierOptions = {}): QuantizableResNet {
  return new QuantizableResNet(QuantizableBasicBlock, [3, 4, 6, 3], options);
}

/** ResNet-50 for eager-mode quantization. */
export function quantizableResnet50(options: ClassifierOptions = {}): QuantizableResNet {
  return new QuantizableResNet(QuantizableBottleneck, [3, 4, 6, 3], options);
}
