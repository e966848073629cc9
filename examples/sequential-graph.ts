/**
 * Two small sequential models in eager mode and in graph mode, side by side: one quantized dynamically, one statically. Eager mode
 * wants lists of what to fuse, stubs and an order of calls; graph mode a mapping and example inputs. The numbers are the same.
 *
 *   node examples/sequential-graph.ts
 */
import { equal, manualSeed, nn, noGrad, print, quantization, rand, type Tensor } from '../src/index.ts';

const {
  convert,
  convertFx,
  DeQuantStub,
  defaultDynamicQConfig,
  fuseModules,
  getDefaultQConfig,
  prepare,
  prepareFx,
  QConfigMapping,
  QuantStub,
  quantizeDynamic,
} = quantization;

manualSeed(0);

// Dynamic: weights now, activations call by call. There is nothing to calibrate.
type State = [Tensor, Tensor];
const recurrent = new nn.Sequential<[Tensor], [Tensor, State]>(
  new nn.Conv1d(2, 64, 8),
  new nn.ReLU(),
  new nn.Linear(16, 10),
  new nn.LSTM(10, 10),
).eval();
const signal = rand([4, 2, 23]);
const byHand = quantizeDynamic(recurrent, new Set([nn.LSTM, nn.Linear]), { dtype: 'qint8' });
const dynamic = new QConfigMapping()
  .setObjectType(nn.LSTM, defaultDynamicQConfig)
  .setObjectType(nn.Linear, defaultDynamicQConfig);
const traced = convertFx(prepareFx(recurrent, dynamic, [signal]));
print(`dynamic: ${traced}`);
const [[eager], [graph]] = noGrad(() => [byHand(signal), traced(signal)]);
print(`dynamic, eager and graph give the same numbers: ${equal(eager, graph)}\n`);

// Static.
const convolutions = new nn.Sequential(
  new nn.Conv1d(2, 64, 8),
  new nn.ReLU(),
  new nn.Conv1d(64, 128, 1),
  new nn.ReLU(),
).eval();
const samples = Array.from({ length: 10 }, () => rand([1, 2, 28]));

const fused = fuseModules(convolutions, [
  ['0', '1'],
  ['2', '3'],
]);
const stubbed = new nn.Sequential(new QuantStub(), ...fused, new DeQuantStub()).eval();
stubbed.qconfig = getDefaultQConfig();
const observed = prepare(stubbed, { strict: true });

const mapping = new QConfigMapping().setGlobal(getDefaultQConfig());
const prepared = prepareFx(convolutions, mapping, [samples[0]], { strict: true });

noGrad(() => {
  for (const x of samples) for (const model of [observed, prepared]) model(x);
});
const int8 = convertFx(prepared);
print(`static: ${int8}`);
const unseen = rand([1, 2, 28]);
const [one, other] = noGrad(() => [convert(observed)(unseen), int8(unseen)]);
print(`static, eager and graph give the same numbers: ${equal(one, other)}`);
