/** The models that are measured, made in code from fixed seeds, in float and in int8, with one input each. */
import {
  manualSeed,
  models,
  nn,
  noGrad,
  quantization,
  randint,
  randn,
  type Tensor,
} from '../../src/index.ts';

/** The forms a model is measured in. */
export type DType = 'fp32' | 'int8';

/** A model in both forms and what it is fed. */
export interface Subject {
  readonly float: nn.Module<any, any>;
  readonly int8: nn.Module<any, any>;
  readonly input: Tensor;
  /** Which dimension of the input counts samples. */
  readonly batchDim: number;
}

export interface ModelEntry {
  readonly title: string;
  readonly int8: 'static' | 'dynamic';
  readonly make: () => Subject;
}

const BERT_TOKENS = 128;
const WORDS = 35;

/**
 * A classifier of the registry, its batch norms estimated on noise so that activations neither die nor explode, and its
 * statically quantized form: 8-bit activations, per-channel weights.
 */
function classifier(name: models.ModelName): Subject {
  manualSeed(0);
  const shape = models.modelInfo(name).inputShape;
  let float = models.create(name).eval();
  if (float.modules().some((m) => m.typeName === 'BatchNorm2d'))
    float = quantization.reestimateBatchNorm(float, [randn([4, ...shape])]).eval();
  const quantizable = models.create(name, { quantizable: true }).eval() as models.QuantizableModel;
  quantizable.loadStateDict(float.stateDict());
  quantizable.fuseModel();
  quantizable.qconfig = quantization.getDefaultQConfig('wasm');
  const prepared = quantization.prepare(quantizable);
  noGrad(() => prepared(randn([4, ...shape])));
  return { float, int8: quantization.convert(prepared), input: randn([1, ...shape]), batchDim: 0 };
}

function bertBase(): Subject {
  manualSeed(0);
  const float = models.bert({ pooler: false }).eval();
  const int8 = quantization.quantizeDynamic(float, [nn.Linear]);
  return { float, int8, input: randint(0, 30522, [1, BERT_TOKENS]), batchDim: 0 };
}

function languageModel(): Subject {
  manualSeed(0);
  const float = models.wordLanguageModel().eval();
  const int8 = quantization.quantizeDynamic(float, [nn.LSTM, nn.Linear]);
  return { float, int8, input: randint(0, 33278, [WORDS, 1]), batchDim: 1 };
}

/** By the names that `--models` takes. */
export const MODELS: Readonly<Record<string, ModelEntry>> = {
  mobilenetV2: { title: 'MobileNetV2', int8: 'static', make: () => classifier('mobilenetV2') },
  resnet18: { title: 'ResNet-18', int8: 'static', make: () => classifier('resnet18') },
  resnet50: { title: 'ResNet-50', int8: 'static', make: () => classifier('resnet50') },
  squeezenet: { title: 'SqueezeNet 1.1', int8: 'static', make: () => classifier('squeezenet1_1') },
  bert: { title: `BERT base, ${BERT_TOKENS} tokens`, int8: 'dynamic', make: bertBase },
  lstm: { title: `LSTM language model, ${WORDS} words`, int8: 'dynamic', make: languageModel },
  dsCnn: { title: 'DS-CNN', int8: 'static', make: () => classifier('dsCnn') },
};
