/**
 * Static quantization in eager mode of a Demucs, which filters waveforms: convolutions, gates, an LSTM, transposed convolutions.
 * Stubs stand around all of them; padding, trimming and the loops over layers stay plain code, so recordings of any length go
 * through. The weights are random: decibels tell how closely int8 follows float.
 *
 *   node examples/demucs-eager.ts
 */
import { io, manualSeed, models, type nn, noGrad, print, quantization, randn, suite } from '../src/index.ts';

const { convert, defaultQConfig, getDefaultQConfig, prepare } = quantization;

manualSeed(0);
const float = models.quantizableDemucs({ hidden: 16, depth: 3 }).eval();

// Weights per channel everywhere but in transposed convolutions, which take one scale for all.
const fused = float.fuseModel();
fused.qconfig = getDefaultQConfig();
for (const m of fused.modules()) if (m.typeName === 'ConvTranspose1d') m.qconfig = defaultQConfig;

const prepared = prepare(fused, { strict: true });
noGrad(() => {
  for (const length of [2000, 3001, 4096]) prepared(randn([2, 1, length]));
});
const int8 = convert(prepared, { strict: true });
print(int8);

for (const length of [500, 1777, 4000]) {
  const recording = randn([1, 1, length]);
  const [want, got] = noGrad(() => [float(recording), int8(recording)]);
  const padded = float.validLength(length);
  print(
    `${length} samples, padded to ${padded}, back to ${got.shape[2]}: ${suite.sqnr(want, got).toFixed(1)} dB`,
  );
}
const size = (m: nn.Module): number => io.writeSafetensors(m.stateDict()).length / 1000;
print(`${size(float).toFixed(0)} kB in float, ${size(int8).toFixed(0)} kB in int8`);
