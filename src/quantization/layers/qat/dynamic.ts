/** `nn.qat.dynamic`: layers trained for dynamic quantization. */
import { QuantizationError } from '../../../core/errors.ts';
import { Linear as FloatLinear } from '../../../nn/index.ts';
import type { AnyModule } from '../../../nn/module.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { beforeRounding, evaluateInFloats, isRounding } from '../../fake-quantize/integer-evaluation.ts';
import { activationIsMemoryless } from '../../qconfig.ts';
import { Linear as DynamicLinear } from '../dynamic/linear.ts';
import { adopt, type QatLinearOptions, Linear as StaticLinear } from './linear.ts';

/**
 * Linear layer trained for dynamic quantization: its input is fake-quantized by its own range call by call, its weight as
 * in `nn.qat.Linear`. Source: `torch.ao.nn.qat.dynamic.Linear`.
 *
 * @throws {@link QuantizationError} where the qconfig's activation remembers earlier calls.
 * @example
 * model.fc.qconfig = defaultDynamicQatQConfig;
 * const prepared = prepareQat(model); // model.fc is now a qat.dynamic.Linear
 */
export class Linear extends StaticLinear {
  constructor(inFeatures: number, outFeatures: number, options: QatLinearOptions) {
    super(inFeatures, outFeatures, options);
    if (activationIsMemoryless(options.qconfig)) return;
    throw new QuantizationError({
      fn: 'qat.dynamic.Linear',
      argument: 'qconfig.activation',
      expected: 'a moving average with averagingConstant 1, which forgets earlier calls',
      got: options.qconfig.activation().typeName,
      fix: 'Use defaultDynamicQatQConfig.',
    });
  }

  /** In evaluation mode, where input and weight are rounded, what the dynamic layer computes. */
  override forward(x: Tensor): Tensor {
    const y = super.forward(x);
    const given = beforeRounding(x);
    if (!this.training && given && isRounding(this.weightFakeQuant))
      evaluateInFloats(y, () => DynamicLinear.fromFloat(this).forward(given));
    return y;
  }

  /** Trains on with the parameters of a float module that has a qconfig. */
  static override fromFloat(module: AnyModule): Linear {
    return adopt(Linear, FloatLinear, module);
  }
}
