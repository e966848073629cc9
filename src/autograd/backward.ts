import { AutogradError } from '../core/errors.ts';
import { dispatch } from '../ops/dispatch.ts';
import { noGrad } from '../ops/grad-mode.ts';
import { onesLike } from '../tensor/creation.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { GradNode } from './tape.ts';

/** Options of {@link backward}. */
export interface BackwardOptions {
  /** Keep the recorded graph, so that `backward` can run through it again. */
  readonly retainGraph?: boolean;
}

/**
 * Computes the gradients of `root` with respect to every leaf that requires them, and adds them to the leaves' `grad`.
 * `gradient` is the gradient of `root` itself; 1 for a scalar. Source: `torch.autograd.backward`.
 *
 * @throws {@link AutogradError} where nothing was recorded, the graph was already used, or a non-scalar has no gradient.
 * @example
 * const loss = crossEntropy(model(x), y);
 * backward(loss);
 */
export function backward(root: Tensor, gradient?: Tensor, options: BackwardOptions = {}): void {
  const seeds = new Map([[root, startGradient(root, gradient)]]);
  noGrad(() =>
    flow(seeds, options.retainGraph ?? false, (leaf, g) => {
      leaf.grad = leaf.grad === null ? g : dispatch('add', leaf.grad, g, 1);
    }),
  );
}

/**
 * The gradients of `output` with respect to `inputs`, returned instead of accumulated. An input that `output` does not
 * depend on gives null. Source: `torch.autograd.grad`.
 */
export function grad(
  output: Tensor,
  inputs: readonly Tensor[],
  gradient?: Tensor,
  options: BackwardOptions = {},
): (Tensor | null)[] {
  const found = new Map<Tensor, Tensor>();
  const seeds = new Map([[output, startGradient(output, gradient)]]);
  const wanted = new Set(inputs);
  noGrad(() =>
    flow(
      seeds,
      options.retainGraph ?? false,
      (t, g) => {
        if (!wanted.has(t)) return;
        const before = found.get(t);
        found.set(t, before ? dispatch('add', before, g, 1) : g);
      },
      wanted,
    ),
  );
  return inputs.map((t) => found.get(t) ?? null);
}

function startGradient(root: Tensor, gradient: Tensor | undefined): Tensor {
  if (!root.requiresGrad) {
    throw new AutogradError({
      fn: 'backward',
      argument: 'tensor',
      expected: 'a result computed from tensors with requiresGrad',
      got: 'a tensor without a recorded graph',
      fix: 'Set requiresGrad on the leaves, and compute outside noGrad().',
    });
  }
  if (gradient === undefined && root.numel !== 1) {
    throw new AutogradError({
      fn: 'backward',
      argument: 'gradient',
      expected: `a gradient of shape ${formatShape(root.shape)} for a non-scalar result`,
      got: 'none',
      fix: 'Reduce the result to a scalar loss, or pass its gradient.',
    });
  }
  if (gradient && gradient.shape.join() !== root.shape.join()) {
    throw new AutogradError({
      fn: 'backward',
      argument: 'gradient',
      expected: `shape ${formatShape(root.shape)}`,
      got: formatShape(gradient.shape),
    });
  }
  return gradient ?? onesLike(root, { requiresGrad: false });
}

function flow(
  seeds: ReadonlyMap<Tensor, Tensor>,
  retainGraph: boolean,
  deliver: (leaf: Tensor, grad: Tensor) => void,
  wanted?: ReadonlySet<Tensor>,
): void {
  const pending = new Map<GradNode, (Tensor | null)[]>();
  const give = (t: Tensor, g: Tensor): void => {
    const node = t.gradFn;
    if (!(node instanceof GradNode)) {
      deliver(t, g);
      return;
    }
    if (wanted?.has(t)) deliver(t, g);
    else if (t.retainsGrad) deliver(t, g);
    let slots = pending.get(node);
    if (!slots) {
      slots = new Array<Tensor | null>(node.outputs).fill(null);
      pending.set(node, slots);
    }
    const before = slots[t.outputNr];
    slots[t.outputNr] = before ? dispatch('add', before, g, 1) : g;
  };
  for (const [root, g] of seeds) give(root, g);
  for (const node of reachable(seeds.keys())) {
    const slots = pending.get(node);
    if (!slots) continue;
    pending.delete(node);
    if (!node.backward) throw usedTwice(node);
    const grads = node.backward(slots);
    node.inputs.forEach((input, i) => {
      const g = grads[i];
      if (g && input.requiresGrad) give(input, g);
    });
    if (retainGraph) continue;
    node.backward = null;
    node.inputs = [];
  }
}

/** Every recorded step below the roots, latest first. */
function reachable(roots: Iterable<Tensor>): GradNode[] {
  const seen = new Set<GradNode>();
  const open = [...roots];
  for (let t = open.pop(); t; t = open.pop()) {
    const node = t.gradFn;
    if (!(node instanceof GradNode) || seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) if (input.requiresGrad) open.push(input);
  }
  return [...seen].sort((a, b) => b.sequence - a.sequence);
}

function usedTwice(node: GradNode): AutogradError {
  return new AutogradError({
    fn: 'backward',
    argument: 'graph',
    expected: 'a graph that has not been walked yet',
    got: `${node.name}, already freed by an earlier backward`,
    fix: 'Pass { retainGraph: true } to the first call, or compute the loss again.',
  });
}
