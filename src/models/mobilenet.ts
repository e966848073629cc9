import {
  type AnyModule,
  BatchNorm2d,
  Conv2d,
  Dropout,
  init,
  Linear,
  Module,
  ReLU6,
  Sequential,
} from '../nn/index.ts';
import { adaptiveAvgPool2d, add, flatten } from '../ops/index.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ClassifierOptions } from './options.ts';

/** Makes the rectifier behind a batch norm. */
export type MakeActivation = () => AnyModule;

/** Convolution, batch norm, rectifier. Source: `torchvision.ops.Conv2dNormActivation`. */
export class Conv2dNormActivation extends Sequential<[Tensor], Tensor> {
  constructor(
    inPlanes: number,
    planes: number,
    kernelSize: number,
    options: { readonly stride?: number; readonly groups?: number; readonly activation: MakeActivation },
  ) {
    const { stride = 1, groups = 1, activation } = options;
    super(
      new Conv2d(inPlanes, planes, kernelSize, {
        stride,
        padding: (kernelSize - 1) / 2,
        groups,
        bias: false,
      }),
      new BatchNorm2d(planes),
      activation(),
    );
  }
}

/** Widen, filter every channel by itself, narrow; around a shortcut where shapes allow. */
export class InvertedResidual extends Module {
  conv: Module;
  readonly useResConnect: boolean;

  constructor(
    inPlanes: number,
    planes: number,
    stride: number,
    expandRatio: number,
    activation: MakeActivation,
  ) {
    super();
    const hidden = Math.round(inPlanes * expandRatio);
    this.useResConnect = stride === 1 && inPlanes === planes;
    const widen = expandRatio === 1 ? [] : [new Conv2dNormActivation(inPlanes, hidden, 1, { activation })];
    this.conv = new Sequential(
      ...widen,
      new Conv2dNormActivation(hidden, hidden, 3, { stride, groups: hidden, activation }),
      new Conv2d(hidden, planes, 1, { bias: false }),
      new BatchNorm2d(planes),
    );
  }

  forward(x: Tensor): Tensor {
    const out = this.conv(x);
    return this.useResConnect ? add(x, out) : out;
  }
}

/** Options of {@link MobileNetV2}. */
export interface MobileNetV2Options extends ClassifierOptions {
  /** Factor on the number of channels; 1. */
  readonly widthMult?: number;
}

/** Expansion, channels, repeats and first stride of each group of blocks. */
const GROUPS: readonly (readonly [number, number, number, number])[] = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

/**
 * MobileNetV2. Takes [batch, 3, height, width] (224 × 224 usually), gives logits [batch, numClasses].
 * Source: `torchvision.models.mobilenetv2.MobileNetV2`; Sandler et al. (2018).
 */
export class MobileNetV2 extends Module {
  features: Module;
  classifier: Module;

  constructor(
    options: MobileNetV2Options = {},
    block: typeof InvertedResidual = InvertedResidual,
    activation: MakeActivation = () => new ReLU6({ inplace: true }),
  ) {
    super();
    const { widthMult = 1, numClasses = 1000 } = options;
    let planes = makeDivisible(32 * widthMult);
    const lastPlanes = makeDivisible(1280 * Math.max(1, widthMult));
    const layers: AnyModule[] = [new Conv2dNormActivation(3, planes, 3, { stride: 2, activation })];
    for (const [expand, channels, repeats, stride] of GROUPS) {
      const width = makeDivisible(channels * widthMult);
      for (let i = 0; i < repeats; i++) {
        layers.push(new block(planes, width, i === 0 ? stride : 1, expand, activation));
        planes = width;
      }
    }
    layers.push(new Conv2dNormActivation(planes, lastPlanes, 1, { activation }));
    this.features = new Sequential(...layers);
    this.classifier = new Sequential(new Dropout(0.2), new Linear(lastPlanes, numClasses));
    for (const m of this.modules()) {
      if (m instanceof Conv2d) init.kaimingNormal_(m.weight, { mode: 'fan_out' });
      else if (m instanceof Linear) {
        init.normal_(m.weight, 0, 0.01);
        if (m.bias) init.zeros_(m.bias);
      }
    }
  }

  forward(x: Tensor): Tensor {
    return this.classifier(flatten(adaptiveAvgPool2d(this.features(x), 1), 1));
  }
}

/**
 * MobileNetV2: 3,504,872 parameters.
 *
 * @example
 * mobilenetV2()(rand([1, 3, 224, 224])).shape; // [1, 1000]
 */
export function mobilenetV2(options: MobileNetV2Options = {}): MobileNetV2 {
  return new MobileNetV2(options);
}

/** The multiple of 8 nearest to `channels`, but not more than a tenth below it. */
function makeDivisible(channels: number): number {
  const rounded = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return rounded < 0.9 * channels ? rounded + 8 : rounded;
}
