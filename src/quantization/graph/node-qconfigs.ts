import type { GraphModule, Node } from '../../fx/index.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { QConfig } from '../qconfig.ts';
import type { ObjectType, QConfigMapping } from '../qconfig-mapping.ts';
import type { TracedModel } from './trace.ts';

/**
 * The qconfig of every call in a graph, and of every tensor it reads; null for what stays float. Modules go by their class
 * (a fused one also by that of its first part, as the backend table has it) and path, operators by their name and the path of the module that calls them, whose class goes before the operator's
 * name, tensors by the module that holds them. Order counts calls of one class or operator in one module. Source: `torch.ao.quantization.fx.qconfig_mapping_utils.generate_qconfig_map`.
 */
export function nodeQConfigs(
  owner: GraphModule<any, any>,
  types: TracedModel['types'],
  mapping: QConfigMapping,
  backend: BackendConfig,
): Map<Node, QConfig | null> {
  const seen = new Map<string, Map<unknown, number>>();
  const next = (holder: string, type: unknown): number => {
    const counts = seen.get(holder) ?? new Map<unknown, number>();
    seen.set(holder, counts);
    const order = counts.get(type) ?? 0;
    counts.set(type, order + 1);
    return order;
  };
  const found = new Map<Node, QConfig | null>();
  for (const node of owner.graph.nodes) {
    if (node.op === 'call_module') {
      const path = node.targetName;
      const module = owner.getSubmodule(path);
      const cut = path.lastIndexOf('.');
      const original = (types.get(path) ?? module.constructor) as ObjectType;
      const order = next(cut < 0 ? '' : path.slice(0, cut), original);
      const startsWith = backend.patternOf(module)?.sequence[0];
      const type = module.constructor as ObjectType;
      found.set(node, mapping.qconfigFor({ path, type, order, startsWith, orderType: original }));
    } else if (node.op === 'get_attr') {
      const path = node.targetName.split('.').slice(0, -1).join('.');
      const type = (types.get(path) ?? owner.getSubmodule(path).constructor) as ObjectType;
      found.set(node, mapping.qconfigFor({ path, type, order: 0 }));
    } else if (node.op === 'call_function') {
      const path = node.meta.modulePath ?? '';
      const type = node.targetName;
      const holder = path === '' ? undefined : (types.get(path) as ObjectType | undefined);
      found.set(node, mapping.qconfigFor({ path, type, order: next(path, type), holder }));
    }
  }
  return found;
}
