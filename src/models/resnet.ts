import {
  AdaptiveAvgPool2d,
  BatchNorm2d,
  Conv2d,
  init,
  Linear,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../nn/index.ts';
import { add, flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/** Two 3×3 convolutions around a shortcut. Source: `torchvision.models.resnet.BasicBlock`. */
export class BasicBlock extends Module {
  static readonly expansion: number = 1;
  conv1: Module;
  bn1: Module;
  relu: Module = new ReLU({ inplace: true });
  conv2: Module;
  bn2: Module;
  downsample: Module | null;

  constructor(inPlanes: number, planes: number, stride: number, downsample: Module | null) {
    super();
    this.conv1 = new Conv2d(inPlanes, planes, 3, { stride, padding: 1, bias: false });
    this.bn1 = new BatchNorm2d(planes);
    this.conv2 = new Conv2d(planes, planes, 3, { padding: 1, bias: false });
    this.bn2 = new BatchNorm2d(planes);
    this.downsample = downsample;
  }

  forward(x: Tensor): Tensor {
    const out = this.bn2(this.conv2(this.relu(this.bn1(this.conv1(x)))));
    const identity = this.downsample ? this.downsample(x) : x;
    return this.relu(add(out, identity));
  }
}

/**
 * A 3×3 convolution between two 1×1, around a shortcut; the stride sits in the middle.
 * Source: `torchvision.models.resnet.Bottleneck`.
 */
export class Bottleneck extends Module {
  static readonly expansion: number = 4;
  conv1: Module;
  bn1: Module;
  conv2: Module;
  bn2: Module;
  conv3: Module;
  bn3: Module;
  relu: Module = new ReLU({ inplace: true });
  downsample: Module | null;

  constructor(inPlanes: number, planes: number, stride: number, downsample: Module | null) {
    super();
    this.conv1 = new Conv2d(inPlanes, planes, 1, { bias: false });
    this.bn1 = new BatchNorm2d(planes);
    this.conv2 = new Conv2d(planes, planes, 3, { stride, padding: 1, bias: false });
    this.bn2 = new BatchNorm2d(planes);
    this.conv3 = new Conv2d(planes, planes * 4, 1, { bias: false });
    this.bn3 = new BatchNorm2d(planes * 4);
    this.downsample = downsample;
  }

  forward(x: Tensor): Tensor {
    const out = this.relu(this.bn1(this.conv1(x)));
    const wide = this.bn3(this.conv3(this.relu(this.bn2(this.conv2(out)))));
    const identity = this.downsample ? this.downsample(x) : x;
    return this.relu(add(wide, identity));
  }
}

/** A block class that {@link ResNet} builds its layers from. */
export interface ResNetBlock {
  /** Output channels of a block per plane. */
  readonly expansion: number;
  new (inPlanes: number, planes: number, stride: number, downsample: Module | null): Module;
}

/**
 * The residual networks for ImageNet. Takes [batch, 3, height, width] (224 × 224 usually), gives logits
 * [batch, numClasses]. Source: `torchvision.models.resnet.ResNet`; He et al. (2015).
 */
export class ResNet extends Module {
  conv1: Module = new Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false });
  bn1: Module = new BatchNorm2d(64);
  relu: Module = new ReLU({ inplace: true });
  maxpool: Module = new MaxPool2d(3, { stride: 2, padding: 1 });
  layer1: Module;
  layer2: Module;
  layer3: Module;
  layer4: Module;
  avgpool: Module = new AdaptiveAvgPool2d([1, 1]);
  fc: Module;

  /** @param blocks Blocks in each of the four layers. */
  constructor(
    block: ResNetBlock,
    blocks: readonly [number, number, number, number],
    options: ClassifierOptions = {},
  ) {
    super();
    const { expansion } = block;
    this.layer1 = makeLayer(block, 64, 64, blocks[0], 1);
    this.layer2 = makeLayer(block, 64 * expansion, 128, blocks[1], 2);
    this.layer3 = makeLayer(block, 128 * expansion, 256, blocks[2], 2);
    this.layer4 = makeLayer(block, 256 * expansion, 512, blocks[3], 2);
    this.fc = new Linear(512 * expansion, options.numClasses ?? 1000);
    for (const m of this.modules()) {
      if (m instanceof Conv2d) init.kaimingNormal_(m.weight, { mode: 'fan_out', nonlinearity: 'relu' });
    }
  }

  forward(x: Tensor): Tensor {
    const stem = this.maxpool(this.relu(this.bn1(this.conv1(x))));
    const features = this.layer4(this.layer3(this.layer2(this.layer1(stem))));
    return this.fc(flatten(this.avgpool(features), 1));
  }
}

/**
 * ResNet-18: 11,689,512 parameters.
 *
 * @example
 * resnet18()(rand([1, 3, 224, 224])).shape; // [1, 1000]
 */
export function resnet18(options: ClassifierOptions = {}): ResNet {
  return new ResNet(BasicBlock, [2, 2, 2, 2], options);
}

/** ResNet-34: 21,797,672 parameters. */
export function resnet34(options: ClassifierOptions = {}): ResNet {
  return new ResNet(BasicBlock, [3, 4, 6, 3], options);
}

/** ResNet-50: 25,557,032 parameters. */
export function resnet50(options: ClassifierOptions = {}): ResNet {
  return new ResNet(Bottleneck, [3, 4, 6, 3], options);
}

function makeLayer(
  block: ResNetBlock,
  inPlanes: number,
  planes: number,
  blocks: number,
  stride: number,
): Module {
  const outPlanes = planes * block.expansion;
  let downsample: Module | null = null;
  if (stride !== 1 || inPlanes !== outPlanes) {
    downsample = new Sequential(
      new Conv2d(inPlanes, outPlanes, 1, { stride, bias: false }),
      new BatchNorm2d(outPlanes),
    );
  }
  const layer = new Sequential(new block(inPlanes, planes, stride, downsample));
  for (let i = 1; i < blocks; i++) layer.append(new block(outPlanes, planes, 1, null));
  return layer;
}
