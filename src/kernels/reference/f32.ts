import type { ConvGeometryF32 } from '../f32/window.ts';

/** Obviously right twin of `gemmF32`: double precision, one element at a time. */
export function referenceGemmF32(options: {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: ArrayLike<number>;
  readonly b: ArrayLike<number>;
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly bias?: ArrayLike<number> | null;
  readonly initial?: ArrayLike<number>;
  readonly clamp?: { readonly min?: number; readonly max?: number };
}): Float64Array {
  const { m, n, k, a, b, transA, transB, bias, initial, clamp } = options;
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = (bias?.[j] ?? 0) + (initial?.[i * n + j] ?? 0);
      for (let p = 0; p < k; p++) {
        sum += (transA ? a[p * m + i] : a[i * k + p]) * (transB ? b[j * k + p] : b[p * n + j]);
      }
      out[i * n + j] = Math.max(clamp?.min ?? -Infinity, Math.min(clamp?.max ?? Infinity, sum));
    }
  }
  return out;
}

/**
 * Calls `visit` for every product of a convolution with the flat indices of its input, weight and output element. The
 * three kernels (forward, input gradient, weight gradient) are sums over exactly these triples.
 */
function forEachProduct(
  g: ConvGeometryF32,
  visit: (input: number, weight: number, output: number) => void,
): void {
  const axes = g.kernel.length;
  const inPerGroup = g.inChannels / g.groups;
  const outPerGroup = g.outChannels / g.groups;
  const taps = g.kernel.reduce((x, y) => x * y, 1);
  const inPixels = g.inSize.reduce((x, y) => x * y, 1);
  const outPixels = g.outSize.reduce((x, y) => x * y, 1);
  for (let position = 0; position < outPixels; position++) {
    for (let tap = 0; tap < taps; tap++) {
      let pixel = 0;
      let inside = true;
      let restOut = position;
      let restTap = tap;
      let scale = 1;
      for (let axis = axes - 1; axis >= 0; axis--) {
        const o = restOut % g.outSize[axis];
        const t = restTap % g.kernel[axis];
        restOut = Math.floor(restOut / g.outSize[axis]);
        restTap = Math.floor(restTap / g.kernel[axis]);
        const i = o * g.stride[axis] + t * g.dilation[axis] - g.padding[axis];
        if (i < 0 || i >= g.inSize[axis]) inside = false;
        pixel += i * scale;
        scale *= g.inSize[axis];
      }
      if (!inside) continue;
      for (let image = 0; image < g.batch; image++) {
        for (let oc = 0; oc < g.outChannels; oc++) {
          const group = Math.floor(oc / outPerGroup);
          for (let ic = 0; ic < inPerGroup; ic++) {
            visit(
              (image * inPixels + pixel) * g.inChannels + group * inPerGroup + ic,
              (oc * inPerGroup + ic) * taps + tap,
              (image * outPixels + position) * g.outChannels + oc,
            );
          }
        }
      }
    }
  }
}

/** Obviously right twin of `convForwardF32`. */
export function referenceConvForwardF32(
  input: ArrayLike<number>,
  weight: ArrayLike<number>,
  g: ConvGeometryF32,
  bias?: ArrayLike<number> | null,
): Float64Array {
  const length = g.batch * g.outSize.reduce((x, y) => x * y, 1) * g.outChannels;
  const out = Float64Array.from({ length }, (_, i) => bias?.[i % g.outChannels] ?? 0);
  forEachProduct(g, (i, w, o) => {
    out[o] += input[i] * weight[w];
  });
  return out;
}

/** Obviously right twin of `convInputGradF32`. */
export function referenceConvInputGradF32(
  gradOut: ArrayLike<number>,
  weight: ArrayLike<number>,
  g: ConvGeometryF32,
  bias?: ArrayLike<number> | null,
): Float64Array {
  const length = g.batch * g.inSize.reduce((x, y) => x * y, 1) * g.inChannels;
  const out = Float64Array.from({ length }, (_, i) => bias?.[i % g.inChannels] ?? 0);
  forEachProduct(g, (i, w, o) => {
    out[i] += gradOut[o] * weight[w];
  });
  return out;
}

/** Obviously right twin of `convWeightGradF32`. */
export function referenceConvWeightGradF32(
  input: ArrayLike<number>,
  gradOut: ArrayLike<number>,
  g: ConvGeometryF32,
): Float64Array {
  const taps = g.kernel.reduce((x, y) => x * y, 1);
  const out = new Float64Array((g.outChannels * g.inChannels * taps) / g.groups);
  forEachProduct(g, (i, w, o) => {
    out[w] += input[i] * gradOut[o];
  });
  return out;
}
