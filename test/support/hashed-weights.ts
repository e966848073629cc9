import type { AnyModule } from '../../src/nn/module.ts';
import { tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** n numbers in [−1, 1) from a hash of (stream, index): the twin of `noise` in test/golden/common.py. */
export function noise(n: number, stream: number): Float64Array {
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let x = (Math.imul(i, 2654435761) + Math.imul(stream, 40503)) | 0;
    x = Math.imul(x ^ (x >>> 15), 2246822507);
    x = Math.imul(x ^ (x >>> 13), 3266489909);
    out[i] = ((x ^ (x >>> 16)) >>> 0) / 2147483648 - 1;
  }
  return out;
}

/** Weights from {@link noise}, one stream per key: the twin of `fill` in test/golden/common.py. */
export function fill(model: AnyModule): void {
  let stream = 0;
  for (const [key, value] of model.stateDict()) {
    const t = value as Tensor;
    const u = noise(t.numel, stream++);
    if (key.endsWith('num_batches_tracked')) continue;
    const isScale = key.endsWith('running_var') || key.endsWith('weight');
    const gain = t.ndim > 1 ? Math.sqrt(3 / (t.numel / t.shape[0])) : isScale ? 0.5 : 0.1;
    const shift = t.ndim === 1 && isScale ? 1 : 0;
    for (let i = 0; i < u.length; i++) t.storage[i] = shift + gain * u[i];
  }
}

/** A float32 tensor of {@link noise}. */
export function noiseTensor(shape: readonly number[], stream: number): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  return tensor(Float32Array.from(noise(n, stream)), { shape });
}
