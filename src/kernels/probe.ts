/** One vector for the 8-bit dot product: four groups of four signed weights × unsigned activations, added to `start`. */
export interface DotProbe {
  readonly name: string;
  readonly weights: Int8Array;
  readonly activations: Uint8Array;
  readonly start: Int32Array;
  readonly expected: Int32Array;
}

function probe(
  name: string,
  weights: readonly number[],
  activations: readonly number[],
  start = 0,
): DotProbe {
  const w = Int8Array.from({ length: 16 }, (_, i) => weights[i % weights.length]);
  const x = Uint8Array.from({ length: 16 }, (_, i) => activations[i % activations.length]);
  const expected = Int32Array.from({ length: 4 }, (_, lane) => {
    let sum = start;
    for (let i = 4 * lane; i < 4 * lane + 4; i++) sum += w[i] * x[i];
    return sum;
  });
  return { name, weights: w, activations: x, start: new Int32Array(4).fill(start), expected };
}

/**
 * Vectors on which every known wrong implementation of the relaxed dot product shows itself: those that add products
 * in 16 bits with saturation (x86 before VNNI: vpmaddubsw), and those that read the activations as signed (ARM: sdot).
 * Results are written with exact integer arithmetic, never measured.
 */
export const dotProbes: readonly DotProbe[] = [
  probe('activations below 128', [1, -2, 3, -4], [127, 100, 1, 0]),
  probe('activations above 127 are unsigned', [1, 1, 1, 1], [128, 200, 255, 0]),
  probe('positive pair does not saturate to 16 bits', [127, 127, 127, 127], [255, 255, 255, 255]),
  probe('negative pair does not saturate to 16 bits', [-128, -128, -128, -128], [255, 255, 255, 255]),
  probe('pairs of opposite sign', [127, 127, -128, -128], [255, 255, 255, 255]),
  probe(
    'distinct lanes',
    [-128, -127, -1, 0, 1, 2, 63, 64, 65, 100, 126, 127, 7, -7, 31, -31],
    [255, 254, 253, 129, 128, 127, 126, 64, 63, 3, 2, 1, 0, 255, 128, 17],
  ),
  probe('accumulator near the end of its range', [-128, -128, -128, -128], [255, 255, 255, 255], 2 ** 31 - 1),
  probe('accumulator near the start of its range', [127, 127, 127, 127], [255, 255, 255, 255], -(2 ** 31)),
];
