import { type Interpreter, type Next, tensorArguments, withInterpreter } from '../../src/ops/dispatch.ts';
import { elementwise } from '../../src/ops/float/elementwise.ts';
import { layer } from '../../src/ops/float/layer.ts';
import { reduction } from '../../src/ops/float/reduction.ts';
import type { OpArgs, OpName, OpResult } from '../../src/ops/signatures/index.ts';
import type { ConvGeometry } from '../../src/ops/signatures/layer.ts';
import type { DType } from '../../src/tensor/dtype.ts';
import { fromStorage, Tensor } from '../../src/tensor/tensor.ts';

const COMPUTES = new Set<OpName>(
  [elementwise, layer, reduction].flatMap((table) => Object.keys(table) as OpName[]),
);
COMPUTES.delete('to');
COMPUTES.delete('clone');

/** The value with its tensors of dtype `from` converted, lists opened. */
function converted(value: unknown, from: DType, to: DType, next: Next): unknown {
  if (value instanceof Tensor) return value.dtype === from ? next('to', [value, to]) : value;
  return Array.isArray(value) ? value.map((item) => converted(item, from, to, next)) : value;
}

/** A convolution of float64 tensors, term by term; the library's own reference takes ten times as long. */
function conv2d(x: Tensor, weight: Tensor, bias: Tensor | null, geometry: ConvGeometry): Tensor {
  const { stride, padding, dilation, groups } = geometry;
  const [batch, channels, height, width] = x.shape;
  const [outputs, depth, kh, kw] = weight.shape;
  const size = [height, width].map((length, d) => {
    const reach = dilation[d] * ([kh, kw][d] - 1);
    return Math.floor((length + 2 * padding[d] - reach - 1) / stride[d]) + 1;
  });
  const pixels = x.permute(0, 2, 3, 1).contiguous().data;
  const taps = weight.permute(0, 2, 3, 1).contiguous().data;
  const out = new Float64Array(batch * size[0] * size[1] * outputs);
  let at = 0;
  for (let n = 0; n < batch; n++) {
    for (let oy = 0; oy < size[0]; oy++) {
      for (let ox = 0; ox < size[1]; ox++) {
        for (let o = 0; o < outputs; o++) {
          const first = Math.floor((o * groups) / outputs) * depth;
          let sum = bias?.data[o] ?? 0;
          for (let ky = 0; ky < kh; ky++) {
            const y = oy * stride[0] + ky * dilation[0] - padding[0];
            if (y < 0 || y >= height) continue;
            for (let kx = 0; kx < kw; kx++) {
              const column = ox * stride[1] + kx * dilation[1] - padding[1];
              if (column < 0 || column >= width) continue;
              const from = ((n * height + y) * width + column) * channels + first;
              const tap = ((o * kh + ky) * kw + kx) * depth;
              for (let c = 0; c < depth; c++) sum += pixels[from + c] * taps[tap + c];
            }
          }
          out[at++] = sum;
        }
      }
    }
  }
  return fromStorage(out, [batch, ...size, outputs], 'float64').permute(0, 3, 1, 2);
}

const doubles: Interpreter = {
  name: 'doubles',
  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    const tensors = tensorArguments(args);
    const takesFloats = tensors.some((t) => t.dtype === 'float32') && !tensors.some((t) => t.isQuantized);
    if (!COMPUTES.has(op) || !takesFloats) return next(op, args);
    const wideArgs = converted(args, 'float32', 'float64', next) as OpArgs<K>;
    const wide = op === 'conv2d' ? conv2d(...(wideArgs as OpArgs<'conv2d'>)) : next(op, wideArgs);
    return converted(wide, 'float64', 'float32', next) as OpResult<K>;
  },
};

/**
 * Runs `body` with every float32 operator computed in double and rounded once, in plain TypeScript: float32 sums differ in
 * their last bits with the order of their terms, these do not. Twin of test/golden/double_arithmetic.py.
 */
export function inDoubles<T>(body: () => T): T {
  return withInterpreter(doubles, body);
}
