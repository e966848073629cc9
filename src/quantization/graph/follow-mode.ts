import { QuantizationError } from '../../core/errors.ts';
import { defaultGenerator } from '../../core/random.ts';
import { type GraphModule, Node } from '../../fx/index.ts';
import { Dropout } from '../../nn/index.ts';

/**
 * Makes functional dropouts, which a trace in training mode writes down as they ran, modules that rest in evaluation mode: the
 * converted model must not drop anything. PyTorch's graphs keep dropping, for they hold `training=True`.
 *
 * @throws {@link QuantizationError} for a dropout with a generator of its own, which no module has.
 */
export function followMode(owner: GraphModule<any, any>, fn: string): void {
  const { graph } = owner;
  let count = 0;
  for (const node of [...graph.nodes]) {
    if (node.op !== 'call_function' || node.target !== 'dropout') continue;
    const [x, p, generator] = node.args;
    const given = generator instanceof Node ? owner.attribute(generator.targetName) : generator;
    if (given !== defaultGenerator) {
      throw new QuantizationError({
        fn,
        argument: 'dropout',
        expected: 'dropouts that draw from the default generator',
        got: `one in ${node.meta.modulePath || owner.typeName} with its own`,
        fix: 'Use nn.Dropout, and manualSeed for numbers that can be had again.',
      });
    }
    while (`dropout_${count}` in owner) count++;
    const name = `dropout_${count}`;
    owner.addModule(name, new Dropout(p as number).train(owner.training));
    const call = graph.insertingBefore(node, () => graph.callModule(name, [x]));
    Object.assign(call.meta, node.meta);
    node.replaceAllUsesWith(call);
    graph.eraseNode(node);
    if (generator instanceof Node && generator.users.size === 0) graph.eraseNode(generator);
  }
}
