import { Linear, Module, ReLU } from '../nn/index.ts';
import { flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/**
 * Three linear layers, 784-256-128-10: the smallest network that reads digits. Takes [batch, 1, 28, 28] or
 * [batch, 784], gives logits [batch, numClasses].
 */
export class MLP extends Module {
  fc1: Module;
  relu1: Module = new ReLU();
  fc2: Module;
  relu2: Module = new ReLU();
  fc3: Module;

  constructor(options: ClassifierOptions = {}) {
    super();
    this.fc1 = new Linear(784, 256);
    this.fc2 = new Linear(256, 128);
    this.fc3 = new Linear(128, options.numClasses ?? 10);
  }

  forward(x: Tensor): Tensor {
    const flat = x.ndim > 2 ? flatten(x, 1) : x;
    return this.fc3(this.relu2(this.fc2(this.relu1(this.fc1(flat)))));
  }
}

/**
 * An {@link MLP} with random weights: 235,146 parameters for ten classes.
 *
 * @example
 * mlp()(rand([32, 1, 28, 28])).shape; // [32, 10]
 */
export function mlp(options: ClassifierOptions = {}): MLP {
  return new MLP(options);
}
