import {
  type AnyModule,
  AvgPool2d,
  BatchNorm2d,
  Conv2d,
  Linear,
  Module,
  ReLU,
  Sequential,
  ZeroPad2d,
} from '../nn/index.ts';
import { flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/**
 * Depthwise-separable network that spots keywords. Takes MFCC features [batch, 1, 49, 10] (49 frames of ten), gives
 * logits [batch, numClasses]. Layers and keys are those of the MLPerf Tiny reference model, whose asymmetric "same"
 * padding and average over 24 of 25 frames it keeps. Source: Zhang et al., "Hello Edge" (2017); Banbury et al., "MLPerf
 * Tiny Benchmark" (2021).
 */
export class DsCnn extends Module {
  features: Module;
  pool: Module = new AvgPool2d([24, 5]);
  fc: Module;

  constructor(options: ClassifierOptions = {}) {
    super();
    const layers: AnyModule[] = [
      new ZeroPad2d([1, 1, 4, 5]),
      ...unit(new Conv2d(1, 64, [10, 4], { stride: 2 })),
    ];
    for (let i = 0; i < 4; i++) {
      layers.push(...unit(new Conv2d(64, 64, 3, { padding: 1, groups: 64 })));
      layers.push(...unit(new Conv2d(64, 64, 1)));
    }
    this.features = new Sequential(...layers);
    this.fc = new Linear(64, options.numClasses ?? 12);
  }

  forward(x: Tensor): Tensor {
    return this.fc(flatten(this.pool(this.features(x)), 1));
  }
}

/**
 * A {@link DsCnn} with random weights: 23,756 parameters for twelve classes.
 *
 * @example
 * dsCnn()(rand([1, 1, 49, 10])).shape; // [1, 12]
 */
export function dsCnn(options: ClassifierOptions = {}): DsCnn {
  return new DsCnn(options);
}

function unit(conv: Conv2d): AnyModule[] {
  return [conv, new BatchNorm2d(64, { eps: 1e-3 }), new ReLU()];
}
