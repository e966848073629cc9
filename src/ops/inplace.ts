import { AutogradError, DTypeError, ShapeError } from '../core/errors.ts';
import { defaultGenerator, type Generator } from '../core/random.ts';
import { equalQParams } from '../tensor/qparams.ts';
import { broadcastStrides, contiguousStrides, formatShape } from '../tensor/shape.ts';
import { copyStrided, encodeNumbers, type Tensor } from '../tensor/tensor.ts';
import { dispatch } from './dispatch.ts';
import { convert } from './float/elementwise/map.ts';
import { isGradEnabled, noGrad } from './grad-mode.ts';
import { integersOverwritten } from './integers.ts';
import { installMethods } from './methods/install.ts';

declare module '../tensor/tensor.ts' {
  /**
   * Methods ending in `_` write into this tensor's storage, through views, and return it. They throw an
   * {@link AutogradError} where recording is on and the tensor (or what is written) requires gradients: wrap them in
   * `noGrad()`. A tensor that a recorded operation saved must not be changed before `backward()`.
   */
  interface Tensor {
    /** Overwrites the elements with those of `source`, broadcast and converted. Source: `torch.Tensor.copy_`. */
    copy_(source: Tensor): this;
    /** Overwrites every element with one value. Source: `torch.Tensor.fill_`. */
    fill_(value: number): this;
    /** Overwrites every element with 0. Source: `torch.Tensor.zero_`. */
    zero_(): this;
    /** Adds `alpha · other`, broadcast. Source: `torch.Tensor.add_`. */
    add_(other: Tensor | number, options?: { readonly alpha?: number }): this;
    /** Subtracts `alpha · other`, broadcast. Source: `torch.Tensor.sub_`. */
    sub_(other: Tensor | number, options?: { readonly alpha?: number }): this;
    /** Multiplies by `other`, broadcast. Source: `torch.Tensor.mul_`. */
    mul_(other: Tensor | number): this;
    /** Divides by `other`, broadcast. Source: `torch.Tensor.div_`. */
    div_(other: Tensor | number): this;
    /** Clamps into [min, max]; null leaves a side open. Source: `torch.Tensor.clamp_`. */
    clamp_(min?: number | null, max?: number | null): this;
    /** Replaces negative elements by 0. Source: `torch.Tensor.relu_`. */
    relu_(): this;
    /** Fills with uniform random numbers from [low, high). Source: `torch.Tensor.uniform_`. */
    uniform_(low?: number, high?: number, generator?: Generator): this;
    /** Fills with normal random numbers. Source: `torch.Tensor.normal_`. */
    normal_(mean?: number, std?: number, generator?: Generator): this;
  }
}

/**
 * Writes the elements of `source`, broadcast and converted to the dtype of `target`, into the storage of `target`.
 *
 * @throws {@link ShapeError} where `source` does not broadcast to `target`.
 * @throws {@link DTypeError} where one is quantized and the other is not, or their parameters differ.
 * @throws {@link AutogradError} where the change would be lost to gradients being recorded.
 */
export function overwrite(target: Tensor, source: Tensor, fn: string): Tensor {
  requireUnrecorded(target, fn);
  requireUnrecorded(source, fn);
  if (!sameQParams(target, source)) {
    throw new DTypeError({
      fn,
      argument: 'source',
      expected: `a tensor of dtype ${target.dtype} with the same scale and zero point`,
      got: source.dtype,
      fix: 'Quantize or dequantize it first.',
    });
  }
  const lead = target.ndim - source.ndim;
  const fits = lead >= 0 && source.shape.every((size, d) => size === 1 || size === target.shape[d + lead]);
  if (!fits) {
    throw new ShapeError({
      fn,
      argument: 'source',
      expected: `a shape that broadcasts to ${formatShape(target.shape)}`,
      got: formatShape(source.shape),
    });
  }
  const values = target.dtype === source.dtype ? source : convert(source, target.dtype);
  // A source that overlaps its target must be read before it is overwritten.
  const from = values.storage.buffer === target.storage.buffer ? values.storage.slice() : values.storage;
  const strides = broadcastStrides(values.shape, values.strides, target.shape);
  copyStrided(from, values.offset, strides, target.storage, target.offset, target.strides, target.shape);
  integersOverwritten(target, source);
  return target;
}

function sameQParams(a: Tensor, b: Tensor): boolean {
  const p = a.qparams;
  const q = b.qparams;
  if (!p || !q) return p === q;
  return a.dtype === b.dtype && equalQParams(p, q);
}

function requireUnrecorded(x: Tensor, fn: string): void {
  if (!x.requiresGrad || !isGradEnabled()) return;
  throw new AutogradError({
    fn,
    argument: 'tensor',
    expected: 'tensors that do not require gradients, while operations are being recorded',
    got: x.isLeaf ? 'a leaf with requiresGrad' : `a result of ${x.gradFn?.name}`,
    fix: 'Wrap the change in noGrad(() => …), or use the operator that returns a new tensor.',
  });
}

/** Computes a new value from the old one without recording, and writes it back. */
function update(x: Tensor, fn: string, value: () => Tensor, other?: Tensor | number): Tensor {
  requireUnrecorded(x, fn);
  if (typeof other === 'object') requireUnrecorded(other, fn);
  return noGrad(() => overwrite(x, value(), fn));
}

/** Fills row-major, so that a seed gives the same numbers whatever the layout. */
function fillRandom(x: Tensor, fn: string, draw: (into: Float32Array | Float64Array) => void): Tensor {
  requireUnrecorded(x, fn);
  const values = x.dtype === 'float64' ? new Float64Array(x.numel) : new Float32Array(x.numel);
  draw(values);
  const rowMajor = contiguousStrides(x.shape);
  copyStrided(encodeNumbers(values, x.dtype), 0, rowMajor, x.storage, x.offset, x.strides, x.shape);
  integersOverwritten(x, null);
  return x;
}

installMethods({
  copy_(source: Tensor): Tensor {
    return overwrite(this, source, 'copy_');
  },
  fill_(value: number): Tensor {
    return fill(this, value, 'fill_');
  },
  zero_(): Tensor {
    return fill(this, 0, 'zero_');
  },
  add_(other: Tensor | number, options: { readonly alpha?: number } = {}): Tensor {
    return update(this, 'add_', () => dispatch('add', this, other, options.alpha ?? 1), other);
  },
  sub_(other: Tensor | number, options: { readonly alpha?: number } = {}): Tensor {
    return update(this, 'sub_', () => dispatch('sub', this, other, options.alpha ?? 1), other);
  },
  mul_(other: Tensor | number): Tensor {
    return update(this, 'mul_', () => dispatch('mul', this, other), other);
  },
  div_(other: Tensor | number): Tensor {
    return update(this, 'div_', () => dispatch('div', this, other), other);
  },
  clamp_(min: number | null = null, max: number | null = null): Tensor {
    return update(this, 'clamp_', () => dispatch('clamp', this, min, max));
  },
  relu_(): Tensor {
    return update(this, 'relu_', () => dispatch('relu', this));
  },
  uniform_(low = 0, high = 1, generator: Generator = defaultGenerator): Tensor {
    return fillRandom(this, 'uniform_', (into) => {
      for (let i = 0; i < into.length; i++) into[i] = low + (high - low) * generator.uniform();
    });
  },
  normal_(mean = 0, std = 1, generator: Generator = defaultGenerator): Tensor {
    return fillRandom(this, 'normal_', (into) => {
      generator.fillNormal(into);
      for (let i = 0; i < into.length; i++) into[i] = mean + std * into[i];
    });
  },
});

function fill(x: Tensor, value: number, fn: string): Tensor {
  requireUnrecorded(x, fn);
  if (x.qparams) {
    throw new DTypeError({
      fn,
      argument: 'tensor',
      expected: 'a plain tensor',
      got: x.dtype,
      fix: 'Fill a float tensor and quantize it.',
    });
  }
  const from = encodeNumbers([value], x.dtype);
  const still = x.shape.map(() => 0);
  copyStrided(from, 0, still, x.storage, x.offset, x.strides, x.shape);
  integersOverwritten(x, null);
  return x;
}
