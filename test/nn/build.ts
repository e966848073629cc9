import * as nn from '../../src/nn/index.ts';
import { ones, tensor } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** Containers in one module, under the names PyTorch would give them. */
class Named extends nn.Module {
  layers = new nn.ModuleList([new nn.Linear(3, 3), new nn.Linear(3, 3)]);
  choices = new nn.ModuleDict({ relu: new nn.ReLU(), tanh: new nn.Tanh() });
  gains = new nn.ParameterList([new nn.Parameter(ones([3])), new nn.Parameter(ones([1]))]);

  forward(x: Tensor): Tensor {
    let y = x;
    for (const layer of this.layers) y = this.choices.get('tanh')(layer(y));
    return this.choices.get('relu')(y).mul(this.gains.at(0)).add(this.gains.at(1));
  }
}

const { intrinsic } = nn;

/** Our constructor call for every case of `golden/nn.py`, under the same name. */
export const BUILD: Readonly<Record<string, () => nn.AnyModule>> = {
  Linear: () => new nn.Linear(5, 4),
  'Linear without bias': () => new nn.Linear(5, 4, { bias: false }),
  Bilinear: () => new nn.Bilinear(3, 4, 2),
  Identity: () => new nn.Identity(),

  Conv1d: () => new nn.Conv1d(4, 6, 3, { stride: 2, padding: 1 }),
  'Conv1d circular': () => new nn.Conv1d(2, 3, 3, { padding: 2, paddingMode: 'circular' }),
  Conv2d: () => new nn.Conv2d(1, 20, 5),
  'Conv2d grouped': () =>
    new nn.Conv2d(4, 6, [3, 2], { stride: [2, 1], padding: [1, 0], groups: 2, bias: false }),
  'Conv2d dilated': () => new nn.Conv2d(2, 3, 3, { dilation: [2, 1], padding: 2 }),
  'Conv2d same': () => new nn.Conv2d(2, 3, [4, 3], { padding: 'same' }),
  'Conv2d valid': () => new nn.Conv2d(2, 3, 2, { padding: 'valid' }),
  'Conv2d reflect': () => new nn.Conv2d(2, 3, 3, { padding: [1, 2], paddingMode: 'reflect' }),
  'Conv2d replicate': () => new nn.Conv2d(2, 3, 3, { padding: 1, paddingMode: 'replicate', stride: 2 }),
  'Conv2d circular same': () => new nn.Conv2d(2, 2, [2, 3], { padding: 'same', paddingMode: 'circular' }),
  'Conv2d depthwise, unbatched': () => new nn.Conv2d(5, 5, 3, { padding: 1, groups: 5 }),
  Conv3d: () => new nn.Conv3d(2, 3, 2, { stride: [1, 2, 1], padding: 1 }),
  ConvTranspose1d: () => new nn.ConvTranspose1d(3, 4, 4, { stride: 2, padding: 1 }),
  ConvTranspose2d: () =>
    new nn.ConvTranspose2d(4, 2, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2, dilation: 1 }),
  ConvTranspose3d: () =>
    new nn.ConvTranspose3d(2, 3, 2, { stride: [2, 1, 2], padding: [0, 1, 0], outputPadding: [1, 0, 0] }),

  BatchNorm1d: () => new nn.BatchNorm1d(4),
  'BatchNorm1d sequence': () => new nn.BatchNorm1d(3, { eps: 1e-3, momentum: 0.2 }),
  BatchNorm2d: () => new nn.BatchNorm2d(3),
  'BatchNorm2d plain': () => new nn.BatchNorm2d(3, { affine: false, trackRunningStats: false }),
  'BatchNorm2d cumulative': () => new nn.BatchNorm2d(3, { momentum: null }),
  BatchNorm3d: () => new nn.BatchNorm3d(2),
  'InstanceNorm2d tracking': () => new nn.InstanceNorm2d(3, { affine: true, trackRunningStats: true }),
  LayerNorm: () => new nn.LayerNorm(6),
  'LayerNorm two dimensions': () => new nn.LayerNorm([3, 4], { eps: 1e-12, elementwiseAffine: false }),
  GroupNorm: () => new nn.GroupNorm(3, 6),
  InstanceNorm1d: () => new nn.InstanceNorm1d(3),
  'InstanceNorm1d unbatched': () => new nn.InstanceNorm1d(3),
  InstanceNorm3d: () => new nn.InstanceNorm3d(2, { affine: true }),

  ReLU: () => new nn.ReLU(),
  'ReLU inplace': () => new nn.ReLU({ inplace: true }),
  ReLU6: () => new nn.ReLU6(),
  Hardtanh: () => new nn.Hardtanh(),
  'Hardtanh wide': () => new nn.Hardtanh({ minVal: -2, maxVal: 2.5, inplace: true }),
  LeakyReLU: () => new nn.LeakyReLU(),
  'LeakyReLU steep': () => new nn.LeakyReLU(0.2, { inplace: true }),
  PReLU: () => new nn.PReLU(),
  'PReLU per channel': () => new nn.PReLU({ numParameters: 3, init: 0.1 }),
  ELU: () => new nn.ELU(),
  'ELU half': () => new nn.ELU(0.5),
  GELU: () => new nn.GELU(),
  'GELU tanh': () => new nn.GELU({ approximate: 'tanh' }),
  SiLU: () => new nn.SiLU(),
  Hardswish: () => new nn.Hardswish(),
  Hardsigmoid: () => new nn.Hardsigmoid(),
  Sigmoid: () => new nn.Sigmoid(),
  Tanh: () => new nn.Tanh(),
  Softplus: () => new nn.Softplus(),
  Softmax: () => new nn.Softmax(-1),
  LogSoftmax: () => new nn.LogSoftmax(1),
  GLU: () => new nn.GLU(),

  MaxPool1d: () => new nn.MaxPool1d(3, { stride: 2 }),
  MaxPool2d: () => new nn.MaxPool2d(2),
  'MaxPool2d padded': () =>
    new nn.MaxPool2d([3, 2], { stride: [2, 1], padding: [1, 0], dilation: [1, 2], ceilMode: true }),
  MaxPool3d: () => new nn.MaxPool3d(2),
  AvgPool1d: () => new nn.AvgPool1d(2),
  AvgPool2d: () => new nn.AvgPool2d(3, { stride: 2, padding: 1 }),
  'AvgPool2d without padding': () =>
    new nn.AvgPool2d([3, 2], { padding: 1, countIncludePad: false, ceilMode: true }),
  AvgPool3d: () => new nn.AvgPool3d(2),
  AdaptiveAvgPool1d: () => new nn.AdaptiveAvgPool1d(3),
  AdaptiveAvgPool2d: () => new nn.AdaptiveAvgPool2d(1),
  'AdaptiveAvgPool2d pair': () => new nn.AdaptiveAvgPool2d([2, null]),
  AdaptiveAvgPool3d: () => new nn.AdaptiveAvgPool3d([2, null, 1]),
  'Upsample nearest': () => new nn.Upsample({ scaleFactor: 2 }),
  'Upsample fraction': () => new nn.Upsample({ scaleFactor: 1.7 }),
  'Upsample bilinear': () => new nn.Upsample({ scaleFactor: [2, 1.5], mode: 'bilinear' }),
  'Upsample corners': () => new nn.Upsample({ size: [5, 7], mode: 'bilinear', alignCorners: true }),
  'Upsample linear': () => new nn.Upsample({ size: 7, mode: 'linear' }),
  ZeroPad2d: () => new nn.ZeroPad2d([1, 2, 0, 1]),
  Flatten: () => new nn.Flatten(),
  'Flatten middle': () => new nn.Flatten(1, 2),
  Unflatten: () => new nn.Unflatten(1, [2, 3]),
  Dropout: () => new nn.Dropout(0.5),
  Dropout1d: () => new nn.Dropout1d(0.25),
  Dropout2d: () => new nn.Dropout2d(0.2, { inplace: true }),

  Embedding: () => new nn.Embedding(10, 5),
  'Embedding small': () => new nn.Embedding(4, 3, { paddingIdx: 1 }),
  EmbeddingBag: () => new nn.EmbeddingBag(10, 4),
  'EmbeddingBag offsets': () => new nn.EmbeddingBag(10, 4, { mode: 'sum' }),
  'EmbeddingBag last offset': () => new nn.EmbeddingBag(10, 4, { mode: 'max', includeLastOffset: true }),

  RNN: () => new nn.RNN(4, 3),
  'RNN relu': () => new nn.RNN(4, 3, { numLayers: 2, nonlinearity: 'relu', bias: false }),
  LSTM: () => new nn.LSTM(4, 5),
  'LSTM deep': () => new nn.LSTM(4, 3, { numLayers: 2, batchFirst: true, bidirectional: true, dropout: 0.5 }),
  'LSTM unbatched': () => new nn.LSTM(4, 3),
  'LSTM packed': () => new nn.LSTM(4, 3, { numLayers: 2, bidirectional: true }),
  'LSTM packed unsorted': () => new nn.LSTM(4, 3, { batchFirst: true }),
  GRU: () => new nn.GRU(4, 3, { numLayers: 2, bidirectional: true }),
  'GRU packed': () => new nn.GRU(4, 3, { bidirectional: true }),
  RNNCell: () => new nn.RNNCell(4, 3, { nonlinearity: 'relu' }),
  LSTMCell: () => new nn.LSTMCell(4, 3),
  'LSTMCell zero state': () => new nn.LSTMCell(4, 3, { bias: false }),
  GRUCell: () => new nn.GRUCell(4, 3),

  MultiheadAttention: () => new nn.MultiheadAttention(6, 2),
  'MultiheadAttention masks': () => new nn.MultiheadAttention(6, 3, { batchFirst: true }),
  'MultiheadAttention sizes': () =>
    new nn.MultiheadAttention(6, 2, { kdim: 3, vdim: 5, addBiasKv: true, addZeroAttn: true }),
  TransformerEncoderLayer: () => new nn.TransformerEncoderLayer(6, 2, { dimFeedforward: 8 }),
  'TransformerEncoderLayer first': () =>
    new nn.TransformerEncoderLayer(6, 2, {
      dimFeedforward: 8,
      activation: 'gelu',
      normFirst: true,
      batchFirst: true,
    }),
  TransformerEncoder: () =>
    new nn.TransformerEncoder(
      new nn.TransformerEncoderLayer(6, 2, { dimFeedforward: 8, activation: new nn.GELU() }),
      2,
      { norm: new nn.LayerNorm(6) },
    ),

  Sequential: () =>
    new nn.Sequential(
      new nn.Conv2d(1, 2, 3),
      new nn.BatchNorm2d(2),
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(8, 3),
    ),
  Named: () => new Named(),

  CrossEntropyLoss: () => new nn.CrossEntropyLoss(),
  'CrossEntropyLoss weighted': () =>
    new nn.CrossEntropyLoss({ weight: tensor([1, 2, 0.5, 1.5, 1]), ignoreIndex: 4, labelSmoothing: 0.1 }),
  'CrossEntropyLoss soft': () => new nn.CrossEntropyLoss({ reduction: 'sum' }),
  NLLLoss: () => new nn.NLLLoss(),
  MSELoss: () => new nn.MSELoss(),
  L1Loss: () => new nn.L1Loss({ reduction: 'none' }),
  SmoothL1Loss: () => new nn.SmoothL1Loss({ beta: 0.5 }),
  BCEWithLogitsLoss: () => new nn.BCEWithLogitsLoss(),
  'BCEWithLogitsLoss weighted': () =>
    new nn.BCEWithLogitsLoss({ posWeight: tensor([1, 2, 3, 4, 5]), reduction: 'sum' }),
  KLDivLoss: () => new nn.KLDivLoss({ reduction: 'batchmean' }),

  LinearReLU: () => new intrinsic.LinearReLU(new nn.Linear(5, 3), new nn.ReLU()),
  LinearBn1d: () => new intrinsic.LinearBn1d(new nn.Linear(5, 3), new nn.BatchNorm1d(3)),
  ConvReLU1d: () => new intrinsic.ConvReLU1d(new nn.Conv1d(2, 3, 3), new nn.ReLU()),
  ConvReLU2d: () => new intrinsic.ConvReLU2d(new nn.Conv2d(2, 3, 3), new nn.ReLU()),
  ConvReLU3d: () => new intrinsic.ConvReLU3d(new nn.Conv3d(1, 2, 2), new nn.ReLU()),
  ConvBn1d: () => new intrinsic.ConvBn1d(new nn.Conv1d(2, 3, 3), new nn.BatchNorm1d(3)),
  ConvBn2d: () => new intrinsic.ConvBn2d(new nn.Conv2d(2, 3, 3), new nn.BatchNorm2d(3)),
  ConvBn3d: () => new intrinsic.ConvBn3d(new nn.Conv3d(1, 2, 2), new nn.BatchNorm3d(2)),
  ConvBnReLU1d: () =>
    new intrinsic.ConvBnReLU1d(new nn.Conv1d(2, 3, 3), new nn.BatchNorm1d(3), new nn.ReLU()),
  ConvBnReLU2d: () =>
    new intrinsic.ConvBnReLU2d(new nn.Conv2d(2, 3, 3), new nn.BatchNorm2d(3), new nn.ReLU()),
  ConvBnReLU3d: () =>
    new intrinsic.ConvBnReLU3d(new nn.Conv3d(1, 2, 2), new nn.BatchNorm3d(2), new nn.ReLU()),
  BNReLU2d: () => new intrinsic.BNReLU2d(new nn.BatchNorm2d(3), new nn.ReLU()),
  BNReLU3d: () => new intrinsic.BNReLU3d(new nn.BatchNorm3d(2), new nn.ReLU()),
};

/** The builder of a golden case; ` training` at the end of a name only says in which mode it ran. */
export function build(name: string): nn.AnyModule {
  const make = BUILD[name.replace(/ training$/, '')];
  if (!make) throw new Error(`no builder for the case "${name}"`);
  return make();
}
