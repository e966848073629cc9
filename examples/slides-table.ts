/**
 * The table of the slides for this runtime: ResNet-50 quantized statically, MobileNetV2 trained through quantization, BERT dynamically;
 * what each takes in float and in int8. The slides have 2x, 4x and 1.6x. Accuracy needs trained weights and their test sets: these
 * weights are random, so closeness to float stands in its place (for the trained one, to what training simulated).
 *
 *   node examples/slides-table.ts          small images, a small BERT: seconds
 *   node examples/slides-table.ts --full   224 × 224, BERT base with 128 tokens: a minute or two, and 2 GB of memory
 */
import {
  backward,
  deepCopy,
  io,
  manualSeed,
  models,
  nn,
  noGrad,
  optim,
  print,
  quantization,
  randint,
  randn,
  suite,
  type Tensor,
} from '../src/index.ts';

const full = process.argv.includes('--full');
const side = full ? 224 : 64;
const rounds = full ? 9 : 2;
manualSeed(0);

interface Row {
  readonly name: string;
  readonly technique: string;
  readonly float: nn.Module;
  readonly int8: nn.Module;
  readonly input: Tensor;
  readonly closeness: string;
}

/** Fused, calibrated on a few images, converted. */
function resnet50(): Row {
  const float = models.quantizableResnet50().eval().fuseModel();
  const images = randn([2, 3, side, side]);
  const int8 = quantization.quantize(float, (m) => m(images));
  const [want, got] = noGrad(() => [float(images), int8(images)]);
  const closeness = `${suite.sqnr(want, got).toFixed(1)} dB to float`;
  return { name: 'ResNet-50', technique: 'static', float, int8, input: images.narrow(0, 0, 1), closeness };
}

/** A few steps with every rounding simulated, then converted. */
function mobilenetV2(): Row {
  const model = models.quantizableMobilenetV2({ numClasses: 10 }).train();
  const float = deepCopy(model).eval().fuseModel();
  model.fuseModel().qconfig = quantization.getDefaultQatQConfig();
  const prepared = quantization.prepareQat(model);
  const sgd = new optim.SGD(prepared.parameters(), { lr: 0.01, momentum: 0.9 });
  const images = randn([8, 3, side, side]);
  const labels = randint(0, 10, [8]);
  for (let step = 0; step < 2; step++) {
    sgd.zeroGrad();
    backward(nn.functional.crossEntropy(prepared(images), labels));
    sgd.step();
  }
  prepared.eval().apply(quantization.disableObserver);
  const int8 = quantization.convert(prepared);
  const [want, got] = noGrad(() => [prepared(images).numbers(), int8(images).numbers()]);
  const differing = got.filter((v, i) => v !== want[i]).length;
  return {
    name: 'MobileNetV2',
    technique: 'QAT',
    float,
    int8,
    input: images.narrow(0, 0, 1),
    closeness: `${differing} of ${got.length} differ from training`,
  };
}

/** Its vector for a whole sequence, as classifiers take it. */
class Encoder extends nn.Module {
  bert: models.Bert = models.bert(
    full ? {} : { hiddenSize: 256, numHiddenLayers: 4, numAttentionHeads: 4, intermediateSize: 1024 },
  );
  forward(ids: Tensor): Tensor {
    return this.bert(ids)[1] as Tensor;
  }
}

/** Linear layers with int8 weights, activations quantized call by call. */
function bert(): Row {
  const float = new Encoder().eval();
  const ids = randint(0, 30522, [1, full ? 128 : 64]);
  const int8 = quantization.quantizeDynamic(float);
  const [want, got] = noGrad(() => [float(ids), int8(ids)]);
  const closeness = `${suite.sqnr(want, got).toFixed(1)} dB to float`;
  return { name: 'BERT', technique: 'dynamic', float, int8, input: ids, closeness };
}

print('model        technique  float → int8             speed-up  megabytes        closeness');
print(
  '───────────  ─────────  ───────────────────────  ────────  ───────────────  ─────────────────────────',
);
for (const make of [resnet50, mobilenetV2, bert]) {
  const { name, technique, float, int8, input, closeness } = make();
  const time = suite.measureLatency({ float: () => float(input), int8: () => int8(input) }, rounds);
  const [a, b] = [time.float.minMs, time.int8.minMs];
  const [before, after] = [float, int8].map((m) => io.writeSafetensors(m.stateDict()).length / 1e6);
  print(
    [
      name.padEnd(11),
      technique.padEnd(9),
      `${a.toFixed(1)} → ${b.toFixed(1)} ms`.padEnd(23),
      `${(a / b).toFixed(2)}x`.padEnd(8),
      `${before.toFixed(1)} → ${after.toFixed(1)}`.padEnd(15),
      closeness,
    ].join('  '),
  );
}
