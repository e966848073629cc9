/**
 * Static quantization of a ResNet-18 in eager mode, from fusing to a saved program. The plain model is refused with what to change;
 * its quantizable form, which has stubs and observable additions, goes through. The weights are random: decibels and agreement tell
 * how closely int8 follows float, and nothing about photographs.
 *
 *   node examples/resnet18-eager.ts
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  deepCopy,
  jit,
  manualSeed,
  models,
  noGrad,
  print,
  QuantizationError,
  quantization,
  randn,
  suite,
} from '../src/index.ts';

const { convert, getDefaultQConfig, prepare, QuantWrapper, quantize } = quantization;

manualSeed(0);
const calibration = randn([8, 3, 64, 64]);
const images = randn([8, 3, 64, 64]);

const plain = models.resnet18().eval();
plain.qconfig = getDefaultQConfig();
try {
  prepare(plain, { strict: true });
} catch (error) {
  if (!(error instanceof QuantizationError)) throw error;
  print(`resnet18: ${error.message}\n`);
}

// Stubs alone are not enough: the additions have no place to be observed, and round to whole numbers.
const expected = noGrad(() => plain(images));
const wrapped = quantize(new QuantWrapper(deepCopy(plain)).eval(), (m) => m(calibration), {
  qconfigDict: { '': getDefaultQConfig() },
});
print(
  `resnet18 in QuantWrapper: ${suite
    .sqnr(
      expected,
      noGrad(() => wrapped(images)),
    )
    .toFixed(1)} dB against float, for its additions have no place to be observed`,
);

const float = models.quantizableResnet18().eval();
float.loadStateDict(plain.stateDict());
const fused = float.fuseModel();
fused.qconfig = getDefaultQConfig();
const prepared = prepare(fused, { strict: true });
noGrad(() => prepared(calibration));
const int8 = convert(prepared, { strict: true });
print(
  `quantizableResnet18: ${suite
    .sqnr(
      expected,
      noGrad(() => int8(images)),
    )
    .toFixed(1)} dB against float`,
);

const folder = await mkdtemp(join(tmpdir(), 'resnet18-'));
try {
  const sizes: number[] = [];
  for (const [name, model] of [
    ['float', plain],
    ['int8', int8],
  ] as const) {
    const path = join(folder, `${name}.safetensors`);
    await jit.save(jit.trace(model, [images]), path);
    sizes.push((await stat(path)).size);
    const loaded = await jit.load(path);
    const [got, wanted] = [loaded.run(images), noGrad(() => model(images))];
    // A float program folds batch norms into weights, which rounds elsewhere; int8 is the same to the bit.
    const off = suite.maxError(wanted, got) / wanted.abs().max().item();
    print(
      `${name}: ${((sizes.at(-1) as number) / 1e6).toFixed(1)} MB, loaded without classes, off by ${off === 0 ? 'nothing' : off.toExponential(1)}`,
    );
  }
  print(`int8 takes ${((100 * sizes[1]) / sizes[0]).toFixed(1)} % of float`);
} finally {
  await rm(folder, { recursive: true });
}
