import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../src/autograd/index.ts';
import { HistogramObserver } from '../../src/quantization/observers/histogram.ts';
import { MinMaxObserver } from '../../src/quantization/observers/min-max.ts';
import {
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
} from '../../src/quantization/observers/moving-average.ts';
import { PerChannelMinMaxObserver } from '../../src/quantization/observers/per-channel.ts';
import { searchRange } from '../../src/quantization/observers/range-search.ts';
import {
  camelKeys,
  checksum,
  type GoldenNumber,
  goldenNumbers,
  type InputSpec,
  makeInput,
} from './observers-inputs.ts';

interface ObserverCase {
  readonly name: string;
  readonly observer: keyof typeof CLASSES;
  readonly options: Readonly<Record<string, unknown>>;
  readonly batches: readonly InputSpec[];
  readonly min: readonly GoldenNumber[];
  readonly max: readonly GoldenNumber[];
  readonly quant_min: number;
  readonly quant_max: number;
  readonly scale: readonly number[];
  readonly zero_point: readonly number[];
  readonly zero_point_dtype: string;
  readonly keys: readonly string[];
  readonly repr: string;
  readonly histogram?: number;
  readonly range?: readonly number[];
}

const CLASSES = {
  MinMaxObserver,
  MovingAverageMinMaxObserver,
  PerChannelMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
  HistogramObserver,
};

const cases = JSON.parse(
  readFileSync(new URL('./data/observers.json', import.meta.url), 'utf8'),
) as ObserverCase[];

describe.each(Object.keys(CLASSES) as (keyof typeof CLASSES)[])('%s equals PyTorch', (name) => {
  const own = cases.filter((c) => c.observer === name);
  test.each(own.map((c, i) => ({ ...c, title: `#${i} ${c.name} ${JSON.stringify(c.options)}` })))(
    '$title',
    (c) => {
      const observer = new CLASSES[name](camelKeys(c.options));
      for (const spec of c.batches) {
        const x = makeInput(spec);
        expect(observer(x)).toBe(x);
      }
      expect([observer.quantMin, observer.quantMax]).toEqual([c.quant_min, c.quant_max]);
      expect(Array.from(observer.minVal.data)).toEqual(goldenNumbers(c.min));
      expect(Array.from(observer.maxVal.data)).toEqual(goldenNumbers(c.max));
      if (observer instanceof HistogramObserver) {
        expect(checksum(observer.histogram)).toBe(c.histogram);
        const counts = observer.histogram.data as Float32Array;
        const range = searchRange(counts, observer.minVal.item(), observer.maxVal.item(), observer.dstNbins);
        expect(range).toEqual(c.range);
      }
      const { scale, zeroPoint } = observer.calculateQParams();
      expect(Array.from(scale.data)).toEqual(c.scale);
      expect(Array.from(zeroPoint.data, (z) => z + 0)).toEqual(c.zero_point.map((z) => z + 0));
      expect(zeroPoint.dtype).toBe(c.zero_point_dtype);
      expect([...observer.stateDict().keys()].sort()).toEqual([...c.keys].sort());
      expect(String(observer)).toBe(c.repr);
    },
  );
});
