import type { GradFn, Tensor } from '../tensor/tensor.ts';

/** Gradients of a step's outputs → gradients of its tensor inputs (null where none flows). */
export type Backward = (grads: readonly (Tensor | null)[]) => readonly (Tensor | null | undefined)[];

let sequence = 0;

/** One recorded step: what to call on the way back, and where its inputs came from. */
export class GradNode implements GradFn {
  readonly name: string;
  /** Steps are numbered as they run; walking them by falling number is a topological order. */
  readonly sequence: number;
  /** Emptied once `backward` has consumed the graph, so that a kept loss does not keep its activations. */
  inputs: readonly Tensor[];
  readonly outputs: number;
  /** Null once `backward` has consumed the graph. */
  backward: Backward | null;

  constructor(name: string, inputs: readonly Tensor[], outputs: number, backward: Backward) {
    this.name = name;
    this.sequence = sequence++;
    this.inputs = inputs;
    this.outputs = outputs;
    this.backward = backward;
  }
}

/** Marks `outputs` as made by a step over `inputs`. Integer outputs (indices) stay outside the graph. */
export function record(
  name: string,
  inputs: readonly Tensor[],
  outputs: readonly Tensor[],
  backward: Backward,
): void {
  const node = new GradNode(name, inputs, outputs.length, backward);
  outputs.forEach((out, i) => {
    if (out.dtype !== 'float32' && out.dtype !== 'float64') return;
    out.gradFn = node;
    out.outputNr = i;
    out.requiresGrad = true;
  });
}
