import { type AnyModule, Module } from '../nn/module.ts';
import { formatModule } from '../nn/print.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { indexAttributes, placeAttribute, readAttribute } from './attributes.ts';
import type { Graph } from './graph.ts';
import { Interpreter } from './interpreter.ts';
import type { GraphOwner } from './lint.ts';

const GRAPH = Symbol('graph');
const CLASS_NAME = Symbol('className');

/** What a graph module takes besides its root. */
export interface GraphModuleOptions {
  /** What it is called in print and messages; the root's class where not given. */
  readonly className?: string;
  /** Objects that the graph reads and no module of the root holds. */
  readonly constants?: ReadonlyMap<string, unknown>;
}

/**
 * A module whose `forward` is a {@link Graph}. It holds the modules, parameters and buffers that the graph refers to, at
 * the paths and under the state-dict keys they have in the root, shared with it. Change `graph` and it computes what the
 * changed graph says. Source: `torch.fx.GraphModule`.
 *
 * @example
 * const traced = symbolicTrace(model, [x]);
 * print(traced); // the modules, then the code
 * for (const node of traced.graph.nodes) if (node.target === 'relu') node.target = 'gelu';
 */
export class GraphModule<Args extends unknown[] = [Tensor], Out = Tensor>
  extends Module<Args, Out>
  implements GraphOwner
{
  /** The computation; may be edited in place or replaced. */
  declare graph: Graph;

  constructor(root: AnyModule, graph: Graph, options: GraphModuleOptions = {}) {
    super();
    const fields = this as unknown as Record<symbol, unknown>;
    fields[GRAPH] = graph;
    fields[CLASS_NAME] = options.className ?? root.typeName;
    this.training = root.training;
    for (const { path, value, persistent } of referenced(root, graph, options.constants ?? new Map())) {
      placeAttribute(this, path, value, persistent);
    }
    graph.lint(this);
  }

  override get typeName(): string {
    return (this as unknown as Record<symbol, string>)[CLASS_NAME];
  }

  /** The computation as the source of `forward`, to be read. */
  get code(): string {
    return this.graph.code;
  }

  forward(...inputs: Args): Out {
    return new Interpreter(this.graph, this, { name: this.typeName }).run(...inputs) as Out;
  }

  /** The parameter, buffer or constant at a path of the graph. */
  attribute(path: string): unknown {
    return readAttribute(this, path);
  }

  /** Adds a tensor or other object that a new `get_attr` node is to read, under a free name. Returns the name. */
  addConstant(base: string, value: unknown): string {
    let name = base;
    for (let n = 1; name in this; n++) name = `${base}_${n}`;
    placeAttribute(this, name, value, false);
    return name;
  }

  /** Removes modules that the graph does not call and no longer reads from. Source: `delete_all_unused_submodules`. */
  deleteUnusedSubmodules(): void {
    const used = this.graph.nodes.flatMap((n) =>
      n.op === 'call_module' || n.op === 'get_attr' ? [n.targetName] : [],
    );
    // By fields: a module may stand at several places, of which some are used.
    const clear = (parent: AnyModule, prefix: string): void => {
      for (const [name, child] of Object.entries(parent)) {
        if (!(child instanceof Module)) continue;
        const path = prefix + name;
        if (used.some((u) => u === path || path.startsWith(`${u}.`))) continue;
        if (used.some((u) => u.startsWith(`${path}.`))) clear(child, `${path}.`);
        else Reflect.deleteProperty(parent, name);
      }
    };
    clear(this, '');
  }

  /** The modules, then the code. */
  override toString(): string {
    return `${formatModule(this)}\n\n${this.code}`;
  }
}

// On the prototype, so that a child called `graph` is refused rather than taken for the graph.
Object.defineProperty(GraphModule.prototype, 'graph', {
  get(this: Record<symbol, unknown>): unknown {
    return this[GRAPH];
  },
  set(this: Record<symbol, unknown>, graph: unknown) {
    this[GRAPH] = graph;
  },
});

interface Entry {
  readonly path: string;
  readonly value: unknown;
  readonly persistent: boolean;
}

/** What the graph's targets refer to, in the order of the root. */
function referenced(root: AnyModule, graph: Graph, constants: ReadonlyMap<string, unknown>): Entry[] {
  const persistent = new Set<unknown>(root.modules().flatMap((m) => m.ownBuffers(true).map(([, b]) => b)));
  const order = [...root.namedModules().map(([path]) => path), ...indexAttributes(root).values()];
  const rank = new Map(order.map((path, i) => [path, i]));
  const targets = (op: string): string[] => [
    ...new Set(graph.nodes.filter((n) => n.op === op).map((n) => n.targetName)),
  ];
  const byRank = (a: string, b: string): number =>
    (rank.get(a) ?? Number.MAX_SAFE_INTEGER) - (rank.get(b) ?? Number.MAX_SAFE_INTEGER);
  const modules = targets('call_module').sort(byRank);
  const inModule = (path: string): boolean => modules.some((m) => path.startsWith(`${m}.`));
  const outermost = modules.filter((path) => !inModule(path));
  const attributes = targets('get_attr')
    .filter((path) => !inModule(path))
    .sort(byRank);
  return [
    ...outermost.map((path) => ({ path, value: root.getSubmodule(path), persistent: true })),
    ...attributes.map((path) => {
      if (constants.has(path)) return { path, value: constants.get(path), persistent: false };
      const value = readAttribute(root, path);
      return { path, value, persistent: persistent.has(value) };
    }),
  ];
}
