import { engine as defaultEngine, type Engine } from '../engine.ts';
import { checkLength } from './panels.ts';

/**
 * The element-wise half of an LSTM step: gates i, f, g, o before activation and the cell state to the next output and cell
 * state. The same bits in all builds. Source: `torch._thnn_fused_lstm_cell`.
 *
 * @param gates `[rows][4·hidden]`
 * @param cell `[rows][hidden]`
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const [h, c] = lstmCellF32(gates, cell, 1, 200);
 */
export function lstmCellF32(
  gates: Float32Array,
  cell: Float32Array,
  rows: number,
  hidden: number,
  engine: Engine = defaultEngine,
): [h: Float32Array, cell: Float32Array] {
  checkLength('lstmCellF32', 'gates', gates, 4 * rows * hidden);
  checkLength('lstmCellF32', 'cell', cell, rows * hidden);
  return engine.scratch((take) => {
    const [g, c] = [gates, cell].map((array) => copyIn(engine, take, array));
    // Added to any number, −0 leaves it as it is.
    const nothing = copyIn(engine, take, new Float32Array(4 * hidden).fill(-0));
    const [h, next] = [take(4 * cell.length), take(4 * cell.length)];
    const row = 4 * hidden;
    engine.kernels.f32_lstm_pointwise(g, 4 * row, nothing, 0, c, row, hidden, h, row, next, row, 0, rows);
    return [copyOut(engine, h, cell.length), copyOut(engine, next, cell.length)];
  });
}

/**
 * The element-wise half of a GRU step: gates r, z, n of the input and of the state before activation, and the state, to the
 * next state. The same bits in all builds. Source: `torch._thnn_fused_gru_cell`.
 *
 * @param inputGates `[rows][3·hidden]`
 * @param hiddenGates `[rows][3·hidden]`
 * @param state `[rows][hidden]`
 * @throws ShapeError when the lengths do not fit.
 * @example
 * const next = gruCellF32(inputGates, hiddenGates, state, 1, 200);
 */
export function gruCellF32(
  inputGates: Float32Array,
  hiddenGates: Float32Array,
  state: Float32Array,
  rows: number,
  hidden: number,
  engine: Engine = defaultEngine,
): Float32Array {
  checkLength('gruCellF32', 'inputGates', inputGates, 3 * rows * hidden);
  checkLength('gruCellF32', 'hiddenGates', hiddenGates, 3 * rows * hidden);
  checkLength('gruCellF32', 'state', state, rows * hidden);
  return engine.scratch((take) => {
    const [x, y, before] = [inputGates, hiddenGates, state].map((array) => copyIn(engine, take, array));
    const next = take(4 * state.length);
    const row = 4 * hidden;
    engine.kernels.f32_gru_pointwise(x, 3 * row, y, 3 * row, before, row, hidden, next, row, 0, rows);
    return copyOut(engine, next, state.length);
  });
}

function copyIn(engine: Engine, take: (bytes: number) => number, array: Float32Array): number {
  const ptr = take(4 * array.length);
  engine.heap.f32.set(array, ptr >> 2);
  return ptr;
}

function copyOut({ heap }: Engine, ptr: number, length: number): Float32Array {
  return heap.f32.slice(ptr >> 2, (ptr >> 2) + length);
}
