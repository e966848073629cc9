import { ArgumentError } from '../core/errors.ts';
import { type AnyModule, Module } from '../nn/module.ts';
import { dispatch } from '../ops/dispatch.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import { stateOf } from '../quantization/define-by-run/state.ts';
import { DeQuantize } from '../quantization/layers/quantized/index.ts';
import type { QuantizedDType } from '../tensor/dtype.ts';
import type { QParams } from '../tensor/qparams.ts';
import { Tensor } from '../tensor/tensor.ts';
import { shadowOutput } from './compare-runs.ts';
import { ErrorSums } from './error-sums.ts';
import { isMove, matchRuns, type SitePair, siteType } from './match.ts';
import {
  type Around,
  type Batch,
  type Call,
  callAgain,
  type Run,
  recordRun,
  replaceTensors,
  type Site,
  tensorsIn,
} from './sites.ts';

/** How a tensor is quantized. */
interface Grid {
  readonly dtype: QuantizedDType;
  readonly qparams: QParams;
}

/** A call as the example run made it, its inputs taken out: what it takes to make it with others. */
interface Template {
  readonly call: Call;
  /** For every tensor among the arguments, whether it depends on the inputs. */
  readonly varying: readonly boolean[];
  /** How each input was quantized; null for float ones. */
  readonly inputs: readonly (Grid | null)[];
  readonly outputs: readonly (Grid | null)[];
}

/** A layer of both models. */
export interface MixedLayer {
  readonly path: string;
  /** The float model's class or operator. */
  readonly type: string;
}

interface Place extends MixedLayer {
  readonly float: readonly Template[];
  readonly int8: Template;
  /** True where the int8 layer gives exactly what the float one gives on its inputs, as a maximum pool does. */
  readonly exact: boolean;
}

/** One run of both models on a batch, for {@link MixedModels.rerun}. */
export interface Recording {
  readonly batch: Batch;
  readonly float: Run;
  readonly int8: Run;
}

/** Which of the models a mixed one is, but for some layers: `int8` with those in float, or `float` with those in int8. */
export type MixedSide = 'float' | 'int8';

/**
 * A float and an int8 model that run as one: most layers as in one of them, some as in the other. Nothing is converted again,
 * so it costs no more than a run. Between float and int8 layers activations are quantized as in the int8 model.
 */
export class MixedModels {
  readonly #models: Readonly<Record<MixedSide, AnyModule>>;
  readonly #patterns: readonly Pattern[];
  readonly #places: readonly Place[];
  readonly #int8Outputs: ReadonlyMap<string, readonly (Grid | null)[]>;
  /** Code that runs by run knows of quantized results of its calls only. */
  readonly #isDefineByRun: boolean;

  /**
   * @param example Inputs on which both models run once, to find which layers belong together.
   * @param fn What messages name.
   */
  constructor(
    float: AnyModule,
    int8: AnyModule,
    example: Batch,
    fn: string,
    patterns: readonly Pattern[] = [],
  ) {
    this.#models = { float, int8 };
    this.#patterns = patterns;
    this.#isDefineByRun = int8.modules().some((module) => stateOf(module));
    const { float: floatRun, int8: int8Run } = this.record(example);
    const { pairs } = matchRuns(floatRun, int8Run, fn, patterns);
    this.#places = pairs.filter(changesValues).map((pair) => ({
      path: pair.path,
      type: pair.float.map(siteType).join(' + '),
      float: pair.float.map((site) => templateOf(site, floatRun)),
      int8: templateOf(pair.int8, int8Run),
      exact: isExact(shadowOutput(fn, pair, floatRun, int8Run), pair.int8Output, fn),
    }));
    this.#int8Outputs = new Map(int8Run.sites.map((site) => [site.key, site.outputs.map(gridOf)]));
  }

  /** The layers that make noise of their own, each once, in the order they run. */
  layers(): MixedLayer[] {
    const noisy = this.#places.filter((place) => !place.exact);
    return [...new Map(noisy.map(({ path, type }) => [path, { path, type }])).values()];
  }

  /** Runs both models on a batch. */
  record(batch: Batch): Recording {
    const patterns = this.#patterns;
    const [float, int8] = [this.#models.float, this.#models.int8].map((m) =>
      recordRun(m, batch, { patterns }),
    );
    return { batch, float, int8 };
  }

  /**
   * A model with some layers exchanged, as a module. `int8`: the int8 model with these layers in float, on inputs that are
   * not rounded again, with float weights; what an int8 layer reads next is quantized as it is in the int8 model, and in a
   * define-by-run model so is what a float layer reads next. `float`: the float model with these layers in int8, their inputs
   * quantized as in the int8 model, their outputs turned back.
   *
   * @param paths Layers, or modules with all layers inside.
   */
  model(side: MixedSide, paths: readonly string[]): AnyModule {
    return new InterceptedModel(this.#models[side], this.#exchange(side, paths), this.#patterns);
  }

  /** What {@link model} returns for the recorded batch; calls before the first exchanged layer are not made again. */
  rerun(side: MixedSide, paths: readonly string[], recording: Recording): unknown {
    const exchange = this.#exchange(side, paths);
    const first = new Set(this.#select(paths).map((p) => (side === 'int8' ? p.int8 : p.float[0]).call.key));
    const known = new Map<string, unknown>();
    for (const site of recording[side].sites) {
      if (first.has(site.key)) break;
      known.set(site.key, site.result);
    }
    const around: Around = (call, run) => (known.has(call.key) ? known.get(call.key) : exchange(call, run));
    return recordRun(this.#models[side], recording.batch, { around, patterns: this.#patterns, keep: false })
      .result;
  }

  #exchange(side: MixedSide, paths: readonly string[]): Around {
    return side === 'int8' ? this.#withFloat(paths) : this.#withInt8(paths);
  }

  #withFloat(paths: readonly string[]): Around {
    const places = new Map(this.#select(paths).map((place) => [place.int8.call.key, place]));
    const pending = new WeakMap<Tensor, Grid>();
    return (call, run) => {
      const place = places.get(call.key);
      const isCrossing = call.op === 'dequantize' || call.module instanceof DeQuantize;
      // Calls that gave back what they were given in the example (dropout, identities) are not in the table.
      const keeps = isCrossing || isMove(call) || !this.#int8Outputs.has(call.key);
      const args = place || keeps ? call.args : replaceTensors(call.args, (t) => onGrid(t, pending.get(t)));
      const result = place ? this.#inFloat(place, call.args) : run(args as readonly unknown[]);
      // What a float call reads is rounded no more; another call may still read the same tensor in int8.
      if (isCrossing) return replaceTensors(result, (t) => (pending.has(t) ? asFloat(t) : t));
      if (place || keeps) {
        const grids = this.#int8Outputs.get(call.key) ?? [];
        for (const [i, tensor] of tensorsIn(result).entries()) {
          const grid = grids[i];
          if (grid && !tensor.qparams) pending.set(tensor, grid);
        }
      }
      return result;
    };
  }

  #withInt8(paths: readonly string[]): Around {
    const heads = new Map<string, Place>();
    const followers = new Set<string>();
    for (const place of this.#select(paths)) {
      const [head, ...rest] = place.float;
      heads.set(head.call.key, place);
      for (const template of rest) followers.add(template.call.key);
    }
    return (call, run) => {
      const place = heads.get(call.key);
      if (place) return runInInt8(place, call.args);
      return followers.has(call.key) ? call.args[0] : run(call.args);
    };
  }

  #inFloat(place: Place, args: readonly unknown[]): unknown {
    const result = runInFloat(place, args);
    let i = 0;
    return this.#isDefineByRun ? replaceTensors(result, (t) => onGrid(t, place.int8.outputs[i++])) : result;
  }

  #select(paths: readonly string[]): Place[] {
    const chosen = this.#places.filter((place) => paths.some((path) => isAtOrIn(place.path, path)));
    const unknown = paths.filter((path) => !chosen.some((place) => isAtOrIn(place.path, path)));
    if (unknown.length === 0) return chosen;
    throw new ArgumentError({
      fn: 'sensitivity',
      argument: 'layers',
      expected: 'paths of layers that run in both models, or of modules with such layers inside',
      got: unknown.map((path) => `'${path}'`).join(', '),
      fix: 'compareActivations(float, int8, batches) lists the paths.',
    });
  }
}

function isAtOrIn(path: string, module: string): boolean {
  return path === module || module === '' || path.startsWith(`${module}.`);
}

/** Runs a model with some of its calls exchanged. */
class InterceptedModel extends Module<any, any> {
  readonly #run: (inputs: readonly unknown[]) => unknown;

  constructor(model: AnyModule, around: Around, patterns: readonly Pattern[]) {
    super();
    this.#run = (inputs) => recordRun(model, inputs, { around, patterns, keep: false }).result;
    this.training = false;
  }

  forward(...inputs: unknown[]): unknown {
    return this.#run(inputs);
  }
}

/** Layers that give what they are given, up to its order, are the same in both models. */
function changesValues({ float, int8 }: SitePair): boolean {
  return float.length > 0 && !float.every(isMove) && !isMove(int8);
}

function isExact(float: Tensor, int8: Tensor, fn: string): boolean {
  return new ErrorSums(fn).add(float, int8).metrics().maxError === 0;
}

function templateOf(site: Site, run: Run): Template {
  const tensors = tensorsIn(site.args);
  const varying = tensors.map(run.isActivation);
  const inputs = tensors.filter((_, i) => varying[i]).map(gridOf);
  const varyingTensors = new Set(tensors.filter((_, i) => varying[i]));
  // The example's activations are not kept: any small tensor holds their place.
  const args = replaceTensors(site.args, (t) => (varyingTensors.has(t) ? placeholder() : t));
  const { key, path, scope, module, op } = site;
  const call = { key, path, scope, module, op, args: args as readonly unknown[] };
  return { call, varying, inputs, outputs: site.outputs.map(gridOf) };
}

function placeholder(): Tensor {
  return new Tensor({ storage: new Float32Array(1), shape: [1], dtype: 'float32' });
}

function gridOf(tensor: Tensor): Grid | null {
  return tensor.qparams && { dtype: tensor.dtype as QuantizedDType, qparams: tensor.qparams };
}

/** The same numbers as another tensor. */
function asFloat({ storage, shape, strides, offset, dtype }: Tensor): Tensor {
  return new Tensor({ storage, shape, strides, offset, dtype });
}

/** A float tensor on a grid; others as they are. */
function onGrid(tensor: Tensor, grid: Grid | null | undefined): Tensor {
  if (!grid || tensor.qparams || grid.qparams.scheme !== 'per_tensor_affine') return tensor;
  const { scale, zeroPoint } = grid.qparams;
  return dispatch('quantizePerTensor', tensor, scale, zeroPoint, grid.dtype);
}

/** The tensors among given arguments that depend on the inputs, as the example says. */
function varyingOf({ varying }: Template, args: readonly unknown[]): Tensor[] {
  return tensorsIn(args).filter((_, i) => varying[i]);
}

/** A call of the example with other inputs. */
function callWith({ call, varying }: Template, inputs: readonly Tensor[]): unknown {
  let tensors = 0;
  let used = 0;
  const args = replaceTensors(call.args, (t) => (varying[tensors++] ? inputs[used++] : t));
  return callAgain(call, args as readonly unknown[]);
}

function runInFloat({ float, int8 }: Place, args: readonly unknown[]): unknown {
  const [head, ...rest] = float;
  const inputs = varyingOf(int8, args).map((t) => dispatch('dequantize', t));
  let result = callWith(head, inputs);
  for (const template of rest) result = callAgain(template.call, [tensorsIn(result)[0]]);
  return result;
}

function runInInt8({ float, int8 }: Place, args: readonly unknown[]): unknown {
  const inputs = varyingOf(float[0], args).map((t, i) => onGrid(t, int8.inputs[i]));
  return replaceTensors(callWith(int8, inputs), (t) => dispatch('dequantize', t));
}
