import { locating, QuantizationError } from '../../core/errors.ts';
import { deepCopy } from '../../nn/deep-copy.ts';
import type { AnyModule } from '../../nn/module.ts';
import { noGrad } from '../../ops/grad-mode.ts';
import { PackedWeights } from '../../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../../ops/quantized/packed-half.ts';
import { zeros } from '../../tensor/creation.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { PatternLookup } from '../backend/patterns.ts';
import { plainBias, quantizeWeight } from '../layers/weights.ts';
import { POST_PROCESS } from '../module-qconfig.ts';
import { observedQParams } from '../observed-qparams.ts';
import type { ObserverBase } from '../observers/observer.ts';
import type { QConfig } from '../qconfig.ts';
import { isDynamicQConfig } from '../qconfig-support.ts';
import { removeObserver, showZeroToUnobserved, swap } from '../swap.ts';
import { weightOnly } from './meet-modules.ts';
import { replaceModule } from './replace-module.ts';
import type { SeenOp } from './seen-op.ts';
import { type AutoQuantizationState, inputKey, stateOf, weightKey } from './state.ts';

/** Options of {@link convertDbr}. */
export interface ConvertDbrOptions {
  /** Change the model itself instead of a copy. */
  readonly inplace?: boolean;
  /**
   * Convert even where an observer never saw data, with placeholder parameters: for building the skeleton that a
   * saved quantized state dict is loaded into.
   */
  readonly allowUnobserved?: boolean;
}

/**
 * Makes the int8 model of one that {@link prepareDbr} prepared and that was calibrated. The model's own code runs on as it is;
 * recorded calls run in their quantized form, tensors are quantized where they come to one in float, and dequantized where
 * other code wants to see numbers. What comes out of the model is float.
 *
 * The state dict holds layers under the keys they have in eager mode; what belongs to operators is under `_auto_quant_state`.
 * Source: `torch.ao.quantization._quantize_dbr.convert`.
 *
 * @throws {@link QuantizationError} for a model that was not prepared by `prepareDbr`, or naming the call whose observer never
 *   saw data.
 * @example
 * const int8 = convertDbr(prepared);
 * const skeleton = convertDbr(prepareDbr(model, mapping, [x]), { allowUnobserved: true });
 * skeleton.loadStateDict(int8.stateDict());
 */
export function convertDbr<M extends AnyModule>(model: M, options: ConvertDbrOptions = {}): M {
  const target = options.inplace ? model : deepCopy(model);
  const state = stateOf(target);
  if (state?.phase !== 'prepared') {
    throw new QuantizationError({
      fn: 'convertDbr',
      argument: 'model',
      expected: 'a model prepared by prepareDbr or prepareQatDbr',
      got: state ? 'one that was converted already' : target.typeName,
      fix: 'Call prepareDbr(model, getDefaultQConfigMapping(), exampleInputs) and calibrate first.',
    });
  }
  const lookup = state.backend.patternOf;
  if (options.allowUnobserved) {
    showZeroToUnobserved(target);
    for (const observer of state.observers.values())
      if (!observer.hasObserved()) noGrad(() => observer(zeros([1])));
  }
  const parameters = new Map(target.namedParameters());
  for (const op of state.ops) {
    if (!op.row || op.isPart) continue;
    locating(op.kind === 'module' ? op.target : op.owner, op.type, () => {
      if (op.kind === 'module') convertModule(target, state, op, lookup);
      else convertOperator(state, op, parameters);
      takeInputs(state, op);
    });
  }
  for (const [path, meeting] of state.meetings) {
    if (meeting !== 'float') continue;
    const module = target.getSubmodule(path);
    const row = lookup(module);
    const into = isDynamicQConfig(module.qconfig)
      ? row?.dynamic
      : row?.output === 'float' && weightOnly(module)
        ? row.static
        : undefined;
    if (into) locating(path, module.typeName, () => put(target, module, into.fromFloat(module)));
  }
  state.phase = 'converted';
  state.observers.clear();
  for (const module of target.modules()) {
    module.qconfig = undefined;
    removeObserver(module, lookup);
  }
  return target;
}

function convertModule(
  target: AnyModule,
  state: AutoQuantizationState,
  op: SeenOp,
  lookup: PatternLookup,
): void {
  if (op.isRepeat) {
    if (op.isObserved) takeParameters(state, op);
    return;
  }
  const module = target.getSubmodule(op.target);
  if (op.row?.custom) {
    const quantized = swap(module, op.target, 'static', lookup);
    if (quantized !== module) replaceModule(target, module, quantized);
    return;
  }
  if (!op.row?.static) return;
  // The quantized classes look for the observer where eager mode keeps it.
  const observer = state.observers.get(op.key);
  if (observer) module.addModule(POST_PROCESS, observer);
  const quantized = op.row.static.fromFloat(module);
  put(target, module, quantized);
}

function put(target: AnyModule, before: AnyModule, after: AnyModule): void {
  after.train(before.training);
  after.adoptHooks(before);
  replaceModule(target, before, after);
}

function convertOperator(
  state: AutoQuantizationState,
  op: SeenOp,
  parameters: ReadonlyMap<string, Tensor>,
): void {
  if (op.isObserved) takeParameters(state, op);
  if (op.weight === null || !(op.isObserved || op.isDynamic)) return;
  const weight = parameters.get(op.weight.weight) as Tensor;
  const bias = op.weight.bias === null ? null : (parameters.get(op.weight.bias) as Tensor);
  if (op.isDynamic && (op.qconfig as QConfig).weight().dtype === 'float16') {
    state.packed.set(op.key, new PackedHalfWeights(weight, plainBias(bias)));
    return;
  }
  const trained = state.observers.get(weightKey(op));
  const observer = trained ?? (op.qconfig as QConfig).weight();
  if (!trained?.hasObserved()) noGrad(() => observer(weight));
  const quantized = quantizeWeight(weight, observer, 'convertDbr');
  state.packed.set(op.key, new PackedWeights(quantized, plainBias(bias), op.weight.geometry));
}

function takeParameters(state: AutoQuantizationState, op: SeenOp): void {
  const { key } = op.shares;
  if (state.qparams.has(key)) return;
  state.qparams.set(key, { ...observedQParams(state.observers.get(key), 'convertDbr') });
}

function takeInputs(state: AutoQuantizationState, op: SeenOp): void {
  if (op.joins) return;
  for (let place = 0; place < op.arity; place++) {
    const key = inputKey(op, place);
    const observer: ObserverBase | undefined = state.observers.get(key);
    if (observer?.hasObserved()) state.qparams.set(key, { ...observedQParams(observer, 'convertDbr') });
  }
}
