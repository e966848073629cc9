import { BatchNorm2d, Conv2d, init, Linear, Module, Sequential } from '../nn/index.ts';
import { adaptiveAvgPool2d, add, at, flatten, pad, relu, slice } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/**
 * The shortcut without weights ("option A"): every second pixel, and zero channels on both sides to reach the new
 * number. Source: He et al., section 4.2.
 */
export class PadShortcut extends Module {
  /** Channels added before, and again after. */
  readonly channels: number;

  constructor(channels: number) {
    super();
    this.channels = channels;
  }

  forward(x: Tensor): Tensor {
    const everySecond = slice(null, null, 2);
    return pad(at(x, '...', everySecond, everySecond), [0, 0, 0, 0, this.channels, this.channels]);
  }

  override extraRepr(): string {
    return `channels=${this.channels}`;
  }
}

/** Two 3×3 convolutions and a shortcut. */
export class CifarBasicBlock extends Module {
  conv1: Module;
  bn1: Module;
  conv2: Module;
  bn2: Module;
  shortcut: Module;

  constructor(inPlanes: number, planes: number, stride: number) {
    super();
    this.conv1 = new Conv2d(inPlanes, planes, 3, { stride, padding: 1, bias: false });
    this.bn1 = new BatchNorm2d(planes);
    this.conv2 = new Conv2d(planes, planes, 3, { padding: 1, bias: false });
    this.bn2 = new BatchNorm2d(planes);
    this.shortcut = stride === 1 ? new Sequential() : new PadShortcut((planes - inPlanes) / 2);
  }

  forward(x: Tensor): Tensor {
    const out = relu(this.bn1(this.conv1(x)));
    return relu(add(this.bn2(this.conv2(out)), this.shortcut(x)));
  }
}

/** A block class that {@link CifarResNet} builds its layers from. */
export type CifarBlock = new (inPlanes: number, planes: number, stride: number) => Module;

/**
 * The thin residual networks for 32×32 images. Takes [batch, 3, 32, 32], gives logits [batch, numClasses].
 * State-dict keys are those of akamaster/pytorch_resnet_cifar10 (without the `module.` of its DataParallel).
 * Source: He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2.
 */
export class CifarResNet extends Module {
  conv1: Module = new Conv2d(3, 16, 3, { padding: 1, bias: false });
  bn1: Module = new BatchNorm2d(16);
  layer1: Module;
  layer2: Module;
  layer3: Module;
  linear: Module;

  /** @param blocks Blocks in each of the three layers: (depth − 2) / 6. */
  constructor(blocks: number, options: ClassifierOptions = {}, block: CifarBlock = CifarBasicBlock) {
    super();
    this.layer1 = makeLayer(block, 16, 16, blocks, 1);
    this.layer2 = makeLayer(block, 16, 32, blocks, 2);
    this.layer3 = makeLayer(block, 32, 64, blocks, 2);
    this.linear = new Linear(64, options.numClasses ?? 10);
    this.apply((m) => {
      if (m instanceof Conv2d || m instanceof Linear) init.kaimingNormal_(m.weight);
    });
  }

  forward(x: Tensor): Tensor {
    return this.head(relu(this.bn1(this.conv1(x))));
  }

  /** Everything behind the first rectifier. */
  head(x: Tensor): Tensor {
    const features = this.layer3(this.layer2(this.layer1(x)));
    return this.linear(flatten(adaptiveAvgPool2d(features, 1), 1));
  }
}

/**
 * ResNet-20: 269,722 parameters, 91.7 % on CIFAR-10 when trained as published.
 *
 * @example
 * resnet20()(rand([1, 3, 32, 32])).shape; // [1, 10]
 */
export function resnet20(options: ClassifierOptions = {}): CifarResNet {
  return new CifarResNet(3, options);
}

/** ResNet-32: 464,154 parameters. */
export function resnet32(options: ClassifierOptions = {}): CifarResNet {
  return new CifarResNet(5, options);
}

/** ResNet-44: 658,586 parameters. */
export function resnet44(options: ClassifierOptions = {}): CifarResNet {
  return new CifarResNet(7, options);
}

/** ResNet-56: 853,018 parameters. */
export function resnet56(options: ClassifierOptions = {}): CifarResNet {
  return new CifarResNet(9, options);
}

function makeLayer(
  block: CifarBlock,
  inPlanes: number,
  planes: number,
  blocks: number,
  stride: number,
): Module {
  return new Sequential(
    ...Array.from(
      { length: blocks },
      (_, i) => new block(i === 0 ? inPlanes : planes, planes, i === 0 ? stride : 1),
    ),
  );
}
