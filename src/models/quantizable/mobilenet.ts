import { type Module, ReLU } from '../../nn/index.ts';
import { DeQuantStub, FloatFunctional, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import {
  Conv2dNormActivation,
  InvertedResidual,
  MobileNetV2,
  type MobileNetV2Options,
} from '../mobilenet.ts';
import { fuseChain, type QuantizableModel } from './fusable.ts';

/**
 * {@link InvertedResidual} whose addition is a module. A block without a shortcut has none, since an addition that never
 * runs has no range to observe. Source: `torchvision.models.quantization.mobilenetv2.QuantizableInvertedResidual`.
 */
export class QuantizableInvertedResidual extends InvertedResidual {
  skip_add: FloatFunctional | null = this.useResConnect ? new FloatFunctional() : null;

  override forward(x: Tensor): Tensor {
    return this.skip_add ? this.skip_add.add(x, this.conv(x)) : this.conv(x);
  }
}

/**
 * {@link MobileNetV2} between stubs. Its rectifiers are not clipped at 6, since quantization clips better: at the range
 * that was observed. Source: `torchvision.models.quantization.mobilenetv2.QuantizableMobileNetV2`.
 */
export class QuantizableMobileNetV2 extends MobileNetV2 implements QuantizableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  constructor(options: MobileNetV2Options = {}) {
    super(options, QuantizableInvertedResidual, () => new ReLU());
  }

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    for (const m of this.modules()) {
      if (m instanceof Conv2dNormActivation) fuseChain(m, [['Conv2d', 'BatchNorm2d', 'ReLU']]);
      if (m instanceof QuantizableInvertedResidual) fuseChain(m.conv, [['Conv2d', 'BatchNorm2d']]);
    }
    return this;
  }
}

/**
 * MobileNetV2 for eager-mode quantization; same checkpoint keys as `mobilenetV2`.
 *
 * @example
 * const model = quantizableMobilenetV2().eval().fuseModel();
 */
export function quantizableMobilenetV2(options: MobileNetV2Options = {}): QuantizableMobileNetV2 {
  return new QuantizableMobileNetV2(options);
}
