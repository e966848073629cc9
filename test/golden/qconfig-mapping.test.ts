import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import * as nn from '../../src/nn/index.ts';
import {
  defaultQConfig,
  FakeQuantizeBase,
  FixedQParamsObserver,
  getDefaultQatQConfigMapping,
  getDefaultQConfigMapping,
  type ObjectType,
  type QConfig,
  QConfigMapping,
  type QuantizationBackend,
} from '../../src/quantization/index.ts';

/** Qconfigs are numbers, −1 is None. */
interface Spec {
  readonly '': number;
  readonly object_type: readonly [string, number][];
  readonly module_name_regex: readonly [string, number][];
  readonly module_name: readonly [string, number][];
  readonly module_name_object_type_order: readonly [string, string, number, number][];
}
interface Case {
  readonly spec: Spec;
  readonly answers: readonly [string, string, number, number][];
}
/** Per side: class, dtype, qscheme, and a fixed scale and zero point or null. */
type Described = readonly [string, string, string, number | null, number | null][];
interface Default {
  readonly backend: QuantizationBackend;
  readonly qat: boolean;
  readonly global: Described;
  readonly types: Readonly<Record<string, Described>>;
}

const { cases, defaults } = JSON.parse(
  readFileSync(new URL('./data/qconfig_mapping.json', import.meta.url), 'utf8'),
) as { readonly cases: readonly Case[]; readonly defaults: readonly Default[] };

const typeOf = (name: string): ObjectType =>
  name in nn ? (nn as unknown as Record<string, ObjectType>)[name] : name;

test.each(cases.map((c, i) => [i, c] as const))(
  'mapping %d gives what PyTorch gives',
  (_, { spec, answers }) => {
    const qconfigs = Array.from({ length: 100 }, (): QConfig => ({ ...defaultQConfig }));
    const of = (n: number): QConfig | null => (n < 0 ? null : qconfigs[n]);
    const mapping = QConfigMapping.fromDict({
      '': of(spec['']),
      object_type: spec.object_type.map(([t, q]) => [typeOf(t), of(q)] as const),
      module_name_regex: spec.module_name_regex.map(([r, q]) => [r, of(q)] as const),
      module_name: spec.module_name.map(([p, q]) => [p, of(q)] as const),
      module_name_object_type_order: spec.module_name_object_type_order.map(
        ([p, t, i, q]) => [p, typeOf(t), i, of(q)] as const,
      ),
    });
    const again = QConfigMapping.fromDict(mapping.toDict());
    for (const [path, type, order, want] of answers) {
      for (const m of [mapping, again]) {
        const got = m.qconfigFor({ path, type: typeOf(type), order });
        expect(got === null ? -1 : qconfigs.indexOf(got), `${path} ${type} ${order}`).toBe(want);
      }
    }
  },
);

function described({ activation, weight }: QConfig): Described {
  return [activation, weight].map((factory) => {
    const made = factory();
    const inner = made instanceof FakeQuantizeBase ? made.activationPostProcess : made;
    const fixed = inner instanceof FixedQParamsObserver ? inner.calculateQParams() : null;
    return [
      made.typeName,
      made.dtype,
      made.qscheme,
      fixed ? fixed.scale.item() : null,
      fixed ? Number(fixed.zeroPoint.item()) : null,
    ] as Described[number];
  });
}

/** Observers without a scheme say None in PyTorch; ours have the default one. */
const comparable = (d: Described, like: Described): unknown =>
  d.map(([name, dtype, scheme, ...rest], i) => [
    name,
    dtype.replace(/^float$/, 'float32'),
    like[i][2] === 'None' ? 'None' : scheme,
    ...rest,
  ]);

test.each(defaults.map((d) => [`${d.backend}${d.qat ? ', training' : ''}`, d] as const))(
  'the default mapping for %s',
  (_, d) => {
    const mapping = (d.qat ? getDefaultQatQConfigMapping : getDefaultQConfigMapping)(d.backend);
    const names = [...mapping.objectTypeQConfigs.keys()].map((t) => (typeof t === 'string' ? t : t.name));
    expect(names.toSorted()).toEqual(Object.keys(d.types).toSorted());
    expect(comparable(described(mapping.globalQConfig as QConfig), d.global)).toEqual(d.global);
    for (const [name, want] of Object.entries(d.types)) {
      const q = mapping.qconfigFor({ path: 'x', type: typeOf(name) }) as QConfig;
      expect(comparable(described(q), want), name).toEqual(comparable(want, want));
    }
  },
);
