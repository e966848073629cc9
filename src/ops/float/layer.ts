import type { LayerOps, Ops } from '../signatures/index.ts';
import { batchNormEval, batchNormTrain } from './layer/batch-norm.ts';
import { convolution, convolutionTranspose } from './layer/conv.ts';
import { embedding, embeddingBag } from './layer/embedding.ts';
import { interpolate } from './layer/interpolate.ts';
import { groupNorm, layerNorm } from './layer/layer-norm.ts';
import { nllLoss } from './layer/loss.ts';
import { bmm, linear, matmul } from './layer/matmul.ts';
import { adaptiveAvgPool, avgPool, maxPool } from './layer/pool.ts';
import { gruPointwise, lstmPointwise } from './layer/recurrent.ts';

/** Layer operators on plain tensors. */
export const layer: { readonly [K in keyof LayerOps]: Ops[K] } = {
  matmul,
  bmm,
  linear,
  conv1d: (x, weight, bias, geometry) => convolution('conv1d', x, weight, bias, geometry),
  conv2d: (x, weight, bias, geometry) => convolution('conv2d', x, weight, bias, geometry),
  conv3d: (x, weight, bias, geometry) => convolution('conv3d', x, weight, bias, geometry),
  convTranspose1d: (x, weight, bias, geometry) =>
    convolutionTranspose('convTranspose1d', x, weight, bias, geometry),
  convTranspose2d: (x, weight, bias, geometry) =>
    convolutionTranspose('convTranspose2d', x, weight, bias, geometry),
  convTranspose3d: (x, weight, bias, geometry) =>
    convolutionTranspose('convTranspose3d', x, weight, bias, geometry),
  maxPool1d: (x, geometry) => maxPool('maxPool1d', x, geometry),
  maxPool2d: (x, geometry) => maxPool('maxPool2d', x, geometry),
  maxPool3d: (x, geometry) => maxPool('maxPool3d', x, geometry),
  avgPool1d: (x, geometry) => avgPool('avgPool1d', x, geometry),
  avgPool2d: (x, geometry) => avgPool('avgPool2d', x, geometry),
  avgPool3d: (x, geometry) => avgPool('avgPool3d', x, geometry),
  adaptiveAvgPool1d: (x, outputSize) => adaptiveAvgPool('adaptiveAvgPool1d', x, outputSize),
  adaptiveAvgPool2d: (x, outputSize) => adaptiveAvgPool('adaptiveAvgPool2d', x, outputSize),
  adaptiveAvgPool3d: (x, outputSize) => adaptiveAvgPool('adaptiveAvgPool3d', x, outputSize),
  interpolate,
  batchNormTrain,
  batchNormEval,
  layerNorm,
  groupNorm,
  nllLoss,
  embedding,
  embeddingBag,
  lstmPointwise,
  gruPointwise,
};
