/**
 * Two small sequential models in eager mode: one quantized dynamically by a set of classes, one statically by fusing, stubs, a
 * qconfig and calibration. Prints both quantized models, how far they are from float, and what a weight takes.
 *
 *   node examples/sequential-eager.ts
 */
import { manualSeed, nn, noGrad, print, quantization, rand, suite, type Tensor } from '../src/index.ts';

const { convert, DeQuantStub, fuseModules, getDefaultQConfig, prepare, QuantStub, quantizeDynamic } =
  quantization;

manualSeed(0);

// Dynamic: weights now, activations call by call. There is nothing to calibrate.
const recurrent = new nn.Sequential<[Tensor], [Tensor, [Tensor, Tensor]]>(
  new nn.Conv1d(2, 64, 8),
  new nn.ReLU(),
  new nn.Linear(16, 10),
  new nn.LSTM(10, 10),
).eval();
const dynamic = quantizeDynamic(recurrent, new Set([nn.LSTM, nn.Linear]), { dtype: 'qint8' });
print(`dynamic: ${dynamic}`);

const signal = rand([4, 2, 23]);
const [[want], [got]] = noGrad(() => [recurrent(signal), dynamic(signal)]);
print(`against float: ${suite.sqnr(want, got).toFixed(1)} dB`);

// Static: fuse, put stubs around, prepare, calibrate, convert.
const convolutions = new nn.Sequential(
  new nn.Conv1d(2, 64, 8),
  new nn.ReLU(),
  new nn.Conv1d(64, 128, 1),
  new nn.ReLU(),
).eval();
fuseModules(convolutions, ['0', '1'], { inplace: true });
fuseModules(convolutions, ['2', '3'], { inplace: true });
const model = new nn.Sequential(new QuantStub(), ...convolutions, new DeQuantStub()).eval();
model.qconfig = getDefaultQConfig('fbgemm');
const prepared = prepare(model, { strict: true });
noGrad(() => {
  for (let i = 0; i < 10; i++) prepared(rand([1, 2, 28]));
});
const int8 = convert(prepared, { strict: true });
print(`static: ${int8}`);

const unseen = rand([1, 2, 28]);
const [float, rounded] = noGrad(() => [model(unseen), int8(unseen)]);
print(`against float: ${suite.sqnr(float, rounded).toFixed(1)} dB`);
const weight = (int8.at(1) as nn.intrinsic.quantized.ConvReLU1d).weight();
print(`${weight.elementSize()} byte for a weight instead of ${convolutions.parameters()[0].elementSize()}`);
