import { describe, expect, test } from 'vitest';
import { bfloat16Bits, float16Bits, fromBfloat16Bits, fromFloat16Bits } from '../../src/core/float16.ts';
import { tensor } from '../../src/tensor/creation.ts';

const formats = [
  { name: 'float16', encode: float16Bits, decode: fromFloat16Bits, infinity: 0x7c00 },
  { name: 'bfloat16', encode: bfloat16Bits, decode: fromBfloat16Bits, infinity: 0x7f80 },
] as const;

describe.each(formats)('$name', ({ name, encode, decode, infinity }) => {
  test('every bit pattern survives the way to a number and back', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = decode(bits);
      if (Number.isNaN(value)) {
        expect(bits & 0x7fff).toBeGreaterThan(infinity);
        expect(Number.isNaN(decode(encode(value)))).toBe(true);
      } else if (encode(value) !== bits) expect.fail(`${bits} became ${encode(value)} by way of ${value}`);
    }
  });

  test('numbers are in the order of their bits, and infinity comes last', () => {
    for (let bits = 1; bits <= infinity; bits++) {
      if (!(decode(bits) > decode(bits - 1))) expect.fail(`${bits} is not above ${bits - 1}`);
    }
    expect(decode(infinity)).toBe(Infinity);
    expect(decode(infinity | 0x8000)).toBe(-Infinity);
    expect(decode(0x8000)).toBe(-0);
  });

  test('everything between two neighbours goes to the nearer one, the middle to the even one', () => {
    for (let low = 0; low + 1 < infinity; low++) {
      const middle = (decode(low) + decode(low + 1)) / 2;
      const below = nextFloat32(middle, -1);
      const above = nextFloat32(middle, 1);
      if (Math.fround(middle) !== middle) continue;
      const even = low & 1 ? low + 1 : low;
      if (encode(middle) !== even || encode(-middle) !== (even | 0x8000)) expect.fail(`middle of ${low}`);
      if (encode(below) !== low || encode(above) !== low + 1) expect.fail(`beside the middle of ${low}`);
    }
  });

  test('what is too large becomes infinity from the middle to the next power on', () => {
    const largest = decode(infinity - 1);
    const middle = largest + (largest - decode(infinity - 2)) / 2;
    expect(encode(nextFloat32(middle, -1))).toBe(infinity - 1);
    expect(encode(middle)).toBe(infinity);
    expect(encode(-middle)).toBe(infinity | 0x8000);
  });

  test('tensors hold it encoded and give numbers', () => {
    const x = tensor([1, -2, 0.1], { dtype: name });
    expect(x.storage).toBeInstanceOf(Uint16Array);
    expect(x.elementSize()).toBe(2);
    expect([...x.numbers()]).toEqual([1, -2, decode(encode(0.1))]);
  });
});

/** The float32 next to a positive one. */
function nextFloat32(value: number, direction: 1 | -1): number {
  const bits = new Uint32Array(new Float32Array([value]).buffer);
  bits[0] += direction;
  return new Float32Array(bits.buffer)[0];
}
