/** Layers out of parts that static quantization observes one by one, and what they convert into. */
export { MultiheadAttention, QuantizedMultiheadAttention } from './attention.ts';
export { LSTM, QuantizedLSTM } from './lstm.ts';
export { LSTMCell, type LSTMState } from './lstm-cell.ts';
