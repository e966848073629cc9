import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { FakeQuantizeBase } from '../../src/quantization/fake-quantize/fake-quantize.ts';
import * as fakeQuantize from '../../src/quantization/fake-quantize/index.ts';
import * as observers from '../../src/quantization/observers/index.ts';
import type { ObserverBase, ObserverFactory } from '../../src/quantization/observers/observer.ts';
import * as qconfigs from '../../src/quantization/qconfig.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { checksum, type GoldenNumber, goldenNumbers, makeInput } from './observers-inputs.ts';

/** What one side of a qconfig found, and gave back. */
interface Found {
  readonly out?: number;
  readonly scale?: readonly GoldenNumber[];
  readonly zeroPoint?: readonly GoldenNumber[];
}

interface Case {
  readonly qconfig: string;
  readonly seed: number;
  readonly shape: readonly number[];
  readonly spread: number;
  readonly shift: number;
  readonly weightShape: readonly number[];
  readonly activation: Found;
  readonly weight: Found;
}

type Kind = readonly [type: string, dtype: string];

const golden = JSON.parse(readFileSync(new URL('./data/qconfigs.json', import.meta.url), 'utf8')) as {
  readonly kinds: Readonly<Record<string, readonly [Kind, Kind]>>;
  readonly cases: readonly Case[];
};

const compared = { qparams: 0, tensors: 0 };
afterAll(() =>
  console.log(
    `qconfigs against PyTorch: ${golden.cases.length} cases of ${Object.keys(golden.kinds).length} qconfigs, ` +
      `${compared.qparams} scales and zero points and ${compared.tensors} tensors given back, 0 differ`,
  ),
);

function qconfigOf(name: string): qconfigs.QConfig {
  const [backend, kind, version] = name.split(' ');
  if (kind === 'static') return qconfigs.getDefaultQConfig(backend as qconfigs.QuantizationBackend);
  if (kind === 'qat') {
    const wanted = Number(version) as 0 | 1;
    return qconfigs.getDefaultQatQConfig(backend as qconfigs.QuantizationBackend, wanted);
  }
  if (name === 'fixed 0 to 1')
    return {
      activation: observers.defaultFixedQParamsRange0To1Observer,
      weight: fakeQuantize.defaultFixedQParamsRange0To1FakeQuant,
    };
  if (name === 'fixed -1 to 1')
    return {
      activation: observers.defaultFixedQParamsRangeNeg1To1Observer,
      weight: fakeQuantize.defaultFixedQParamsRangeNeg1To1FakeQuant,
    };
  const ours = name
    .replace(/_(\w)/g, (_, c: string) => c.toUpperCase())
    .replace('Qconfig', 'QConfig')
    .replace('Qparams', 'QParams')
    .replace('QConfig4bit', 'QConfig4bit');
  return (qconfigs as unknown as Record<string, qconfigs.QConfig>)[ours];
}

describe.each(Object.entries(golden.kinds))('%s', (name, kinds) => {
  const own = golden.cases.filter((c) => c.qconfig === name);
  const { activation, weight } = qconfigOf(name);

  test('makes the same classes, of the same dtypes', () => {
    expect(own.length).toBeGreaterThanOrEqual(20);
    [activation, weight].forEach((factory, side) => {
      const made = factory();
      const [type, dtype] = kinds[side];
      expect(made.typeName.replace(/Observer$/, '')).toBe(type.replace(/Observer$/, ''));
      if (dtype !== 'None')
        expect(`torch.${made.dtype}`).toBe(
          dtype.replace('torch.float', 'torch.float').replace(/float$/, 'float32'),
        );
    });
  });

  test.each(own.map((c, i) => [i, c] as const))('case %i', (_i, c) => {
    const { seed, shape, spread, shift } = c;
    const inputs = [0, 1].map((k) =>
      makeInput({ seed: seed + k, shape, scale: spread * (1 + k), shift: shift * spread }),
    );
    const w = makeInput({
      seed: seed + 9,
      shape: c.weightShape,
      scale: spread / 10,
      shift: (shift * spread) / 10,
    });
    check(activation, inputs, c.activation);
    check(weight, [w], c.weight);
  });
});

function check(factory: ObserverFactory, inputs: readonly Tensor[], want: Found): void {
  const made = factory() as ObserverBase;
  const [out] = inputs.map((x) => made(x)).slice(-1);
  if (want.out !== undefined) {
    expect(checksum(out)).toBe(want.out);
    compared.tensors++;
  }
  if (!want.scale || !want.zeroPoint) return;
  const { scale, zeroPoint } =
    made instanceof FakeQuantizeBase ? made.appliedQParams() : made.calculateQParams();
  expect(Array.from(scale.data)).toEqual(goldenNumbers(want.scale));
  expect(Array.from(zeroPoint.data, (z) => z + 0)).toEqual(goldenNumbers(want.zeroPoint).map((z) => z + 0));
  compared.qparams += 2 * scale.numel;
}
