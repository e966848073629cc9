import { dispatch } from '../ops/dispatch.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * One layer of a recurrent network in one direction: how its inputs turn into gates, all steps at once, and how a step
 * turns gates and state into the next state. The first tensor of the state is the step's output.
 */
export interface RecurrentCell {
  /** [rows, inputs] → [rows, gates]. */
  project(x: Tensor): Tensor;
  /** Gates of one step and the state of the sequences that still run → their next state. */
  step(gates: Tensor, state: readonly Tensor[]): readonly Tensor[];
}

/** What {@link walkLayers} returns. */
export interface RecurrentResult {
  /** [rows, directions · hidden], in the order of the input's rows. */
  readonly output: Tensor;
  /** The last state of every layer and direction, in that order: the parts of the state, each [batch, hidden]. */
  readonly finals: (readonly Tensor[])[];
}

/**
 * Runs layers of recurrent cells over packed rows: `data` holds `batchSizes[0]` rows of the first step, then
 * `batchSizes[1]` of the second, and so on. A padded batch is the case of equal sizes.
 *
 * @param layers Cells by layer and direction (forward, then backward).
 * @param initial State per layer and direction, in that order.
 * @param between Applied to the output of every layer but the last (dropout).
 */
export function walkLayers(
  data: Tensor,
  batchSizes: readonly number[],
  layers: readonly (readonly RecurrentCell[])[],
  initial: readonly (readonly Tensor[])[],
  between: (x: Tensor) => Tensor,
): RecurrentResult {
  const finals: (readonly Tensor[])[] = [];
  let output = data;
  layers.forEach((cells, layer) => {
    const x = layer === 0 ? output : between(output);
    const outputs = cells.map((cell, direction) => {
      const state = initial[layer * cells.length + direction];
      const walk = direction === 0 ? walkForward : walkBackward;
      const result = walk(cell, x, batchSizes, state);
      finals.push(result.final);
      return result.output;
    });
    output = outputs.length === 1 ? outputs[0] : dispatch('cat', outputs, 1);
  });
  return { output, finals };
}

interface DirectionResult {
  readonly output: Tensor;
  readonly final: readonly Tensor[];
}

/** Sequences drop out at the end of the batch as they finish. */
function walkForward(
  cell: RecurrentCell,
  x: Tensor,
  batchSizes: readonly number[],
  initial: readonly Tensor[],
): DirectionResult {
  const gates = dispatch('split', cell.project(x), batchSizes, 0);
  const outputs: Tensor[] = [];
  const finished: (readonly Tensor[])[] = [];
  let state = initial;
  let running = batchSizes[0];
  batchSizes.forEach((size, t) => {
    if (size < running) {
      finished.unshift(rows(state, size, running));
      state = rows(state, 0, size);
      running = size;
    }
    state = cell.step(gates[t], state);
    outputs.push(state[0]);
  });
  return { output: dispatch('cat', outputs, 0), final: join([state, ...finished]) };
}

/** From the last step to the first; shorter sequences join in with their initial state. */
function walkBackward(
  cell: RecurrentCell,
  x: Tensor,
  batchSizes: readonly number[],
  initial: readonly Tensor[],
): DirectionResult {
  const gates = dispatch('split', cell.project(x), batchSizes, 0);
  const outputs: Tensor[] = [];
  let running = 0;
  let state: readonly Tensor[] = [];
  for (let t = batchSizes.length - 1; t >= 0; t--) {
    if (batchSizes[t] > running) {
      const joining = rows(initial, running, batchSizes[t]);
      state = running === 0 ? joining : join([state, joining]);
      running = batchSizes[t];
    }
    state = cell.step(gates[t], state);
    outputs.unshift(state[0]);
  }
  return { output: dispatch('cat', outputs, 0), final: state };
}

function rows(state: readonly Tensor[], start: number, end: number): readonly Tensor[] {
  return state.map((part) =>
    start === 0 && end === part.shape[0] ? part : dispatch('slice', part, 0, start, end, 1),
  );
}

function join(states: readonly (readonly Tensor[])[]): readonly Tensor[] {
  if (states.length === 1) return states[0];
  return states[0].map((_, i) =>
    dispatch(
      'cat',
      states.map((s) => s[i]),
      0,
    ),
  );
}
