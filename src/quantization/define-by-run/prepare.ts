import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import { Identity } from '../../nn/index.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { type BackendConfig, backendOf } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { PatternLookup } from '../backend/patterns.ts';
import { recordNotes, refuseNotes } from '../notes.ts';
import { attachObservers, takeApart } from '../observation.ts';
import type { ObserverBase, ObserverFactory } from '../observers/observer.ts';
import { propagateQConfig } from '../propagate-qconfig.ts';
import type { QConfig } from '../qconfig.ts';
import { QConfigMapping, type QConfigMappingDict } from '../qconfig-mapping.ts';
import { isDynamicQConfig, requireStaticQConfig } from '../qconfig-support.ts';
import { swap } from '../swap.ts';
import { type Fusion, findFusions } from './fuse.ts';
import { meetModules, weightOnly } from './meet-modules.ts';
import { notesOf } from './notes.ts';
import { isActivation } from './observe.ts';
import { type Decide, Record, Recording } from './record.ts';
import { replaceModule } from './replace-module.ts';
import { runByRun } from './run-by-run.ts';
import { AutoQuantizationState, adoptState, inputKey, stateOf, weightKey } from './state.ts';
import { treatmentFor } from './treatment.ts';

/** Options of {@link prepareDbr}. */
export interface PrepareDbrOptions {
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
  /**
   * Rows of your own that come before the backend table's. Those that fuse a layer with an operator of known range (sigmoid,
   * tanh, softmax) do not apply here: such an operator goes with what it is given.
   */
  readonly patterns?: readonly Pattern[];
  /** Another table than the library's own. */
  readonly backendConfig?: BackendConfig;
  /** Further lists of inputs, where one does not lead through every part of the model. */
  readonly moreExamples?: readonly (readonly unknown[])[];
  /**
   * Throw where a layer or operator that a qconfig reached stays float for want of a quantized form. Without it they stay
   * float, and `suite.coverage` tells why.
   */
  readonly strict?: boolean;
}

/**
 * Prepares a model for static (by qconfig also dynamic) quantization without graph or stubs: runs it once and records the calls that
 * can be quantized (layers, additions, products, concatenations, …), module by module in their order. What runs of calls the backend
 * table knows are fused, observers are placed. Calibrate by running the result: loops, branches, early exits, code that
 * reads values or knows nothing of tensors all run as they are, as long as quantizable calls come in the recorded order; fewer
 * of them may come. Then {@link convertDbr}.
 *
 * Calls are counted per run of the module that makes them, so a module may run any number of times. A module that is used in
 * several places has one set of weights, and output parameters for each place. Operators that keep values (pools, relu,
 * views, indexing, padding) go with what they are given: integers or floats. Where an operator takes a parameter of the
 * model as its weight, the converted model holds that parameter still, since the model's code names it.
 *
 * Source: `torch.ao.quantization._quantize_dbr.prepare`.
 *
 * @param qconfigMapping Which part is quantized how, also as a plain object of PyTorch's keys; modules with a `qconfig` of
 *   their own keep it.
 * @param exampleInputs The inputs of one call.
 * @throws {@link QuantizationError} for a model in training mode, and later where calls come in another order: it names the
 *   module and both calls.
 * @example
 * const prepared = prepareDbr(model.eval(), getDefaultQConfigMapping(), [samples[0]]);
 * noGrad(() => { for (const x of samples) prepared(x); });
 * const int8 = convertDbr(prepared);
 */
export function prepareDbr<M extends AnyModule>(
  model: M,
  qconfigMapping: QConfigMapping | QConfigMappingDict,
  exampleInputs: readonly unknown[],
  options: PrepareDbrOptions = {},
): M {
  return prepareModel(model, qconfigMapping, exampleInputs, options, { fn: 'prepareDbr', training: false });
}

/**
 * {@link prepareDbr} for training through quantization: layers become their training forms (convolutions with their batch
 * normalizations), and what would be observed is rounded. The result has parameters of its own; give those to the optimizer.
 * The example inputs are run in evaluation mode and leave no trace in batch statistics. Train it, call `eval()`, then
 * {@link convertDbr} it: with gradients off, an evaluated model predicts what that gives, to the integer. `apply` reaches
 * the fake-quantizes of operators too.
 *
 * @throws {@link QuantizationError} for a model in evaluation mode, and later as {@link prepareDbr}.
 * @example
 * const prepared = prepareQatDbr(model.train(), getDefaultQatQConfigMapping(), [x]);
 * trainOneEpoch(prepared, new optim.SGD(prepared.parameters(), { lr: 1e-3 }));
 * const int8 = convertDbr(prepared.eval());
 */
export function prepareQatDbr<M extends AnyModule>(
  model: M,
  qconfigMapping: QConfigMapping | QConfigMappingDict,
  exampleInputs: readonly unknown[],
  options: PrepareDbrOptions = {},
): M {
  if (!model.training) {
    throw new QuantizationError({
      fn: 'prepareQatDbr',
      argument: 'model',
      expected: 'a model in training mode',
      got: `${model.typeName} in evaluation mode`,
      fix: 'Call model.train() first, or use prepareDbr for quantization without training.',
    });
  }
  return prepareModel(model, qconfigMapping, exampleInputs, options, { fn: 'prepareQatDbr', training: true });
}

/** What both do. */
function prepareModel<M extends AnyModule>(
  model: M,
  qconfigMapping: QConfigMapping | QConfigMappingDict,
  exampleInputs: readonly unknown[],
  options: PrepareDbrOptions,
  { fn, training }: { readonly fn: string; readonly training: boolean },
): M {
  const target = options.inplace ? model : deepCopy(model);
  const backend = backendOf(options);
  const lookup = backend.patternOf;
  const mapping =
    qconfigMapping instanceof QConfigMapping ? qconfigMapping : QConfigMapping.fromDict(qconfigMapping);
  if (training) target.eval();
  requireSuitable(target, lookup(target), fn);
  const given = ownQConfigs(target);
  propagateQConfig(target, mapping, { backendConfig: backend });
  requireQConfigs(target, mapping, fn);
  takeApart(target, lookup);
  for (const [path, module] of target.namedModules()) {
    const row = lookup(module);
    if (row?.static && row.output && !isDynamicQConfig(module.qconfig))
      requireStaticQConfig(fn, module, path, row);
  }
  const state = new AutoQuantizationState(backend);
  state.isTrained = training;
  const decide = treatmentFor({ root: target, given, mapping, backend });
  const examples = [exampleInputs, ...(options.moreExamples ?? [])];
  const record = settle(target, state, examples, decide);
  for (const [owner, ops] of record.plans) state.plans.set(owner, ops);
  if (training) trainLayers(target, state, record, lookup);
  // Only now, so that the examples are no calibration.
  for (const module of target.modules())
    if (lookup(module)?.custom?.observed === module.constructor) attachObservers(module, lookup);
  share(record);
  placeObservers(state, record);
  state.notes = notesOf(target, state, record);
  if (options.strict) refuseNotes(fn, state.notes);
  recordNotes(
    target,
    state.notes.filter((note) => note.kind === 'module'),
  );
  adoptState(target, state, runByRun);
  return training ? target.train() : target;
}

/** Puts the training forms of layers in their places, each once, wherever they stand. */
function trainLayers(
  target: AnyModule,
  state: AutoQuantizationState,
  record: Record,
  lookup: PatternLookup,
): void {
  const recorded = record.ops.flatMap((op) =>
    op.kind === 'module' && op.row && !op.isPart ? [op.target] : [],
  );
  const weights = [...state.meetings].flatMap(([path, meeting]) =>
    meeting === 'float' && weightOnly(target.getSubmodule(path)) ? [path] : [],
  );
  for (const path of new Set([...recorded, ...weights])) {
    const module = target.getSubmodule(path);
    const row = lookup(module);
    if (row?.custom) {
      swap(module, path, 'qat', lookup);
      continue;
    }
    if (!row?.qat || !module.qconfig || module.constructor !== row.float) continue;
    const made = row.qat.fromFloat(module);
    made.adoptHooks(module);
    replaceModule(target, module, made);
  }
}

/**
 * Records the model on the examples and fuses what can be. A normalization that nothing can be fused with runs in float, which
 * changes what is recorded after it: then it all begins again.
 */
function settle(
  target: AnyModule,
  state: AutoQuantizationState,
  examples: readonly (readonly unknown[])[],
  decide: Decide,
): Record {
  const { backend } = state;
  const moduleAt = (path: string): AnyModule => target.getSubmodule(path);
  const alone = new Set<string>();
  for (;;) {
    const record = new Record();
    state.meetings = meetModules(target, backend, alone);
    noGrad(() => {
      for (const inputs of examples)
        new Recording(target, state, record, decide).run(() => target(...inputs));
    });
    const fusions = findFusions({ record, backend, moduleAt, training: state.isTrained });
    const parts = new Set(fusions.flatMap(({ ops }) => ops.slice(1)));
    const left = record.ops.filter((op) => op.kind === 'module' && !op.row && !parts.has(op));
    if (left.length === 0) {
      for (const fusion of fusions) apply(target, fusion, backend);
      dropFused(target, record);
      return record;
    }
    for (const op of left) alone.add(op.target);
  }
}

/** Lets the first call of a fusion do the work of all. */
function apply(target: AnyModule, { ops, module }: Fusion, backend: BackendConfig): void {
  const [head] = ops;
  ops.forEach((op, i) => {
    op.next = ops[i + 1] ?? null;
    op.head = head;
  });
  if (!module) {
    head.row = backend.operatorPatternOf(...ops.map((op) => op.target)) ?? null;
    return;
  }
  const before = target.getSubmodule(head.target);
  const last = ops[ops.length - 1];
  module.eval();
  module.adoptHooks(last.kind === 'module' ? target.getSubmodule(last.target) : before);
  module.qconfig = before.qconfig;
  replaceModule(target, before, module);
  head.row = backend.patternOf(module) ?? null;
}

/** Normalizations whose every call was folded or taken into another layer have nothing left to do where they were. */
function dropFused(target: AnyModule, record: Record): void {
  const { ops } = record;
  const folded = ops.filter((op) => op.isPart && op.kind === 'module');
  for (const op of folded) {
    if (ops.some((other) => other.matches(op) && !other.isPart)) continue;
    const module = target.getSubmodule(op.target);
    if (!(module instanceof Identity)) replaceModule(target, module, new Identity().eval(), false);
  }
}

/**
 * Calls whose results are joined come under one observer: that of the first of them. Where a tensor of known range is among
 * them, what they are joined to has an observer of its own, and is the only one where that tensor comes first.
 */
function share(record: Record): void {
  for (const [join, sources] of record.joined) {
    const isFirst = record.unshared.get(join);
    if (isFirst) continue;
    const group = new Set([...sources, ...(isFirst === undefined ? [join] : [])].map((op) => op.head.shares));
    const [first] = group;
    for (const op of record.ops) if (group.has(op.shares)) op.shares = first;
  }
}

function placeObservers(state: AutoQuantizationState, record: Record): void {
  const { observers } = state;
  for (const op of record.ops) {
    if (op.isObserved) {
      const { key, qconfig } = op.shares;
      const range = op.shares === op ? record.fixed.get(op)?.fixedOutput : undefined;
      const observer = observers.get(key) ?? observerFor(qconfig as QConfig, range, state.isTrained);
      observers.set(key, observer);
      observers.set(op.key, observer);
    }
    if (state.isTrained && op.weight && op.isObserved)
      observers.set(weightKey(op), (op.qconfig as QConfig).weight());
    if (op.joins || !op.takesQuantized) continue;
    for (const place of record.plain.get(op) ?? []) {
      if (isActivation(op, place)) observers.set(inputKey(op, place), (op.qconfig as QConfig).activation());
    }
  }
}

/** What watches a result: what its qconfig says, or the known parameters of what it is put together from. */
function observerFor(
  { activation }: QConfig,
  range: ObserverFactory | undefined,
  isTrained: boolean,
): ObserverBase {
  const own = activation();
  if (!range || own.dtype !== 'quint8') return own;
  return isTrained ? range() : (range.args as { readonly observer: ObserverFactory }).observer();
}

/** QConfigs that modules have of their own, for themselves and all below, by path. */
function ownQConfigs(root: AnyModule): Map<string, QConfig | null> {
  const given = new Map<string, QConfig | null>();
  for (const [path, module] of root.namedModules()) {
    const above = given.get(path.slice(0, Math.max(path.lastIndexOf('.'), 0)));
    const own = module.qconfig === undefined ? above : module.qconfig;
    if (own !== undefined) given.set(path, own);
  }
  return given;
}

function requireSuitable(model: AnyModule, row: Pattern | undefined, fn: string): void {
  if (row) {
    throw new ArgumentError({
      fn,
      argument: 'model',
      expected: 'a model that calls the layers to be quantized',
      got: `a single ${model.typeName}`,
      fix: 'Put it into a Sequential.',
    });
  }
  const prepared = model.namedModules().find(([, module]) => stateOf(module));
  if (prepared) {
    throw new QuantizationError({
      fn,
      argument: 'model',
      expected: 'a float model',
      got: `${prepared[0] || prepared[1].typeName}, which was prepared or converted define-by-run before`,
      fix: 'Prepare the float model; keep parts float, or give them another qconfig, by the mapping.',
    });
  }
  const training = model.namedModules().find(([, module]) => module.training);
  if (!training) return;
  const [path, module] = training;
  const error = new QuantizationError({
    fn,
    argument: 'model',
    expected: 'a model in evaluation mode (batch statistics are folded into weights, dropout does nothing)',
    got: `${module.typeName} in training mode`,
    fix: 'Call model.eval() first.',
  });
  error.locate(path, module.typeName);
  throw error;
}

function requireQConfigs(model: AnyModule, mapping: QConfigMapping, fn: string): void {
  const { globalQConfig, objectTypeQConfigs } = mapping;
  if (globalQConfig || [...objectTypeQConfigs.values()].some(Boolean)) return;
  if (model.modules().some((m) => m.qconfig)) return;
  throw new QuantizationError({
    fn,
    argument: 'qconfigMapping',
    expected: 'a qconfig for the model or for some part of it',
    got: 'none',
    fix: 'Pass getDefaultQConfigMapping(), for training getDefaultQatQConfigMapping().',
  });
}
