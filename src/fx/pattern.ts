import { ArgumentError } from '../core/errors.ts';
import type { AnyModule } from '../nn/module.ts';
import { Graph } from './graph.ts';
import { GraphModule } from './graph-module.ts';
import type { ModuleClass } from './leaf.ts';
import { type Arg, BatchSize, isDict, mapNodes, Node, type Target } from './node.ts';

/** One step of a {@link chain}: a class of modules, or the name of an operator. */
export type ChainStep = ModuleClass | string;

/** Where a pattern was found. */
export interface Match {
  /** The node that computes the pattern's result. */
  readonly anchor: Node;
  /** What each node of the pattern stands for, in the order of the pattern. */
  readonly nodes: ReadonlyMap<Node, Arg>;
  /** What stands for the pattern's inputs. */
  readonly inputs: readonly Arg[];
  /** The matched calls of modules with the modules, in the order of the pattern. */
  readonly modules: readonly { readonly node: Node; readonly module: AnyModule }[];
}

/**
 * Adds, before a match, the nodes that take its place, and returns the one with the result; null leaves the match as it
 * is.
 */
export type Rewrite = (match: Match, graph: Graph) => Node | null;

/**
 * The pattern of steps that follow one another, each with one user: modules by class, operators by name. Arguments of an
 * operator beside the first are left open.
 *
 * @example
 * chain(Conv2d, BatchNorm2d, 'relu');
 */
export function chain(...steps: readonly ChainStep[]): Graph {
  const graph = new Graph();
  let node = graph.placeholder('x');
  for (const step of steps) {
    node =
      typeof step === 'string'
        ? graph.callFunction(step, [node])
        : graph.createNode('call_module', step as unknown as Target, [node]);
  }
  graph.output(node);
  return graph;
}

/**
 * Every place where the pattern occurs, in order, none overlapping. Inputs of the pattern match anything, operators the
 * same operator with the same plain arguments, modules those of the same class. A node of the pattern with fewer
 * arguments leaves the others open. Only the last node of a match may be used from outside of it.
 *
 * @throws {@link ArgumentError} unless the pattern returns one node.
 */
export function findMatches(owner: GraphModule<any, any>, pattern: Graph | GraphModule<any, any>): Match[] {
  const taken = new Set<Node>();
  return owner.graph.nodes.flatMap((node) => {
    const match = new Matcher(owner, pattern).match(node);
    if (!match || matchedNodes(match).some((n) => taken.has(n))) return [];
    for (const n of matchedNodes(match)) taken.add(n);
    return [match];
  });
}

/**
 * Replaces every occurrence of a pattern (see {@link findMatches}) by a graph with as many inputs, or by what a function
 * makes of the match. Modules and attributes of a replacement that is a
 * graph module are added to the owner. Returns the matches that were replaced.
 * Source: `torch.fx.replace_pattern`.
 *
 * @example
 * replacePattern(traced, chain('relu'), (match, graph) => graph.callFunction('hardtanh', [match.inputs[0], 0, 6]));
 */
export function replacePattern(
  owner: GraphModule<any, any>,
  pattern: Graph | GraphModule<any, any>,
  replacement: Rewrite,
): Match[];
export function replacePattern(
  owner: GraphModule<any, any>,
  pattern: Graph | GraphModule<any, any>,
  replacement: Graph | GraphModule<any, any>,
): Match[];
export function replacePattern(
  owner: GraphModule<any, any>,
  pattern: Graph | GraphModule<any, any>,
  replacement: Graph | GraphModule<any, any> | Rewrite,
): Match[] {
  const { graph } = owner;
  const replaced: Match[] = [];
  const present = new Set(graph.nodes);
  // One at a time on the graph as it is, so that a match next to another one sees what took its place.
  for (const node of [...graph.nodes]) {
    const match = present.has(node) ? new Matcher(owner, pattern).match(node) : null;
    if (!match) continue;
    const result = graph.insertingBefore(match.anchor, () =>
      replacement instanceof Graph || replacement instanceof GraphModule
        ? insert(owner, replacement, match)
        : replacement(match, graph),
    );
    if (!result) continue;
    match.anchor.replaceAllUsesWith(result);
    for (const old of matchedNodes(match).reverse()) {
      if (old.users.size > 0 || !present.delete(old)) continue;
      graph.eraseNode(old);
    }
    replaced.push(match);
  }
  graph.lint(owner);
  return replaced;
}

function insert(owner: GraphModule, replacement: Graph | GraphModule, match: Match): Node {
  const from = replacement instanceof GraphModule ? replacement.graph : replacement;
  const inputs = from.inputNodes();
  if (inputs.length !== match.inputs.length) {
    throw new ArgumentError({
      fn: 'fx.replacePattern',
      argument: 'replacement',
      expected: `${match.inputs.length} inputs, as the pattern has`,
      got: String(inputs.length),
    });
  }
  const copies = new Map<Node, Arg>(inputs.map((node, i) => [node, match.inputs[i]]));
  const replace = (node: Node): Arg => copies.get(node) as Arg;
  for (const node of from.nodes) {
    if (node.op === 'placeholder' || node.op === 'output') continue;
    const copy = owner.graph.nodeCopy(node, replace);
    if (replacement instanceof GraphModule && node.op === 'call_module') {
      copy.target = owner.addConstant(copy.name, replacement.getSubmodule(node.targetName));
    }
    if (replacement instanceof GraphModule && node.op === 'get_attr') {
      copy.target = owner.addConstant(copy.name, replacement.attribute(node.targetName));
    }
    copies.set(node, copy);
  }
  return mapNodes(resultOf(from), replace) as Node;
}

/** Matches one pattern backwards from one node. */
class Matcher {
  readonly #owner: GraphModule;
  readonly #pattern: Graph;
  readonly #patternOwner: GraphModule | null;
  readonly #bound = new Map<Node, Arg>();

  constructor(owner: GraphModule, pattern: Graph | GraphModule) {
    this.#owner = owner;
    this.#pattern = pattern instanceof GraphModule ? pattern.graph : pattern;
    this.#patternOwner = pattern instanceof GraphModule ? pattern : null;
  }

  match(anchor: Node): Match | null {
    const result = resultOf(this.#pattern);
    if (!this.#matchNode(result, anchor)) return null;
    const nodes = new Map(
      this.#pattern.nodes.flatMap((node): [Node, Arg][] =>
        this.#bound.has(node) ? [[node, this.#bound.get(node)]] : [],
      ),
    );
    const match: Match = {
      anchor,
      nodes,
      inputs: this.#pattern.inputNodes().map((node) => nodes.get(node)),
      modules: [...nodes.values()].flatMap((node) =>
        node instanceof Node && node.op === 'call_module'
          ? [{ node, module: this.#owner.getSubmodule(node.targetName) }]
          : [],
      ),
    };
    const inside = new Set(matchedNodes(match));
    for (const node of inside) {
      if (node === anchor || node.op === 'get_attr') continue;
      for (const user of node.users) if (!inside.has(user)) return null;
    }
    return match;
  }

  #matchNode(pattern: Node, node: Arg): boolean {
    if (this.#bound.has(pattern)) return sameArg(this.#bound.get(pattern), node);
    if (pattern.op !== 'placeholder') {
      if (!(node instanceof Node) || pattern.op !== node.op || !this.#sameTarget(pattern, node)) return false;
      if (pattern.args.length > node.args.length) return false;
    }
    this.#bound.set(pattern, node);
    return (
      pattern.op === 'placeholder' ||
      pattern.args.every((arg, i) => this.#matchArg(arg, (node as Node).args[i]))
    );
  }

  #matchArg(pattern: Arg, arg: Arg): boolean {
    if (pattern instanceof Node) return this.#matchNode(pattern, arg);
    if (Array.isArray(pattern)) {
      return (
        Array.isArray(arg) &&
        arg.length === pattern.length &&
        pattern.every((item: Arg, i) => this.#matchArg(item, arg[i]))
      );
    }
    if (isDict(pattern)) {
      return (
        isDict(arg) &&
        Object.keys(arg).length === Object.keys(pattern).length &&
        Object.entries(pattern).every(([key, item]) => key in arg && this.#matchArg(item, arg[key]))
      );
    }
    return sameArg(pattern, arg);
  }

  #sameTarget(pattern: Node, node: Node): boolean {
    if (node.op !== 'call_module') return pattern.target === node.target;
    const type =
      typeof pattern.target === 'function'
        ? pattern.target
        : this.#patternOwner?.getSubmodule(pattern.target).constructor;
    return this.#owner.getSubmodule(node.targetName).constructor === type;
  }
}

function sameArg(a: Arg, b: Arg): boolean {
  if (a instanceof BatchSize && b instanceof BatchSize) return a.times === b.times && a.plus === b.plus;
  return Object.is(a, b);
}

/** The nodes of the owner's graph that a match takes up, its inputs not among them. */
function matchedNodes(match: Match): Node[] {
  return [...match.nodes].flatMap(([pattern, node]) =>
    pattern.op !== 'placeholder' && node instanceof Node ? [node] : [],
  );
}

function resultOf(graph: Graph): Node {
  const result = graph.outputNode?.args[0];
  if (result instanceof Node) return result;
  throw new ArgumentError({
    fn: 'fx.replacePattern',
    argument: 'pattern',
    expected: 'a pattern that returns one node',
    got: graph.outputNode ? 'a list or a plain value' : 'a graph without output',
  });
}
