import { type Graph, GraphModule, type GraphModuleOptions, Interpreter, Node } from '../../fx/index.ts';
import { mapArg } from '../../fx/node.ts';
import type { AnyModule, StateLoader } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { PackedWeights } from '../../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../../ops/quantized/packed-half.ts';
import { tensor } from '../../tensor/creation.ts';
import type { StateDict } from '../../tensor/state.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { readWeightAndBias } from '../layers/state.ts';

/**
 * A graph whose `get_attr` nodes may read scales, zero points and packed weights. State dicts hold them under PyTorch's
 * keys: `conv1_input_scale_0`, `conv1_input_zero_point_0`. Source: `torch.ao.quantization.fx.graph_module.QuantizedGraphModule`.
 */
export class QuantizedGraphModule<Args extends unknown[] = [Tensor], Out = Tensor> extends GraphModule<
  Args,
  Out
> {
  constructor(root: AnyModule, graph: Graph, options: GraphModuleOptions = {}) {
    super(root, graph, options);
  }

  /** Keeps a number under the first free name `base0`, `base1`, … and returns the name. */
  addNumber(base: string, value: number): string {
    return keep(this, base, value);
  }

  /** Keeps a tensor under the first free name `base0`, `base1`, … and returns the name. */
  addTensor(base: string, value: Tensor): string {
    return this.addConstant(freeName(this, base), value);
  }

  /** Keeps packed weights under the first free name `base0`, `base1`, … and returns the name. */
  addPacked(base: string, value: PackedWeights | PackedHalfWeights): string {
    return keep(this, base, value);
  }

  /** The value of a node that depends on nothing but parameters, buffers and constants. */
  constantOf(node: Node): unknown {
    const args = node.args.map((arg) =>
      mapArg(arg, (leaf) => (leaf instanceof Node ? this.constantOf(leaf) : leaf)),
    );
    if (node.op === 'get_attr') return this.attribute(node.targetName);
    return noGrad(() => new Interpreter(this.graph, this).callFunction(node, args));
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    super.saveToStateDict(into, prefix);
    for (const [name, value] of heldBy(this)) {
      if (typeof value === 'number') {
        const dtype = name.includes('_zero_point_') ? 'int64' : 'float32';
        into.set(prefix + name, tensor(value, { dtype }));
      } else into.set(prefix + name, [value.weight, value.bias]);
    }
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    super.loadFromStateDict(loader, prefix);
    for (const [name, held] of heldBy(this)) {
      const key = prefix + name;
      const value = loader.take(key);
      const assign = (given: unknown): void => {
        (this as unknown as Record<string, unknown>)[name] = given;
      };
      if (value === undefined) continue;
      if (typeof held === 'number') {
        if (value instanceof Tensor && value.numel === 1) loader.later(() => assign(value.item()));
        else loader.mismatch(`${key} is not a tensor of one element`);
      } else if (Array.isArray(value)) {
        const isHalf = held instanceof PackedHalfWeights;
        readWeightAndBias(
          loader,
          key,
          value[0],
          value[1],
          held.weight.shape,
          (weight, bias) =>
            assign(
              isHalf ? new PackedHalfWeights(weight, bias) : new PackedWeights(weight, bias, held.geometry),
            ),
          isHalf,
        );
      } else loader.mismatch(`${key} is not a (weight, bias) pair`);
    }
  }
}

function keep(module: QuantizedGraphModule<any, any>, base: string, value: unknown): string {
  const name = freeName(module, base);
  (module as unknown as Record<string, unknown>)[name] = value;
  return name;
}

function freeName(module: QuantizedGraphModule<any, any>, base: string): string {
  let n = 0;
  while (`${base}${n}` in module) n++;
  return `${base}${n}`;
}

/** The numbers and packed weights that the graph reads from the module itself. */
function heldBy(
  module: QuantizedGraphModule<any, any>,
): [string, number | PackedWeights | PackedHalfWeights][] {
  const names = new Set(module.graph.nodes.flatMap((n) => (n.op === 'get_attr' ? [n.targetName] : [])));
  return [...names].flatMap((name): [string, number | PackedWeights | PackedHalfWeights][] => {
    const value = name.includes('.') ? undefined : module.attribute(name);
    return typeof value === 'number' || value instanceof PackedWeights || value instanceof PackedHalfWeights
      ? [[name, value]]
      : [];
  });
}
