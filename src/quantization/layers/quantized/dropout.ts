import { Dropout as FloatDropout } from '../../../nn/index.ts';
import type { Tensor } from '../../../tensor/tensor.ts';

/** Gives back its input, in training, too. Source: `torch.ao.nn.quantized.Dropout`. */
export class Dropout extends FloatDropout {
  static fromFloat(module: FloatDropout): Dropout {
    return new Dropout(module.p, { inplace: module.inplace });
  }

  override get typeName(): string {
    return 'QuantizedDropout';
  }

  override forward(x: Tensor): Tensor {
    return x;
  }
}
