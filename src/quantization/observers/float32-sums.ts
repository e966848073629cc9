const { fround } = Math;

/** Running sums in double, each rounded to float32. Source: `torch.cumsum` on the CPU. */
export function cumulativeSum(values: Float32Array): Float32Array {
  let sum = 0;
  return values.map((v) => {
    sum += v;
    return sum;
  });
}

/** Lanes of PyTorch's vectorized sum (AVX2, eight floats), and the accumulators it keeps side by side. */
const LANES = 8;
const ROWS = 4;
const LEVELS = 4;

/**
 * The sum in float32 in the order in which PyTorch adds: eight lanes by four rows, cascaded over four levels. The order
 * matters because the clipping search compares two such sums. Source: `at::native::cascade_sum`.
 */
export function sumFloat32(values: Float32Array): number {
  const n = values.length;
  const vectors = Math.floor(n / LANES);
  const size = Math.floor(vectors / ROWS);
  const power = Math.max(4, Math.floor(ceilLog2(size) / LEVELS));
  const step = 2 ** power;
  const block = LANES * ROWS;
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(block));
  const [first] = levels;
  let i = 0;
  while (i + step <= size) {
    for (const end = i + step; i < end; i++) {
      for (let k = 0; k < block; k++) first[k] += values[i * block + k];
    }
    for (let j = 1; j < LEVELS; j++) {
      for (let k = 0; k < block; k++) levels[j][k] += levels[j - 1][k];
      levels[j - 1].fill(0);
      if (i % 2 ** ((j + 1) * power) >= 2 ** (j * power)) break;
    }
  }
  for (; i < size; i++) for (let k = 0; k < block; k++) first[k] += values[i * block + k];
  for (let j = 1; j < LEVELS; j++) for (let k = 0; k < block; k++) first[k] += levels[j][k];
  for (let v = size * ROWS; v < vectors; v++) {
    for (let k = 0; k < LANES; k++) first[k] += values[v * LANES + k];
  }
  for (let row = 1; row < ROWS; row++) {
    for (let k = 0; k < LANES; k++) first[k] += first[row * LANES + k];
  }
  let sum = 0;
  for (let k = vectors * LANES; k < n; k++) sum = fround(sum + values[k]);
  for (let k = 0; k < LANES; k++) sum = fround(sum + first[k]);
  return sum;
}

function ceilLog2(x: number): number {
  return x <= 1 ? 0 : 32 - Math.clz32(x - 1);
}
