/**
 * The bits of float32 elements as integers: selecting between floats by masks on them has no branch to mispredict,
 * which on random data is several times faster. `+(a < b)` is how a comparison becomes 0 or 1 without one.
 */
export function bitsOf(x: Float32Array): Int32Array {
  return new Int32Array(x.buffer, x.byteOffset, x.length);
}

const one = new Float32Array(1);
const oneBits = bitsOf(one);

/** The bits of one number, rounded to float32. */
export function float32Bits(value: number): number {
  one[0] = value;
  return oneBits[0];
}
