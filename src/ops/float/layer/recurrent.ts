import { ShapeError } from '../../../core/errors.ts';
import { gruCellF32, lstmCellF32 } from '../../../kernels/f32/recurrent.ts';
import { formatShape } from '../../../tensor/shape.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import { allocateLike, requireFloat } from './channels-last.ts';

/**
 * The pointwise half of an LSTM step: gates [batch, 4·hidden] before activation, in the order i, f, g, o, and the cell
 * state [batch, hidden] → [h', c']. Source: `torch._thnn_fused_lstm_cell`.
 */
export function lstmPointwise(gates: Tensor, c: Tensor): [Tensor, Tensor] {
  const dtype = requireFloat('lstmPointwise', { gates, c });
  const [batch, hidden] = checkState('lstmPointwise', 'gates', gates, c, 4);
  const g = gates.data;
  const before = c.data;
  const results = (h: Tensor['storage'], after: Tensor['storage']): [Tensor, Tensor] => [
    new Tensor({ storage: h, shape: c.shape, dtype }),
    new Tensor({ storage: after, shape: c.shape, dtype }),
  ];
  if (g instanceof Float32Array && before instanceof Float32Array) {
    return results(...lstmCellF32(g, before, batch, hidden));
  }
  const h = allocateLike(g, batch * hidden);
  const after = allocateLike(g, batch * hidden);
  for (let n = 0, at = 0; n < batch; n++) {
    let i = n * 4 * hidden;
    for (let j = 0; j < hidden; j++, at++, i++) {
      after[at] = sigmoid(g[i + hidden]) * before[at] + sigmoid(g[i]) * Math.tanh(g[i + 2 * hidden]);
      h[at] = sigmoid(g[i + 3 * hidden]) * Math.tanh(after[at]);
    }
  }
  return results(h, after);
}

/** Gradients of {@link lstmPointwise}: [gates, c]. Either output's gradient may be missing. */
export function lstmPointwiseGrad(
  gradH: Tensor | null,
  gradC: Tensor | null,
  gates: Tensor,
  c: Tensor,
  after: Tensor,
): [Tensor, Tensor] {
  const [batch, hidden] = c.shape;
  const g = gates.data;
  const before = c.data;
  const cells = after.data;
  const gh = gradH?.data;
  const gc = gradC?.data;
  const gradGates = allocateLike(g, g.length);
  const gradBefore = allocateLike(g, before.length);
  for (let n = 0, at = 0; n < batch; n++) {
    let i = n * 4 * hidden;
    for (let j = 0; j < hidden; j++, at++, i++) {
      const input = sigmoid(g[i]);
      const forget = sigmoid(g[i + hidden]);
      const candidate = Math.tanh(g[i + 2 * hidden]);
      const output = sigmoid(g[i + 3 * hidden]);
      const squashed = Math.tanh(cells[at]);
      const dh = gh ? gh[at] : 0;
      const dc = (gc ? gc[at] : 0) + dh * output * (1 - squashed * squashed);
      gradGates[i] = dc * candidate * input * (1 - input);
      gradGates[i + hidden] = dc * before[at] * forget * (1 - forget);
      gradGates[i + 2 * hidden] = dc * input * (1 - candidate * candidate);
      gradGates[i + 3 * hidden] = dh * squashed * output * (1 - output);
      gradBefore[at] = dc * forget;
    }
  }
  return [
    new Tensor({ storage: gradGates, shape: gates.shape, dtype: gates.dtype }),
    new Tensor({ storage: gradBefore, shape: c.shape, dtype: c.dtype }),
  ];
}

/**
 * The pointwise half of a GRU step: input and hidden gates [batch, 3·hidden] before activation, in the order r, z, n,
 * and the state [batch, hidden] → h'. Source: `torch._thnn_fused_gru_cell`.
 */
export function gruPointwise(inputGates: Tensor, hiddenGates: Tensor, h: Tensor): Tensor {
  const dtype = requireFloat('gruPointwise', { inputGates, hiddenGates, h });
  const [batch, hidden] = checkState('gruPointwise', 'inputGates', inputGates, h, 3);
  checkState('gruPointwise', 'hiddenGates', hiddenGates, h, 3);
  const x = inputGates.data;
  const y = hiddenGates.data;
  const before = h.data;
  if (x instanceof Float32Array && y instanceof Float32Array && before instanceof Float32Array) {
    return new Tensor({ storage: gruCellF32(x, y, before, batch, hidden), shape: h.shape, dtype });
  }
  const out = allocateLike(x, batch * hidden);
  for (let n = 0, at = 0; n < batch; n++) {
    let i = n * 3 * hidden;
    for (let j = 0; j < hidden; j++, at++, i++) {
      const reset = sigmoid(x[i] + y[i]);
      const update = sigmoid(x[i + hidden] + y[i + hidden]);
      const candidate = Math.tanh(x[i + 2 * hidden] + reset * y[i + 2 * hidden]);
      out[at] = (before[at] - candidate) * update + candidate;
    }
  }
  return new Tensor({ storage: out, shape: h.shape, dtype });
}

/** Gradients of {@link gruPointwise}: [inputGates, hiddenGates, h]. */
export function gruPointwiseGrad(
  grad: Tensor,
  inputGates: Tensor,
  hiddenGates: Tensor,
  h: Tensor,
): [Tensor, Tensor, Tensor] {
  const [batch, hidden] = h.shape;
  const x = inputGates.data;
  const y = hiddenGates.data;
  const before = h.data;
  const g = grad.data;
  const gx = allocateLike(x, x.length);
  const gy = allocateLike(x, x.length);
  const gh = allocateLike(x, before.length);
  for (let n = 0, at = 0; n < batch; n++) {
    let i = n * 3 * hidden;
    for (let j = 0; j < hidden; j++, at++, i++) {
      const hiddenCandidate = y[i + 2 * hidden];
      const reset = sigmoid(x[i] + y[i]);
      const update = sigmoid(x[i + hidden] + y[i + hidden]);
      const candidate = Math.tanh(x[i + 2 * hidden] + reset * hiddenCandidate);
      const dn = g[at] * (1 - update) * (1 - candidate * candidate);
      const dz = g[at] * (before[at] - candidate) * update * (1 - update);
      const dr = dn * hiddenCandidate * reset * (1 - reset);
      gx[i] = gy[i] = dr;
      gx[i + hidden] = gy[i + hidden] = dz;
      gx[i + 2 * hidden] = dn;
      gy[i + 2 * hidden] = dn * reset;
      gh[at] = g[at] * update;
    }
  }
  const like = (storage: Tensor['storage'], t: Tensor): Tensor =>
    new Tensor({ storage, shape: t.shape, dtype: t.dtype });
  return [like(gx, inputGates), like(gy, hiddenGates), like(gh, h)];
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function checkState(
  fn: string,
  argument: string,
  gates: Tensor,
  state: Tensor,
  gatesPerUnit: number,
): [number, number] {
  const [batch, hidden] = state.shape;
  if (
    state.ndim !== 2 ||
    gates.ndim !== 2 ||
    gates.shape[0] !== batch ||
    gates.shape[1] !== gatesPerUnit * hidden
  ) {
    throw new ShapeError({
      fn,
      argument,
      expected: `[batch, ${gatesPerUnit}·hidden] for a state of ${formatShape(state.shape)}`,
      got: formatShape(gates.shape),
    });
  }
  return [batch, hidden];
}
