import { type AnyModule, Module, type StateLoader } from '../../nn/module.ts';
import { PackedWeights } from '../../ops/quantized/packed.ts';
import { PackedHalfWeights } from '../../ops/quantized/packed-half.ts';
import type { QuantizedDType } from '../../tensor/dtype.ts';
import type { StateDict } from '../../tensor/state.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import { loadOutputQParams, readWeightAndBias, saveOutputQParams } from '../layers/state.ts';
import type { Note } from '../notes.ts';
import type { ActivationQParams } from '../observed-qparams.ts';
import type { ObserverBase } from '../observers/observer.ts';
import type { SeenOp } from './seen-op.ts';

/**
 * How a call of a module is met. `recorded`: it is one quantizable call. `float`: all of it stays float. `as is`: it takes
 * quantized tensors itself. `open`: the calls it makes count as its caller's. `frame`: it makes quantizable calls of its own.
 */
export type Meeting = 'recorded' | 'float' | 'as is' | 'open' | 'frame';

/** A {@link Note} about a module, or about an operator and the module that calls it. */
export interface CallNote extends Note {
  readonly kind: 'module' | 'operator';
}

/** Output parameters that a converted model may get new values for from a state dict. */
export type MutableQParams = { -readonly [K in keyof ActivationQParams]: ActivationQParams[K] };

/**
 * What a model under define-by-run quantization knows beside its modules: the recorded calls, their observers before
 * conversion, and scales, zero points and packed weights of operators after it. It is part of the root's state dict.
 * Source: `torch.ao.quantization._dbr.quantization_state.AutoQuantizationState`.
 */
export class AutoQuantizationState extends Module<never[], never> {
  phase: 'prepared' | 'converted' = 'prepared';
  /** True for a model that is trained through quantization: its observers are fake-quantizes. */
  isTrained = false;
  readonly backend: BackendConfig;
  /** Recorded calls by the path of the module that makes them. */
  readonly plans: Map<string, readonly SeenOp[]> = new Map();
  /** Modules by path, where their calls are met otherwise than by what they are. */
  meetings: ReadonlyMap<string, Meeting> = new Map();
  /** Observers of results and inputs, by {@link SeenOp.key} and {@link inputKey}. */
  readonly observers: Map<string, ObserverBase> = new Map();
  readonly qparams: Map<string, MutableQParams> = new Map();
  readonly packed: Map<string, PackedWeights | PackedHalfWeights> = new Map();
  /** Quantizable calls and modules that stay float, and operators that ran in float on what would be quantized. */
  notes: readonly CallNote[] = [];

  constructor(backend: BackendConfig) {
    super();
    this.backend = backend;
  }

  forward(): never {
    throw new TypeError('AutoQuantizationState is not called');
  }

  /** All recorded calls, module by module in the order they ran first. */
  get ops(): SeenOp[] {
    return [...this.plans.values()].flat();
  }

  override saveToStateDict(into: StateDict, prefix: string): void {
    const saved = new Set<ObserverBase>();
    for (const [key, observer] of this.observers) {
      if (saved.has(observer)) continue;
      saved.add(observer);
      observer.stateDict(`${prefix}${key}.`, into);
    }
    for (const [key, qparams] of this.qparams) saveOutputQParams(qparams, into, `${prefix}${key}.`);
    for (const [key, { weight, bias }] of this.packed) {
      into.set(`${prefix}${key}.weight`, weight);
      into.set(`${prefix}${key}.bias`, bias);
    }
  }

  override loadFromStateDict(loader: StateLoader, prefix: string): void {
    const visited = new Set<ObserverBase>();
    for (const [key, observer] of this.observers) {
      if (visited.has(observer)) continue;
      visited.add(observer);
      loader.visit(observer, `${prefix}${key}.`);
    }
    for (const [key, qparams] of this.qparams) loadOutputQParams(qparams, loader, `${prefix}${key}.`);
    for (const op of this.phase === 'converted' ? this.ops : []) loadFurtherInputs(this, loader, prefix, op);
    for (const [key, packed] of this.packed) loadPacked(this, loader, prefix, key, packed);
  }
}

/** Inputs that were float in calibration, on ways that the example inputs did not take. */
function loadFurtherInputs(
  state: AutoQuantizationState,
  loader: StateLoader,
  prefix: string,
  op: SeenOp,
): void {
  for (let place = 0; place < op.arity; place++) {
    const key = inputKey(op, place);
    if (state.qparams.has(key) || loader.take(`${prefix}${key}.scale`, true) === undefined) continue;
    const dtype = op.qconfig?.activation().dtype as QuantizedDType;
    const qparams: MutableQParams = { scale: 1, zeroPoint: 0, dtype };
    loadOutputQParams(qparams, loader, `${prefix}${key}.`);
    loader.later(() => state.qparams.set(key, qparams));
  }
}

function loadPacked(
  state: AutoQuantizationState,
  loader: StateLoader,
  prefix: string,
  key: string,
  packed: PackedWeights | PackedHalfWeights,
): void {
  const weightKey = `${prefix}${key}.weight`;
  const weight = loader.take(weightKey);
  const bias = loader.take(`${prefix}${key}.bias`);
  if (weight === undefined || bias === undefined) return;
  const isHalf = packed instanceof PackedHalfWeights;
  const assign = (w: Tensor, b: Tensor | null): void => {
    state.packed.set(key, isHalf ? new PackedHalfWeights(w, b) : new PackedWeights(w, b, packed.geometry));
  };
  readWeightAndBias(loader, weightKey, weight, bias, packed.weight.shape, assign, isHalf);
}

/** Where the fake-quantize of a call's weight is kept: `layer1.0.ops.2.weight_fake_quant`. */
export function weightKey(op: SeenOp): string {
  return `${op.key}.weight_fake_quant`;
}

/** Where the parameters of a call's input are kept: `layer1.0.ops.2.inputs.0`. */
export function inputKey(op: SeenOp, place: number): string {
  return `${op.key}.inputs.${place}`;
}

const STATE = '_auto_quant_state';

/** The define-by-run state of a prepared or converted model; undefined for any other. */
export function stateOf(model: AnyModule): AutoQuantizationState | undefined {
  return (model as unknown as Record<string, AutoQuantizationState | undefined>)[STATE];
}

type AnyClass = abstract new (...args: any[]) => AnyModule;
type Runner = (
  model: AnyModule,
  state: AutoQuantizationState,
  inputs: readonly unknown[],
  body: () => unknown,
) => unknown;

const derived = new WeakMap<AnyClass, AnyClass>();

/**
 * Puts a model under its state: the object stays the same, of a class derived from its own, so that what it holds and what
 * it can do stay; a call of it goes through `run`. Source: the classes that `add_auto_convert` and `add_auto_observation`
 * make.
 */
export function adoptState(model: AnyModule, state: AutoQuantizationState, run: Runner): void {
  const base = model.constructor as AnyClass;
  let type = derived.get(base);
  if (!type) {
    type = derive(base, run);
    derived.set(base, type);
  }
  Object.setPrototypeOf(model, type.prototype as object);
  // Not enumerable: a Sequential would run it as one of its layers.
  Object.defineProperty(model, STATE, {
    value: state,
    writable: true,
    configurable: true,
    enumerable: false,
  });
}

function derive(base: AnyClass, run: Runner): AnyClass {
  abstract class ByRun extends base {
    override forward(...inputs: unknown[]): unknown {
      const state = stateOf(this) as AutoQuantizationState;
      return run(this, state, inputs, () => base.prototype.forward.apply(this, inputs));
    }

    // Observers of operators are no children of any module, and switched on and off like those that are.
    override apply(visit: (module: AnyModule) => void): this {
      for (const observer of new Set(stateOf(this)?.observers.values())) observer.apply(visit);
      return super.apply(visit);
    }

    override saveToStateDict(into: StateDict, prefix: string): void {
      super.saveToStateDict(into, prefix);
      stateOf(this)?.stateDict(`${prefix}${STATE}.`, into);
    }

    override loadFromStateDict(loader: StateLoader, prefix: string): void {
      super.loadFromStateDict(loader, prefix);
      const state = stateOf(this);
      if (state) loader.visit(state, `${prefix}${STATE}.`);
    }
  }
  Object.defineProperty(ByRun, 'name', { value: base.name });
  return ByRun;
}
