/** `nn.quantizable`, as PyTorch lays it out. */
export { LSTM, LSTMCell, MultiheadAttention } from './index.ts';
