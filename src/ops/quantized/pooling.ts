import { ShapeError } from '../../core/errors.ts';
import type { ConvGeometry } from '../../kernels/geometry.ts';
import { qAdaptiveAvgPool2d, qAvgPool2d, qMaxPool2d } from '../../kernels/int8/pooling.ts';
import { formatShape, type Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { windowCount } from '../float/layer/pool.ts';
import type { Ops } from '../signatures/index.ts';
import type { PoolGeometry } from '../signatures/layer.ts';
import { activationQParams, channelsLastData, channelsLastTensor } from './convolution.ts';
import { rearranging } from './rearrange.ts';

/** The window geometry for the kernels, with the output size that floor or ceil mode gives. */
export function poolGeometry(fn: string, shape: Shape, geometry: PoolGeometry): ConvGeometry {
  const inputSize = shape.slice(2);
  return {
    batch: shape[0],
    inputSize,
    kernel: geometry.kernelSize,
    stride: geometry.stride,
    padding: geometry.padding,
    dilation: geometry.dilation,
    outputSize: inputSize.map((size, d) => windowCount(fn, size, geometry, d)),
  };
}

function requireImages(fn: string, x: Tensor): void {
  if (x.ndim === 4) return;
  throw new ShapeError({ fn, argument: 'input', expected: 'shape [N, C, H, W]', got: formatShape(x.shape) });
}

const maxPool2d: Ops['maxPool2d'] = (x, geometry) => {
  const qparams = activationQParams(x, 'maxPool2d');
  requireImages('maxPool2d', x);
  const window = poolGeometry('maxPool2d', x.shape, geometry);
  const [batch, channels] = x.shape;
  const out = qMaxPool2d(channelsLastData(x), channels, window);
  return channelsLastTensor(out, [batch, channels, ...window.outputSize], x, qparams);
};

const avgPool2d: Ops['avgPool2d'] = (x, geometry) => {
  const qparams = activationQParams(x, 'avgPool2d');
  requireImages('avgPool2d', x);
  const window = poolGeometry('avgPool2d', x.shape, geometry);
  const [batch, channels] = x.shape;
  const { zeroPoint } = qparams;
  const { countIncludePad } = geometry;
  const out = qAvgPool2d(channelsLastData(x), channels, window, { zeroPoint, countIncludePad });
  return channelsLastTensor(out, [batch, channels, ...window.outputSize], x, qparams);
};

const adaptiveAvgPool2d: Ops['adaptiveAvgPool2d'] = (x, outputSize) => {
  const qparams = activationQParams(x, 'adaptiveAvgPool2d');
  requireImages('adaptiveAvgPool2d', x);
  const [batch, channels, height, width] = x.shape;
  const out = qAdaptiveAvgPool2d(channelsLastData(x), {
    batch,
    channels,
    inputSize: [height, width],
    outputSize: [outputSize[0], outputSize[1]],
    zeroPoint: qparams.zeroPoint,
  });
  return channelsLastTensor(out, [batch, channels, ...outputSize], x, qparams);
};

/** A pool over [N, C, L], as one over images of height 1. */
function overLines(fn: string, x: Tensor, pool: (images: Tensor) => Tensor): Tensor {
  if (x.ndim !== 3) {
    throw new ShapeError({ fn, argument: 'input', expected: 'shape [N, C, L]', got: formatShape(x.shape) });
  }
  return rearranging.squeeze(pool(rearranging.unsqueeze(x, 2)), 2);
}

/** The geometry of a line in an image of height 1. */
export function imageGeometry<G extends PoolGeometry>(geometry: G): G {
  return {
    ...geometry,
    kernelSize: [1, ...geometry.kernelSize],
    stride: [1, ...geometry.stride],
    padding: [0, ...geometry.padding],
    dilation: [1, ...geometry.dilation],
  };
}

/** Pools on quantized images and lines; quantization parameters stay the same. */
export const pooling: Partial<Ops> = {
  maxPool1d: (x, geometry) => overLines('maxPool1d', x, (y) => maxPool2d(y, imageGeometry(geometry))),
  maxPool2d,
  avgPool1d: (x, geometry) => overLines('avgPool1d', x, (y) => avgPool2d(y, imageGeometry(geometry))),
  avgPool2d,
  adaptiveAvgPool1d: (x, size) =>
    overLines('adaptiveAvgPool1d', x, (y) => adaptiveAvgPool2d(y, [1, ...size])),
  adaptiveAvgPool2d,
};
