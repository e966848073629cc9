import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { engine } from '../../src/kernels/engine.ts';
import { BatchNorm2d, Conv2d, Linear, Module } from '../../src/nn/index.ts';
import { adaptiveAvgPool2d, add, crossEntropy, flatten, maxPool2d, relu } from '../../src/ops/index.ts';
import { Adam, SGD } from '../../src/optim/index.ts';
import { randn, tensor } from '../../src/tensor/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as (options?: { execution: 'async' }) => Promise<void> | undefined;

/** A residual block between a strided convolution and a linear layer: every kind of kernel that training runs. */
class Net extends Module {
  conv1: Module = new Conv2d(3, 16, 3, { stride: 2, padding: 1 });
  conv2: Module = new Conv2d(16, 16, 3, { padding: 1, bias: false });
  bn: Module = new BatchNorm2d(16);
  depthwise: Module = new Conv2d(16, 16, 3, { padding: 1, groups: 16 });
  linear: Module = new Linear(16, 10);

  forward(x: Tensor): Tensor {
    const first = relu(this.conv1(x));
    const second = add(relu(this.bn(this.conv2(first))), first);
    const features = maxPool2d(this.depthwise(second), 2);
    return this.linear(flatten(adaptiveAvgPool2d(features, 1), 1));
  }
}

/** Bytes that live objects hold, on the heap and in typed arrays. */
async function liveBytes(): Promise<number> {
  // Array buffers are given back by finalizers, after the collection that finds them dead.
  for (let i = 0; i < 3; i++) await collect({ execution: 'async' });
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

describe('training takes no more memory the longer it runs', () => {
  test.each([
    ['SGD', (net: Net) => new SGD(net.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 })],
    ['Adam', (net: Net) => new Adam(net.parameters(), { lr: 0.001 })],
  ])('with %s', async (_, optimizerOf) => {
    const net = new Net();
    const optimizer = optimizerOf(net);
    const x = randn([8, 3, 24, 24]);
    const y = tensor([0, 1, 2, 3, 4, 5, 6, 7], { dtype: 'int64' });
    const losses: number[] = [];
    const train = (steps: number): void => {
      for (let i = 0; i < steps; i++) {
        optimizer.zeroGrad();
        const loss = crossEntropy(net(x) as Tensor, y);
        loss.backward();
        optimizer.step();
        losses.push(loss.item());
      }
    };
    train(60);
    const [kernels, live] = [engine.memory(), await liveBytes()];
    train(300);
    expect(engine.memory()).toEqual(kernels);
    // One 72 KiB activation kept per step would be 21 MiB; what may grow is the compiler's knowledge of the code.
    expect((await liveBytes()) - live).toBeLessThan(2 ** 20);
    expect(losses.at(-1)).toBeLessThan(losses[0] / 2);
  });
});
