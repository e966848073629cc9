import { QuantizationError } from '../../core/errors.ts';
import { type GraphModule, Node } from '../../fx/index.ts';
import { BatchNorm, ReLU } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import { isRelu, moduleOf } from './match.ts';

/**
 * Fuses, in place, every sequence of modules that a row of the backend table fuses: a relu may be a module or an
 * operator. The fused module takes the place of the first. A layer that is called from several places is left alone, since
 * what follows it differs. Source: `torch.ao.quantization.fx.fuse`.
 *
 * @throws {@link QuantizationError} naming a layer that is in training mode where the graph is to be deployed.
 */
export function fuseGraph(
  owner: GraphModule<any, any>,
  training: boolean,
  fn: string,
  backend: BackendConfig,
): void {
  const rows = backend.patterns
    .filter((row) => row.fuse)
    .sort((a, b) => b.sequence.length - a.sequence.length);
  const { graph } = owner;
  const calls = new Map<unknown, number>();
  for (const node of graph.nodes) {
    const module = moduleOf(owner, node);
    if (module) calls.set(module, (calls.get(module) ?? 0) + 1);
  }
  for (const last of [...graph.nodes].reverse()) {
    if (!graph.nodes.includes(last)) continue;
    for (const row of rows) {
      const nodes = sequenceEndingAt(owner, last, row);
      if (!nodes || nodes.some((node) => !isRelu(owner, node) && (calls.get(moduleOf(owner, node)) ?? 0) > 1))
        continue;
      const fuse = training ? (row.fuseQat ?? row.fuse) : row.fuse;
      const modules = nodes.map((node) => moduleOf(owner, node) ?? new ReLU());
      requireMode(nodes, modules, training, fn);
      const fused = (fuse as NonNullable<Pattern['fuse']>)(...modules).train(training);
      fused.adoptHooks(modules[modules.length - 1]);
      if (modules[0].qconfig !== undefined) fused.qconfig = modules[0].qconfig;
      owner.setSubmodule(nodes[0].targetName, fused);
      last.replaceAllUsesWith(nodes[0]);
      Object.assign(nodes[0].meta, { shape: last.meta.shape, dtype: last.meta.dtype });
      for (const node of nodes.slice(1).reverse()) graph.eraseNode(node);
      break;
    }
  }
  owner.deleteUnusedSubmodules();
  graph.lint(owner);
}

/** The nodes of a row's sequence of modules that ends at `last`, where nothing else reads what is between. */
function sequenceEndingAt(owner: GraphModule<any, any>, last: Node, row: Pattern): Node[] | null {
  const nodes: Node[] = [];
  let node: unknown = last;
  for (const type of [...row.sequence].reverse()) {
    if (!(node instanceof Node) || (node !== last && node.users.size !== 1)) return null;
    const isLayer = moduleOf(owner, node)?.constructor === type;
    if (!isLayer && !(type === ReLU && isRelu(owner, node))) return null;
    nodes.unshift(node);
    node = node.args[0];
  }
  return nodes;
}

function requireMode(
  nodes: readonly Node[],
  modules: readonly AnyModule[],
  training: boolean,
  fn: string,
): void {
  const wrong = modules.findIndex((m) => m instanceof BatchNorm && m.training !== training);
  if (wrong < 0) return;
  const path = nodes[wrong].targetName;
  const error = new QuantizationError({
    fn,
    argument: 'model',
    expected: `${path} in ${training ? 'training' : 'evaluation'} mode`,
    got: `${path} in ${training ? 'evaluation' : 'training'} mode`,
    fix: training
      ? 'Call model.train() first, or prepareFx for quantization without training.'
      : 'Call model.eval() first: batch statistics are folded into weights. prepareQatFx takes models in training.',
  });
  error.locate(path, modules[wrong].typeName);
  throw error;
}
