/**
 * Static quantization of a ResNet-18 in graph mode, as it is: no stubs, no changed additions, no lists of what to fuse. Prints what
 * became of every call, how closely the int8 model and its reference follow float, and saves a program. The weights are random:
 * decibels tell how closely int8 follows float, and nothing about photographs.
 *
 *   node examples/resnet18-graph.ts
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { equal, jit, manualSeed, models, noGrad, print, quantization, randn, suite } from '../src/index.ts';

const { convertToReferenceFx, getDefaultQConfigMapping, lowerToQuantized, prepareFx } = quantization;

manualSeed(0);
const float = models.resnet18().eval();
const calibration = randn([4, 3, 64, 64]);
const images = randn([4, 3, 64, 64]);

const prepared = prepareFx(float, getDefaultQConfigMapping(), [calibration], { strict: true });
noGrad(() => prepared(calibration));

// What int8 means, in float operators, and then int8 itself; convertFx does both.
const reference = convertToReferenceFx(prepared);
const int8 = lowerToQuantized(reference);
print(suite.formatCoverage(suite.coverage(int8)));

const [want, meant, got] = noGrad(() => [float(images), reference(images), int8(images)]);
print(`int8 against float: ${suite.sqnr(want, got).toFixed(1)} dB`);
print(`int8 against its reference: ${suite.sqnr(meant, got).toFixed(1)} dB`);
print(
  '  (Biases lie on a finer grid in int8 and sums may meet a tie: a step here and there, which turns roundings further on.)',
);

const folder = await mkdtemp(join(tmpdir(), 'resnet18-'));
try {
  const path = join(folder, 'int8.safetensors');
  await jit.save(jit.trace(int8, [images]), path);
  const loaded = await jit.load(path);
  const same = equal(loaded.run(images), got);
  print(`${((await stat(path)).size / 1e6).toFixed(1)} MB, loaded without classes, same numbers: ${same}`);
} finally {
  await rm(folder, { recursive: true });
}
