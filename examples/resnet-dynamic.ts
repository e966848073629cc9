/**
 * Dynamic quantization of a ResNet-18, which is mostly convolutions: the default classes reach one linear layer in fifty megabytes,
 * so the convolutions are named too. The weights are random: agreement and decibels tell how closely int8 follows float, and
 * nothing about photographs.
 *
 *   node examples/resnet-dynamic.ts
 */
import { io, manualSeed, models, nn, print, quantization, randn, suite } from '../src/index.ts';

manualSeed(0);
const float = models.resnet18().eval();
const linear = quantization.quantizeDynamic(float);
const all = quantization.quantizeDynamic(float, [nn.Linear, nn.Conv2d]);

for (const [name, model] of [
  ['default classes', linear],
  ['convolutions too', all],
] as const) {
  const rows = suite.coverage(model);
  const quantized = rows.filter((row) => row.status === 'quantized').length;
  const kept = rows.filter((row) => row.status === 'float' && row.reason !== 'has no weights');
  const types = [...new Set(kept.map((row) => row.type))].join(', ');
  print(`${name}: ${quantized} layers quantized, ${kept.length} kept float (${types})`);
}

const images = randn([8, 3, 96, 96]);
const size = (model: nn.Module): number => io.writeSafetensors(model.stateDict()).length;
print(
  suite.formatComparison(
    suite.compareVariants(
      [
        { name: 'float', model: float, bytes: size(float) },
        { name: 'int8 linear', model: linear, bytes: size(linear) },
        { name: 'int8 linear and conv', model: all, bytes: size(all) },
      ],
      { batches: () => [images], labels: null, latencyInput: images.narrow(0, 0, 1) },
    ),
  ),
);
