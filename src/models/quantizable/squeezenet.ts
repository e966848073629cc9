import type { Module } from '../../nn/index.ts';
import { type ChannelPair, DeQuantStub, FloatFunctional, QuantStub } from '../../quantization/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ClassifierOptions } from '../options.ts';
import { Fire, SqueezeNet } from '../squeezenet.ts';
import { fuseChain, fuseChildren, type RescuableModel, type RescuePlan } from './fusable.ts';

/** {@link Fire} whose concatenation is a module. */
export class QuantizableFire extends Fire {
  cat: FloatFunctional = new FloatFunctional();

  override forward(x: Tensor): Tensor {
    return this.cat.cat(this.expand(x), 1);
  }

  /** Fuses the module's convolutions in place. */
  fuseModel(): this {
    fuseChildren(
      this,
      ['squeeze', 'expand1x1', 'expand3x3'].map((name) => [name, `${name}_activation`]),
    );
    return this;
  }
}

/** {@link SqueezeNet} between stubs, made of {@link QuantizableFire}s. */
export class QuantizableSqueezeNet extends SqueezeNet implements RescuableModel {
  quant: Module = new QuantStub();
  dequant: Module = new DeQuantStub();

  constructor(options: ClassifierOptions = {}) {
    super(options, QuantizableFire);
  }

  override forward(x: Tensor): Tensor {
    return this.dequant(super.forward(this.quant(x)));
  }

  fuseModel(): this {
    fuseChain(this.features, [['Conv2d', 'ReLU']]);
    fuseChain(this.classifier, [['Conv2d', 'ReLU']]);
    for (const m of this.modules()) if (m instanceof QuantizableFire) m.fuseModel();
    return this;
  }

  /** Every convolution's channels go to one or two others through rectifiers, pools and concatenations. */
  rescuePlan(): RescuePlan {
    const fires = this.features
      .namedChildren()
      .flatMap(([name, m]) => (m instanceof QuantizableFire ? [`features.${name}`] : []));
    const expand = (fire: string): string[] => [`${fire}.expand1x1`, `${fire}.expand3x3`];
    const inner = fires.flatMap((fire, i): ChannelPair[] => [
      [`${fire}.squeeze`, expand(fire)],
      [expand(fire), i + 1 < fires.length ? `${fires[i + 1]}.squeeze` : 'classifier.1'],
    ]);
    return { pairs: [['features.0', `${fires[0]}.squeeze`], ...inner], floatTail: 'classifier.3' };
  }
}

/**
 * SqueezeNet 1.1 for eager-mode quantization; same checkpoint keys as `squeezenet1_1`.
 *
 * @example
 * const model = quantizableSqueezenet1_1().eval().fuseModel();
 */
export function quantizableSqueezenet1_1(options: ClassifierOptions = {}): QuantizableSqueezeNet {
  return new QuantizableSqueezeNet(options);
}
