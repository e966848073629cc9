/** `nn.quantized.dynamic`: float tensors in and out, weights in int8 (or float16). */
export { GRUCell, LSTMCell, RNNCell } from './cells.ts';
export { Conv1d, Conv2d, Conv3d } from './conv.ts';
export { ConvTranspose1d, ConvTranspose2d, ConvTranspose3d } from './conv-transpose.ts';
export { Linear, LinearReLU } from './linear.ts';
export { GRU, LSTM, RNN } from './recurrent.ts';
