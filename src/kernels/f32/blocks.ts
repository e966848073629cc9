import type { Engine } from '../engine.ts';

/** Floats of one operand handled at a time (64 KiB): up to four operands stay in L2. */
const BLOCK_FLOATS = 16 * 1024;

/**
 * Runs an element-wise kernel over flat arrays of equal length, a block at a time: `inputs` are copied in, `kernel` gets one
 * address per input and per output and the count rounded up to 4, and `outputs` are copied back. An array may be both.
 */
export function inBlocks(
  engine: Engine,
  inputs: readonly Float32Array[],
  outputs: readonly Float32Array[],
  kernel: (input: readonly number[], output: readonly number[], count: number) => void,
): void {
  const length = (inputs[0] ?? outputs[0]).length;
  if (length === 0) return;
  engine.scratch((take) => {
    const size = Math.min(BLOCK_FLOATS, Math.ceil(length / 4) * 4) * 4;
    const sources = inputs.map(() => take(size));
    // What is read and written goes through one block.
    const targets = outputs.map((array) => {
      const i = inputs.indexOf(array);
      return i < 0 ? take(size) : sources[i];
    });
    const f32 = engine.heap.f32;
    for (let from = 0; from < length; from += BLOCK_FLOATS) {
      const to = Math.min(length, from + BLOCK_FLOATS);
      const whole = from === 0 && to === length;
      inputs.forEach((array, i) => {
        f32.set(whole ? array : array.subarray(from, to), sources[i] >> 2);
      });
      kernel(sources, targets, Math.ceil((to - from) / 4) * 4);
      outputs.forEach((array, i) => {
        array.set(f32.subarray(targets[i] >> 2, (targets[i] >> 2) + to - from), from);
      });
    }
  });
}
