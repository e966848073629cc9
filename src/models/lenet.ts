import { Conv2d, Linear, MaxPool2d, Module, ReLU } from '../nn/index.ts';
import { flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/**
 * LeNet-5 with today's rectifiers and max pools. Takes [batch, 1, 28, 28], gives logits [batch, numClasses].
 * Source: LeCun et al., "Gradient-based learning applied to document recognition" (1998).
 */
export class LeNet extends Module {
  conv1: Module = new Conv2d(1, 6, 5, { padding: 2 });
  relu1: Module = new ReLU();
  pool1: Module = new MaxPool2d(2);
  conv2: Module = new Conv2d(6, 16, 5);
  relu2: Module = new ReLU();
  pool2: Module = new MaxPool2d(2);
  fc1: Module = new Linear(400, 120);
  relu3: Module = new ReLU();
  fc2: Module = new Linear(120, 84);
  relu4: Module = new ReLU();
  fc3: Module;

  constructor(options: ClassifierOptions = {}) {
    super();
    this.fc3 = new Linear(84, options.numClasses ?? 10);
  }

  forward(x: Tensor): Tensor {
    const c1 = this.pool1(this.relu1(this.conv1(x)));
    const c2 = this.pool2(this.relu2(this.conv2(c1)));
    const flat = flatten(c2, 1);
    return this.fc3(this.relu4(this.fc2(this.relu3(this.fc1(flat)))));
  }
}

/**
 * A {@link LeNet} with random weights: 61,706 parameters for ten classes.
 *
 * @example
 * lenet()(rand([32, 1, 28, 28])).shape; // [32, 10]
 */
export function lenet(options: ClassifierOptions = {}): LeNet {
  return new LeNet(options);
}
