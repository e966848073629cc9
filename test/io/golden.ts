import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Tensor } from '../../src/tensor/index.ts';

const folder = new URL('../golden/data/io/', import.meta.url);

/** Bytes of a golden file. */
export function golden(name: string): Uint8Array {
  return readFileSync(new URL(name, folder));
}

/** What `test/golden/io.py` says the golden files hold. */
export const goldenValues: Record<string, any> = JSON.parse(
  new TextDecoder().decode(golden('expected.json')),
);

/** Checks a value that was read against its description by the generator. */
export function expectGolden(value: unknown, spec: any): void {
  const [kind] = Object.keys(spec);
  const want = spec[kind];
  if (kind === 'tensor') expectTensor(value, want);
  else if (kind === 'map') {
    expect(value).toBeInstanceOf(Map);
    const map = value as Map<unknown, unknown>;
    expect([...map.keys()]).toEqual(want.map(([key]: [unknown]) => key));
    for (const [key, inner] of want) expectGolden(map.get(key), inner);
  } else if (kind === 'list') {
    expect(value).toHaveLength(want.length);
    want.forEach((inner: unknown, i: number) => {
      expectGolden((value as unknown[])[i], inner);
    });
  } else if (kind === 'set') expect([...(value as Set<string>)].sort()).toEqual(want);
  else if (kind === 'bytes') expect([...(value as Uint8Array)]).toEqual(want);
  else if (kind === 'bigint') expect(value).toBe(BigInt(want));
  else expect(value).toEqual(want);
}

function expectTensor(value: unknown, want: any): void {
  expect(value).toBeInstanceOf(Tensor);
  const x = value as Tensor;
  expect(x.dtype).toBe(want.dtype);
  expect(x.shape).toEqual(want.shape);
  const values = x.isQuantized ? x.data : x.numbers();
  expect(Array.from(values as ArrayLike<number>)).toEqual(want.values.map(Number));
  if (want.scheme === undefined) {
    expect(x.qparams).toBeNull();
    return;
  }
  const { scales, zeroPoints, ...rest } = x.qparams as any;
  const { values: _, dtype: __, shape: ___, ...wanted } = want;
  if (scales) Object.assign(rest, { scales: [...scales], zeroPoints: [...zeroPoints] });
  expect(rest).toEqual(wanted);
}

/** Throws unless two state values are the same to the bit. */
export function expectSame(got: unknown, want: unknown): void {
  if (want instanceof Tensor) {
    expect(got).toBeInstanceOf(Tensor);
    const x = got as Tensor;
    expect(x.dtype).toBe(want.dtype);
    expect(x.shape).toEqual(want.shape);
    expect(x.data).toEqual(want.data);
    expect(x.qparams).toEqual(want.qparams);
  } else if (Array.isArray(want)) {
    expect(got).toHaveLength(want.length);
    want.forEach((item, i) => {
      expectSame((got as unknown[])[i], item);
    });
  } else expect(Object.is(got, want)).toBe(true);
}
