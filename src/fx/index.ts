/** `zeropoint/fx`: models as graphs, to be read, changed and run. */
export { type BatchRule, Graph } from './graph.ts';
export { GraphModule, type GraphModuleOptions } from './graph-module.ts';
export { Interpreter, type InterpreterOptions } from './interpreter.ts';
export { isLeafModule, type LeafRule, type ModuleClass, registerLeafModules } from './leaf.ts';
export type { GraphOwner } from './lint.ts';
export {
  type Arg,
  BatchSize,
  mapNodes,
  Node,
  type NodeMeta,
  nodesIn,
  type Opcode,
  type Target,
  type WrappedFunction,
} from './node.ts';
export { foldBatchNorms, foldConstants } from './passes.ts';
export {
  type ChainStep,
  chain,
  findMatches,
  type Match,
  type Rewrite,
  replacePattern,
} from './pattern.ts';
export { type SymbolicTraceOptions, symbolicTrace } from './symbolic-trace.ts';
export { wrap } from './wrap.ts';
