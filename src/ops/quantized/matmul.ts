import { layer } from '../float/layer.ts';
import type { QuantizedOps } from '../signatures/index.ts';
import { activationQParams } from './convolution.ts';
import { quantizeCrossing } from './crossing.ts';

/** Dequantizes, multiplies in float, quantizes. Source: `qmatmul`. */
export const products: Pick<QuantizedOps, 'quantized::matmul'> = {
  'quantized::matmul': (a, b, scale, zeroPoint) => {
    activationQParams(a, 'quantized::matmul');
    activationQParams(b, 'quantized::matmul');
    const product = layer.matmul(quantizeCrossing.dequantize(a), quantizeCrossing.dequantize(b));
    return quantizeCrossing.quantizePerTensor(product, scale, zeroPoint, a.dtype as 'quint8' | 'qint8');
  },
};
