import { ShapeError } from '../../core/errors.ts';
import { qMaxPool2d } from '../../kernels/int8/pooling.ts';
import { formatShape } from '../../tensor/shape.ts';
import { fromStorage, quantizedDTypeOf, Tensor } from '../../tensor/tensor.ts';
import { elementwise } from '../float/elementwise.ts';
import { adaptiveWindows, average, slidingWindows, type Windows, windowCount } from '../float/layer/pool.ts';
import type { Ops } from '../signatures/index.ts';
import { activationQParams, channelsLastData, channelsLastTensor } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';

/** Sums of more elements than this may need more than the 24 bits that float32 holds exactly. */
const EXACT_IN_FLOAT32 = 2 ** 16;

function requireVolumes(fn: string, x: Tensor): void {
  if (x.ndim === 5) return;
  throw new ShapeError({
    fn,
    argument: 'input',
    expected: 'shape [N, C, D, H, W]',
    got: formatShape(x.shape),
  });
}

/** The largest of a box is the largest of its planes' largest: two pools of the 2-d kernel. */
const maxPool3d: Ops['maxPool3d'] = (x, geometry) => {
  const fn = 'maxPool3d';
  const qparams = activationQParams(x, fn);
  requireVolumes(fn, x);
  const [batch, channels, ...inputSize] = x.shape;
  const [depth, height, width] = inputSize;
  const { kernelSize, stride, padding, dilation } = geometry;
  const outputSize = inputSize.map((size, d) => windowCount(fn, size, geometry, d));
  const planes = qMaxPool2d(channelsLastData(x), channels, {
    batch: batch * depth,
    inputSize: [height, width],
    kernel: kernelSize.slice(1),
    stride: stride.slice(1),
    padding: padding.slice(1),
    dilation: dilation.slice(1),
    outputSize: outputSize.slice(1),
  });
  const out = qMaxPool2d(planes, outputSize[1] * outputSize[2] * channels, {
    batch,
    inputSize: [depth, 1],
    kernel: [kernelSize[0], 1],
    stride: [stride[0], 1],
    padding: [padding[0], 0],
    dilation: [dilation[0], 1],
    outputSize: [outputSize[0], 1],
  });
  return channelsLastTensor(out, [batch, channels, ...outputSize], x, qparams);
};

/** `nearbyint(Σ(x − z) · f32(1/n)) + z`: sums of integers are exact in floats. Source: `qavg_pool3d_nhwc_kernel`. */
function meanOfWindows(fn: string, x: Tensor, windows: Windows): Tensor {
  const { zeroPoint } = activationQParams(x, fn);
  const { starts, divisors, outSize } = windows;
  const { storage, shape, strides, offset, dtype } = x;
  const units = { scheme: 'per_tensor_affine', scale: 1, zeroPoint } as const;
  const numbers = quantizeCrossing.dequantize(
    new Tensor({ storage, shape, strides, offset, dtype, qparams: units }),
  );
  const isSmall = starts.every((start, o) => o === 0 || start - starts[o - 1] <= EXACT_IN_FLOAT32);
  const exact = isSmall ? numbers : elementwise.to(numbers, 'float64');
  const sums = average(fn, exact, { ...windows, divisors: new Float64Array(divisors.length).fill(1) });
  const shares = fromStorage(
    Float32Array.from(divisors, (n) => 1 / n),
    [1, 1, ...outSize],
    'float32',
  );
  const means = elementwise.mul(elementwise.to(sums, 'float32'), shares);
  const out = quantizeCrossing.quantizePerTensor(means, 1, zeroPoint, quantizedDTypeOf(x, fn));
  return new Tensor({
    storage: out.storage,
    shape: out.shape,
    strides: out.strides,
    dtype,
    qparams: x.qparams,
  });
}

/** Pools on quantized volumes; quantization parameters stay the same. */
export const volumePooling: Pick<Ops, 'maxPool3d' | 'avgPool3d' | 'adaptiveAvgPool3d'> = {
  maxPool3d,
  avgPool3d: (x, geometry) => {
    requireVolumes('avgPool3d', x);
    const windows = slidingWindows('avgPool3d', x.shape, geometry, geometry.countIncludePad);
    return meanOfWindows('avgPool3d', x, windows);
  },
  adaptiveAvgPool3d: (x, outputSize) => {
    requireVolumes('adaptiveAvgPool3d', x);
    return meanOfWindows('adaptiveAvgPool3d', x, adaptiveWindows('adaptiveAvgPool3d', x.shape, outputSize));
  },
};
