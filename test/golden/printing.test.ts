import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DTYPES, type QuantizedDType } from '../../src/tensor/dtype.ts';
import { perChannelQParams, perTensorQParams } from '../../src/tensor/qparams.ts';
import { fromStorage, type Tensor } from '../../src/tensor/tensor.ts';
import { decodeTensor, type EncodedTensor } from './cases.ts';

interface PrintingCase {
  readonly name: string;
  readonly text: string;
  readonly tensor: EncodedTensor | QuantizedEncoding;
  readonly negativeZeros?: readonly number[];
  readonly requiresGrad?: boolean;
  readonly qparams?:
    | { readonly scale: number; readonly zeroPoint: number }
    | { readonly scales: readonly number[]; readonly zeroPoints: readonly number[]; readonly axis: number };
}

interface QuantizedEncoding {
  readonly dtype: QuantizedDType;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

function build(c: PrintingCase): Tensor {
  if (c.qparams) {
    const { dtype, shape, data } = c.tensor as QuantizedEncoding;
    const storage = DTYPES[dtype].allocate(data.length);
    storage.set(data);
    const q = c.qparams;
    const qparams =
      'scale' in q
        ? perTensorQParams(q.scale, q.zeroPoint, dtype, 'test')
        : perChannelQParams(q.scales, q.zeroPoints, q.axis, shape[q.axis], dtype, 'test');
    return fromStorage(storage, shape, dtype, qparams);
  }
  const x = decodeTensor(c.tensor as EncodedTensor);
  for (const i of c.negativeZeros ?? []) x.storage[i] = -0;
  if (c.requiresGrad) x.requiresGrad = true;
  return x;
}

describe('String(tensor) is what PyTorch prints', () => {
  const cases = JSON.parse(
    readFileSync(new URL('./data/printing.json', import.meta.url), 'utf8'),
  ) as PrintingCase[];
  test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => {
    expect(String(build(c))).toBe(c.text);
  });
});
