import { QuantizationError } from '../core/errors.ts';
import { BatchNorm, ReLU } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import type { Pattern } from '../quantization/backend/pattern.ts';
import { PATTERNS } from '../quantization/backend/patterns.ts';
import { FakeQuantizeBase } from '../quantization/fake-quantize/fake-quantize.ts';
import { DeQuantize, Quantize } from '../quantization/layers/quantized/index.ts';
import { firstLayer } from '../quantization/layers/weights.ts';
import { QuantStub } from '../quantization/stubs.ts';
import { isQuantizedDType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { layerWeights } from './layer-weights.ts';
import { type Call, type Run, type Site, tensorsIn } from './sites.ts';

/** A place that both models have. */
export interface SitePair {
  /** Path of the layer, or of the module in which the operator runs. */
  readonly path: string;
  /** What the float model computes there, call after call: a layer and what was fused behind it. Empty for inputs. */
  readonly float: readonly Site[];
  readonly int8: Site;
  readonly floatOutput: Tensor;
  readonly int8Output: Tensor;
}

/** A place that only one of the models has. */
export interface LoneSite {
  readonly site: Site;
  readonly model: 'float' | 'int8';
}

/** How the calls of two runs belong together. */
export interface Match {
  readonly pairs: readonly SitePair[];
  readonly alone: readonly LoneSite[];
}

/**
 * Finds for every call of the int8 run the calls of the float run that compute the same: layers by their path, operators
 * by the path of their module, or else in the order of their kind. A float layer that is not fused is taken together
 * with the batch normalization and the ReLU behind it, where the int8 layer stands for them as well.
 *
 * @throws {@link QuantizationError} naming the layer where the models do not correspond.
 */
export function matchRuns(float: Run, int8: Run, fn: string, patterns: readonly Pattern[] = []): Match {
  return new Matcher(float, int8, fn, patterns).match();
}

/** Operators that only move elements: what they give is what they were given. */
const MOVES: ReadonlySet<string> = new Set(
  (
    'view reshape flatten unflatten permute transpose expand squeeze unsqueeze slice select contiguous flip repeat ' +
    'split chunk unbind indexSelect gather clone'
  ).split(' '),
);

const CROSSINGS = [Quantize, DeQuantize, QuantStub, FakeQuantizeBase] as const;

/** True for operators that only move elements. */
export function isMove({ op }: Call): boolean {
  return op !== null && MOVES.has(op);
}

/** True for calls that cross between float and quantized tensors. */
export function crosses({ module, op }: Site): boolean {
  if (op) return op === 'quantizePerTensor' || op === 'dequantize';
  return CROSSINGS.some((c) => module instanceof c);
}

/** What a site is called in tables: its class, or its operator. */
export function siteType({ module, op }: Site): string {
  return module ? module.typeName : (op as string);
}

/** True for what stands in the model's own code, rather than in a graph or between the calls of a run. */
function isStub({ module }: Site): boolean {
  return module instanceof Quantize || module instanceof QuantStub;
}

class Matcher {
  readonly #float: Run;
  readonly #int8: Run;
  readonly #fn: string;
  readonly #rows: readonly Pattern[];
  readonly #taken = new Set<Site>();
  readonly #floatConsumers: ReadonlyMap<Tensor, readonly Site[]>;
  readonly #int8Consumers: ReadonlyMap<Tensor, readonly Site[]>;
  readonly #int8Paths: ReadonlySet<string>;
  readonly #floatLayers: ReadonlyMap<string, readonly Site[]>;
  readonly #int8Layers: ReadonlyMap<string, readonly Site[]>;

  constructor(float: Run, int8: Run, fn: string, patterns: readonly Pattern[]) {
    this.#float = float;
    this.#int8 = int8;
    this.#fn = fn;
    this.#rows = [...patterns, ...PATTERNS];
    this.#floatConsumers = consumersOf(float);
    this.#int8Consumers = consumersOf(int8);
    this.#floatLayers = layersByPath(float);
    this.#int8Layers = layersByPath(int8);
    this.#int8Paths = new Set(int8.sites.map((s) => s.path));
  }

  match(): Match {
    const wanted = this.#int8.sites.filter((s) => !isMove(s) && !this.#isInnerCrossing(s));
    const found = new Map<Site, readonly Site[]>();
    // Layers know their path; only then is it clear which operators of the float model are still to be found.
    for (const site of wanted) {
      const head = site.module && this.#layerLike(site);
      if (head) found.set(site, this.#take(head, site));
    }
    // A layer that another one does the work of may still be called, as it is where a model's own code runs by run.
    const absorbed = (site: Site): boolean =>
      !found.has(site) && site.module !== null && this.#floatLayers.has(site.path);
    for (const site of wanted) {
      if (found.has(site) || crosses(site) || absorbed(site)) continue;
      const head = this.#alike(site);
      if (head) found.set(site, this.#take(head, site));
    }
    const pairs: SitePair[] = [];
    const alone: LoneSite[] = [];
    for (const site of wanted) {
      if (absorbed(site)) continue;
      const pair = this.#pairOf(site, found.get(site));
      if (pair) pairs.push(pair);
      else alone.push({ site, model: 'int8' });
    }
    for (const site of this.#float.sites) {
      if (!this.#taken.has(site) && !isMove(site) && !crosses(site)) alone.push({ site, model: 'float' });
    }
    if (pairs.some((p) => p.float.length > 0)) return { pairs, alone };
    throw this.#nothingInCommon();
  }

  #pairOf(site: Site, chain: readonly Site[] | undefined): SitePair | null {
    const int8Output = this.#rounded(site);
    if (chain) {
      return {
        path: site.module || site.isFunctional ? site.path : chain[0].path,
        float: chain,
        int8: site,
        floatOutput: (chain.at(-1) as Site).output,
        int8Output,
      };
    }
    const input = this.#inputIndex(site);
    if (input >= 0) {
      const floatOutput = this.#float.inputs[input];
      return { path: isStub(site) ? site.path : '(input)', float: [], int8: site, floatOutput, int8Output };
    }
    if (site.module && [...layerWeights(site.module).values()].some((w) => isQuantizedDType(w.dtype)))
      throw this.#unmatched(site);
    return null;
  }

  /** Which input of the model a site quantizes; −1 where it does something else. */
  #inputIndex(site: Site): number {
    return crosses(site) ? this.#int8.inputs.indexOf(site.args[0] as Tensor) : -1;
  }

  /** Crossings inside of the model belong to the layers around them. */
  #isInnerCrossing(site: Site): boolean {
    return crosses(site) && this.#inputIndex(site) < 0;
  }

  /** The call of the float layer at the same path. */
  #layerLike(site: Site): Site | null {
    const [mine, its] = [this.#int8Layers, this.#floatLayers].map((m) => m.get(site.path) ?? []);
    if (its.length === 0) return null;
    if (mine.length !== its.length) {
      throw new QuantizationError({
        fn: this.#fn,
        argument: site.path,
        expected: `${its.length} calls, as in the float model`,
        got: `${mine.length} in the int8 model`,
        fix: 'Give inputs on which both models take the same way.',
      });
    }
    const head = its[mine.indexOf(site)];
    if (this.#taken.has(head)) return null;
    if (this.#sameLayer(head, site)) return head;
    throw new QuantizationError({
      fn: this.#fn,
      argument: site.path,
      expected: `${siteType(head)} or a quantized form of it, as in the float model`,
      got: `${siteType(site)} in the int8 model`,
      fix: 'Pass the float model that the int8 model was made from.',
    });
  }

  /** True where the backend table, or the name of the class, has one layer for a form of the other. */
  #sameLayer(float: Site, int8: Site): boolean {
    if (float.module?.constructor === int8.module?.constructor) return true;
    if (this.#kindOf(float) === this.#kindOf(int8)) return true;
    return this.#rows.some((row) => {
      const isPart = row.sequence[0] === firstLayer(float.module as AnyModule).constructor;
      return (isPart || isFormOf(float, row)) && isFormOf(int8, row);
    });
  }

  /** The next float call of the same kind, first of those in the same module. */
  #alike(site: Site): Site | null {
    const kind = this.#kindOf(site);
    const open = this.#float.sites.filter((s) => !this.#taken.has(s) && this.#kindOf(s) === kind);
    return (
      open.find((s) => s.path === site.path) ?? open.find((s) => s.op || !this.#int8Paths.has(s.path)) ?? null
    );
  }

  /** A float call and what the int8 call computes beside it, marked as found. */
  #take(head: Site, int8: Site): readonly Site[] {
    const chain = [head];
    const next = (): Site | null => {
      const users = this.#floatConsumers.get((chain.at(-1) as Site).output) ?? [];
      return users.length === 1 && !this.#taken.has(users[0]) ? users[0] : null;
    };
    const follow = (accept: (site: Site) => boolean): boolean => {
      const user = next();
      if (!user || !accept(user)) return false;
      chain.push(user);
      return true;
    };
    if (head.module) {
      follow((s) => s.module instanceof BatchNorm && !this.#int8Paths.has(s.path));
    }
    if (this.#rectifies(int8) && !this.#rectifies(head)) {
      if (!follow((s) => s.op === 'relu' || s.module instanceof ReLU)) {
        throw new QuantizationError({
          fn: this.#fn,
          argument: int8.path,
          expected: `a ReLU after the float ${siteType(head)}, since the int8 model has a ${siteType(int8)}`,
          got: next() ? siteType(next() as Site) : 'none',
          fix: 'Pass the float model that the int8 model was made from.',
        });
      }
    }
    for (const site of chain) this.#taken.add(site);
    return chain;
  }

  /** True for calls that end in a ReLU of their own. */
  #rectifies({ module, op }: Site): boolean {
    return this.#rows.some(({ sequence, operator, float, qat, static: fixed, dynamic }) => {
      if (!module) return operator?.quantized === op && operator?.names.slice(1).includes('relu');
      const forms: unknown[] = [float, qat, fixed, dynamic];
      return sequence.length > 1 && sequence.at(-1) === ReLU && forms.includes(module.constructor);
    });
  }

  /** What a call computes, whatever form it has: `conv2d` for Conv2d, its fused and quantized forms, and the operators. */
  #kindOf(site: Site): string {
    const row = this.#rows.find((r) => isFormOf(site, r));
    return row?.operator?.names[0] ?? siteType(site).replace(/^quantized::/, '');
  }

  /** What is left of an output after the quantization or fake-quantization right behind it. */
  #rounded(site: Site): Tensor {
    if (site.output.qparams) return site.output;
    const users = this.#int8Consumers.get(site.output) ?? [];
    const rounding = users.filter((s) => crosses(s) && s.op !== 'dequantize');
    return rounding.length === 1 && users.length === 1 ? rounding[0].output : site.output;
  }

  #unmatched(site: Site): QuantizationError {
    const error = new QuantizationError({
      fn: this.#fn,
      argument: site.path,
      expected: 'a layer of the float model at the same path that runs on these inputs',
      got: this.#floatLayers.has(site.path) ? 'one that does not run' : 'none',
      fix: 'Pass the float model that the int8 model was made from, with the same paths.',
    });
    return error;
  }

  #nothingInCommon(): QuantizationError {
    const names = (run: Run): string =>
      run.sites
        .filter((s) => !crosses(s))
        .slice(0, 3)
        .map((s) => s.path)
        .join(', ') || 'none';
    return new QuantizationError({
      fn: this.#fn,
      argument: 'int8',
      expected: `a quantized form of the float model, whose layers are ${names(this.#float)}, …`,
      got: `a model with ${names(this.#int8)}, …`,
      fix: 'Pass the float model first and the model that was made from it second.',
    });
  }
}

function consumersOf(run: Run): Map<Tensor, Site[]> {
  const consumers = new Map<Tensor, Site[]>();
  for (const site of run.sites) {
    for (const tensor of new Set(tensorsIn(site.args))) {
      const list = consumers.get(tensor);
      if (list) list.push(site);
      else consumers.set(tensor, [site]);
    }
  }
  return consumers;
}

function layersByPath(run: Run): Map<string, Site[]> {
  const layers = new Map<string, Site[]>();
  for (const site of run.sites) {
    if (!site.module) continue;
    const list = layers.get(site.path);
    if (list) list.push(site);
    else layers.set(site.path, [site]);
  }
  return layers;
}

/** True for calls of a layer or operator that a row of the backend table describes. */
function isFormOf({ module, op }: Site, row: Pattern): boolean {
  if (module) {
    const forms: unknown[] = [row.float, row.qat, row.qatDynamic, row.static, row.dynamic];
    return [...forms, row.custom?.observed, row.custom?.quantized].includes(module.constructor);
  }
  const form = row.operator;
  if (!form) return false;
  return form.quantized === op || form.withNumber === op || (form.names.length === 1 && form.names[0] === op);
}
