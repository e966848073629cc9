import {
  AdaptiveAvgPool2d,
  type AnyModule,
  Conv2d,
  Dropout,
  init,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../nn/index.ts';
import { cat, flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/**
 * A 1×1 convolution to few channels, then 1×1 and 3×3 side by side. Children are named as in torchvision, since their
 * names are paths in state dicts and configurations. Source: `torchvision.models.squeezenet.Fire`.
 */
export class Fire extends Module {
  squeeze: Module;
  squeeze_activation: Module;
  expand1x1: Module;
  expand1x1_activation: Module;
  expand3x3: Module;
  expand3x3_activation: Module;

  constructor(inPlanes: number, squeezePlanes: number, expandPlanes: number) {
    super();
    this.squeeze = new Conv2d(inPlanes, squeezePlanes, 1);
    this.squeeze_activation = new ReLU({ inplace: true });
    this.expand1x1 = new Conv2d(squeezePlanes, expandPlanes, 1);
    this.expand1x1_activation = new ReLU({ inplace: true });
    this.expand3x3 = new Conv2d(squeezePlanes, expandPlanes, 3, { padding: 1 });
    this.expand3x3_activation = new ReLU({ inplace: true });
  }

  forward(x: Tensor): Tensor {
    return cat(this.expand(x), 1);
  }

  /** The two halves that are concatenated. */
  expand(x: Tensor): [Tensor, Tensor] {
    const squeezed = this.squeeze_activation(this.squeeze(x));
    return [
      this.expand1x1_activation(this.expand1x1(squeezed)),
      this.expand3x3_activation(this.expand3x3(squeezed)),
    ];
  }
}

/** A fire class that {@link SqueezeNet} is built from. */
export type FireBlock = new (inPlanes: number, squeezePlanes: number, expandPlanes: number) => AnyModule;

/**
 * SqueezeNet 1.1. Takes [batch, 3, height, width] (224 × 224 usually), gives logits [batch, numClasses].
 * Source: `torchvision.models.squeezenet.SqueezeNet`; Iandola et al., "SqueezeNet" (2016).
 */
export class SqueezeNet extends Module {
  features: Module;
  classifier: Module;

  constructor(options: ClassifierOptions = {}, fire: FireBlock = Fire) {
    super();
    const pool = (): Module => new MaxPool2d(3, { stride: 2, ceilMode: true });
    this.features = new Sequential(
      new Conv2d(3, 64, 3, { stride: 2 }),
      new ReLU({ inplace: true }),
      pool(),
      new fire(64, 16, 64),
      new fire(128, 16, 64),
      pool(),
      new fire(128, 32, 128),
      new fire(256, 32, 128),
      pool(),
      new fire(256, 48, 192),
      new fire(384, 48, 192),
      new fire(384, 64, 256),
      new fire(512, 64, 256),
    );
    const last = new Conv2d(512, options.numClasses ?? 1000, 1);
    this.classifier = new Sequential(
      new Dropout(0.5),
      last,
      new ReLU({ inplace: true }),
      new AdaptiveAvgPool2d([1, 1]),
    );
    for (const m of this.modules()) {
      if (!(m instanceof Conv2d)) continue;
      if (m === last) init.normal_(m.weight, 0, 0.01);
      else init.kaimingUniform_(m.weight);
      if (m.bias) init.zeros_(m.bias);
    }
  }

  forward(x: Tensor): Tensor {
    return flatten(this.classifier(this.features(x)), 1);
  }
}

/**
 * SqueezeNet 1.1: 1,235,496 parameters.
 *
 * @example
 * squeezenet1_1()(rand([1, 3, 224, 224])).shape; // [1, 1000]
 */
export function squeezenet1_1(options: ClassifierOptions = {}): SqueezeNet {
  return new SqueezeNet(options);
}
