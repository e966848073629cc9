/**
 * One model with control flow that follows its data, quantized statically in three ways. It filters waveforms of any length,
 * measures how loud they are and leaves silence alone: numbers are read while it runs, so no graph holds the whole of it.
 *
 * - Eager mode: the model is written anew with stubs, and additions and products as modules.
 * - Graph mode: its layers are traced and quantized one by one; between them, and in the LSTM, everything stays float.
 * - Define-by-run: the model as it is.
 *
 * The weights are random: decibels tell how closely int8 follows float.
 *
 *   node examples/demucs-three-ways.ts
 */
import {
  io,
  manualSeed,
  models,
  nn,
  noGrad,
  print,
  quantization,
  randn,
  suite,
  type Tensor,
  TraceError,
} from '../src/index.ts';

const { convert, convertDbr, convertFx, defaultQConfig, prepare, prepareDbr, prepareFx } = quantization;

/** Filters recordings [batch, channels, time] that are not silent. */
class Cleaner extends nn.Module {
  filter: models.Demucs;

  constructor(filter: models.Demucs) {
    super();
    this.filter = filter;
  }

  forward(recording: Tensor): Tensor {
    const loudness = recording.std().item();
    if (loudness < 1e-3) return recording;
    return this.filter(recording.div(loudness)).mul(loudness);
  }
}

manualSeed(0);
const shape = { hidden: 16, depth: 3 };
const float = new Cleaner(models.demucs(shape)).eval();
const recordings = [2000, 3001, 4096].map((length) => randn([2, 1, length]).mul(0.3));
const mapping = new quantization.QConfigMapping().setGlobal(defaultQConfig);

function calibrate(model: nn.Module): void {
  noGrad(() => {
    for (const recording of recordings) model(recording);
  });
}

// Eager mode.
const stubbed = models.quantizableDemucs(shape);
stubbed.loadStateDict(float.filter.stateDict());
const byHand = new Cleaner(stubbed.eval().fuseModel()).eval();
byHand.qconfig = defaultQConfig;
const observed = prepare(byHand, { strict: true });
calibrate(observed);
const eager = convert(observed, { strict: true });

// Graph mode. The whole cannot be traced:
try {
  prepareFx(float, mapping, [recordings[0]]);
} catch (error) {
  if (!(error instanceof TraceError)) throw error;
  print(`graph mode: ${error.message.replace(/ at \S+/, '')}`);
}
// … but every layer can, on the input that it gets in a run of the model.
const inputs = new Map<nn.AnyModule, readonly unknown[]>();
const layersOf = (model: Cleaner): nn.AnyModule[] => [...model.filter.encoder, ...model.filter.decoder];
const hooks = layersOf(float).map((layer) =>
  layer.registerForwardPreHook((module, args) => {
    inputs.set(module, args);
    return undefined;
  }),
);
noGrad(() => float(recordings[0]));
for (const hook of hooks) hook.remove();

/** A copy of a model whose layers went through `change`. */
function withLayers(model: Cleaner, change: (layer: nn.AnyModule, i: number) => nn.AnyModule): Cleaner {
  const copy = nn.deepCopy(model);
  const depth = [...copy.filter.encoder].length;
  layersOf(copy).forEach((layer, i) => {
    const name = i < depth ? `filter.encoder.${i}` : `filter.decoder.${i - depth}`;
    copy.setSubmodule(name, change(layer, i));
  });
  return copy;
}

const examples = layersOf(float).map((layer) => inputs.get(layer) as [Tensor]);
const graphs = withLayers(float, (layer, i) => prepareFx(layer as nn.Module, mapping, examples[i]));
calibrate(graphs);
const graph = withLayers(graphs, (layer) => convertFx(layer as ReturnType<typeof prepareFx>));

// Define-by-run.
const recorded = prepareDbr(float, mapping, [recordings[0]], { strict: true });
calibrate(recorded);
const byRun = convertDbr(recorded);
print(suite.formatCoverage(suite.coverage(byRun).filter((row) => row.status === 'quantized')));

const tests = [500, 1777, 4000].map((length) => randn([1, 1, length]).mul(0.3));
const size = (m: nn.Module): number => io.writeSafetensors(m.stateDict()).length / 1000;
for (const [name, model] of Object.entries({ eager, graph, 'define-by-run': byRun })) {
  const results = tests.map((recording) => {
    const [want, got] = noGrad(() => [float(recording), model(recording)]);
    return `${got.shape[2]} samples at ${suite.sqnr(want, got).toFixed(1)} dB`;
  });
  const silence = randn([1, 1, 900]).mul(1e-5);
  const kept = noGrad(() => model(silence)) === silence;
  print(`${name}: ${results.join(', ')}, silence ${kept ? 'kept' : 'changed'}, ${size(model).toFixed(0)} kB`);
}
print(`float: ${size(float).toFixed(0)} kB`);
