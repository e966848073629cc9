import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { charLstm } from './char-lstm.ts';
import { resnet20, resnet32, resnet44, resnet56 } from './cifar-resnet.ts';
import { dsCnn } from './ds-cnn.ts';
import { lenet } from './lenet.ts';
import { mlp } from './mlp.ts';
import { mobilenetV2 } from './mobilenet.ts';
import type { ClassifierOptions } from './options.ts';
import {
  quantizableDsCnn,
  quantizableLenet,
  quantizableMlp,
  quantizableMobilenetV2,
  quantizableResnet18,
  quantizableResnet20,
  quantizableResnet32,
  quantizableResnet34,
  quantizableResnet44,
  quantizableResnet50,
  quantizableResnet56,
  quantizableSqueezenet1_1,
} from './quantizable/index.ts';
import { resnet18, resnet34, resnet50 } from './resnet.ts';
import { squeezenet1_1 } from './squeezenet.ts';

/** What a model wants to be fed, and what it answers. */
export interface ModelInfo {
  /** One input without the batch dimension: [channels, height, width], [1, frames, features] or [time]. */
  readonly inputShape: readonly number[];
  readonly input: 'image' | 'mfcc' | 'characters';
  /** Subtracted from each channel of an image in 0 … 1; empty where inputs come as they are. */
  readonly mean: readonly number[];
  /** What each channel is divided by afterwards. */
  readonly std: readonly number[];
  /** Pixels of the short side before the centre crop; null where images are not resized. */
  readonly resize: number | null;
  readonly numClasses: number;
}

/** Options of {@link create}. */
export interface CreateOptions extends ClassifierOptions {
  /** The form with stubs and observable additions, for eager-mode quantization; false. */
  readonly quantizable?: boolean;
}

interface Entry {
  readonly info: ModelInfo;
  readonly float: (options: ClassifierOptions) => AnyModule;
  readonly quantizable: ((options: ClassifierOptions) => AnyModule) | null;
}

const digits: ModelInfo = {
  inputShape: [1, 28, 28],
  input: 'image',
  mean: [],
  std: [],
  resize: null,
  numClasses: 10,
};
const cifar: ModelInfo = {
  inputShape: [3, 32, 32],
  input: 'image',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  resize: null,
  numClasses: 10,
};
const imagenet: ModelInfo = {
  inputShape: [3, 224, 224],
  input: 'image',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  resize: 256,
  numClasses: 1000,
};
const keywords: ModelInfo = {
  inputShape: [1, 49, 10],
  input: 'mfcc',
  mean: [],
  std: [],
  resize: null,
  numClasses: 12,
};
const characters: ModelInfo = {
  inputShape: [100],
  input: 'characters',
  mean: [],
  std: [],
  resize: null,
  numClasses: 65,
};

/** Name of a model that {@link create} can make. */
export type ModelName =
  | 'mlp'
  | 'lenet'
  | 'resnet20'
  | 'resnet32'
  | 'resnet44'
  | 'resnet56'
  | 'resnet18'
  | 'resnet34'
  | 'resnet50'
  | 'squeezenet1_1'
  | 'mobilenetV2'
  | 'dsCnn'
  | 'charLstm';

const MODELS: Readonly<Record<ModelName, Entry>> = {
  mlp: { info: digits, float: mlp, quantizable: quantizableMlp },
  lenet: { info: digits, float: lenet, quantizable: quantizableLenet },
  resnet20: { info: cifar, float: resnet20, quantizable: quantizableResnet20 },
  resnet32: { info: cifar, float: resnet32, quantizable: quantizableResnet32 },
  resnet44: { info: cifar, float: resnet44, quantizable: quantizableResnet44 },
  resnet56: { info: cifar, float: resnet56, quantizable: quantizableResnet56 },
  resnet18: { info: imagenet, float: resnet18, quantizable: quantizableResnet18 },
  resnet34: { info: imagenet, float: resnet34, quantizable: quantizableResnet34 },
  resnet50: { info: imagenet, float: resnet50, quantizable: quantizableResnet50 },
  squeezenet1_1: { info: imagenet, float: squeezenet1_1, quantizable: quantizableSqueezenet1_1 },
  mobilenetV2: { info: imagenet, float: mobilenetV2, quantizable: quantizableMobilenetV2 },
  dsCnn: { info: keywords, float: dsCnn, quantizable: quantizableDsCnn },
  charLstm: {
    info: characters,
    float: ({ numClasses }) => charLstm({ vocabSize: numClasses }),
    quantizable: null,
  },
};

/** The names of all models. */
export const modelNames: readonly ModelName[] = Object.keys(MODELS) as ModelName[];

/**
 * A model with random weights, by name.
 *
 * @throws {@link ArgumentError} for an unknown name, or a quantizable form that does not exist.
 * @example
 * const model = create('resnet20', { quantizable: true });
 */
export function create(name: string, options: CreateOptions = {}): AnyModule {
  const { quantizable = false, ...rest } = options;
  const entry = entryOf(name, 'create');
  if (!quantizable) return entry.float(rest);
  if (entry.quantizable) return entry.quantizable(rest);
  throw new ArgumentError({
    fn: 'create',
    argument: 'quantizable',
    expected: 'a model with a form for static eager-mode quantization',
    got: name,
    fix: 'Quantize it with quantizeDynamic, which takes the plain form.',
  });
}

/** What the model of that name wants to be fed. */
export function modelInfo(name: string): ModelInfo {
  return entryOf(name, 'modelInfo').info;
}

function entryOf(name: string, fn: string): Entry {
  if (Object.hasOwn(MODELS, name)) return MODELS[name as ModelName];
  throw new ArgumentError({
    fn,
    argument: 'name',
    expected: `one of ${modelNames.join(', ')}`,
    got: JSON.stringify(name),
  });
}
