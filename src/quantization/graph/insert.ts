import { QuantizationError } from '../../core/errors.ts';
import { type GraphModule, mapNodes, Node, nodesIn } from '../../fx/index.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import { type ActivationQParams, observedQParams } from '../observed-qparams.ts';
import { type ObservedQParams, ObserverBase, vector } from '../observers/observer.ts';
import {
  type Annotations,
  type AnyQuantizationSpec,
  DerivedQuantizationSpec,
  type EdgeOrNode,
  isFixedObserver,
  SharedQuantizationSpec,
} from './specs.ts';

/** How names of observers in a graph begin. */
const OBSERVER = 'activation_post_process_';

/** The observer that a node calls, where it calls one. */
export function observerOf(owner: GraphModule<any, any>, node: Node): ObserverBase | undefined {
  if (node.op !== 'call_module') return undefined;
  const module = owner.getSubmodule(node.targetName);
  return module instanceof ObserverBase ? module : undefined;
}

/**
 * Places observers in a graph as annotations say, and nothing else.
 *
 * ```
 * x ──► conv ──► relu ──►         x ──► obs0 ──► conv ──► obs1 ──► relu ──► obs1 ──►
 * ```
 *
 * A tensor that is quantized already gets no second observer on its way into a user; two users that need the same kind of
 * observer share one. Places whose specs share have one observer between them.
 * Source: `torch.ao.quantization.fx.prepare.insert_observers_for_model`.
 *
 * @param given Inputs of the graph that come in quantized.
 */
export function insertObservers(
  owner: GraphModule<any, any>,
  annotations: Annotations,
  given: ReadonlySet<Node> = new Set(),
): void {
  new Insertion(owner, annotations, given).run();
}

class Insertion {
  readonly #owner: GraphModule<any, any>;
  readonly #annotations: Annotations;
  readonly #given: ReadonlySet<Node>;
  /** Specs whose parameters follow from others', to be filled in when all observers stand. */
  readonly #derived: [observer: DerivedObserver, spec: DerivedQuantizationSpec][] = [];
  #count = 0;

  constructor(owner: GraphModule<any, any>, annotations: Annotations, given: ReadonlySet<Node>) {
    this.#owner = owner;
    this.#annotations = annotations;
    this.#given = given;
  }

  run(): void {
    for (const node of [...this.#owner.graph.nodes]) {
      const annotation = this.#annotations.get(node);
      if (!annotation) continue;
      const before = new Map<Node, Node>();
      for (const input of nodesIn(node.args)) {
        const spec = annotation.inputs.get(this.#sourceOf(input));
        if (spec && !before.has(input)) before.set(input, this.#observeInput(input, node, spec));
      }
      if (before.size > 0)
        node.args = node.args.map((arg) => mapNodes(arg, (input) => before.get(input) ?? input));
      this.#shareInputs(node, annotation.inputs);
      if (annotation.output) this.#observeOutput(node, annotation.output);
    }
    for (const [observer, spec] of this.#derived) {
      observer.from = spec.from.map((place) => this.#observerAt(place) ?? missing(place));
    }
    this.#owner.graph.lint(this.#owner);
  }

  /** The node that stands for `input` as an argument of `user`. */
  #observeInput(input: Node, user: Node, spec: AnyQuantizationSpec): Node {
    if (this.#isQuantized(this.#sourceOf(input), spec)) return input;
    if (spec instanceof SharedQuantizationSpec) {
      const wanted = this.#specBehind(spec);
      return wanted ? this.#observeInput(input, user, wanted) : input;
    }
    const observer = this.#make(spec);
    const existing = [...input.users].find((other) => {
      const there = observerOf(this.#owner, other);
      return there && there.constructor === observer.constructor && there.dtype === observer.dtype;
    });
    return existing ?? this.#insertAfter(input, observer);
  }

  /** The node that an argument comes from, observers left out. */
  #sourceOf(argument: Node): Node {
    return observerOf(this.#owner, argument) ? this.#sourceOf(argument.args[0] as Node) : argument;
  }

  /** True where a tensor comes quantized in the dtype that a spec asks for. */
  #isQuantized(source: Node, spec: AnyQuantizationSpec): boolean {
    if (this.#given.has(source)) return true;
    const output = this.#annotations.get(source)?.output;
    if (!output) return false;
    const [has, wants] = [this.#dtypeOf(output), this.#dtypeOf(spec)];
    return has !== undefined && has === wants;
  }

  #dtypeOf(spec: AnyQuantizationSpec): string | undefined {
    if (spec instanceof DerivedQuantizationSpec) return spec.dtype;
    if (!(spec instanceof SharedQuantizationSpec))
      return spec.observer().isDynamic ? undefined : spec.observer().dtype;
    const behind = this.#specBehind(spec);
    return behind ? this.#dtypeOf(behind) : undefined;
  }

  /** What a shared spec comes down to: the spec of the place it shares with. */
  #specBehind(spec: SharedQuantizationSpec): AnyQuantizationSpec | null {
    const seen = new Set<AnyQuantizationSpec>();
    let at: AnyQuantizationSpec | null = spec;
    while (at instanceof SharedQuantizationSpec && !seen.has(at)) {
      seen.add(at);
      const place: EdgeOrNode = at.with;
      if (place instanceof Node) at = this.#annotations.get(place)?.output ?? null;
      else {
        const [input, user]: readonly [Node, Node] = place;
        at = this.#annotations.get(user)?.inputs.get(input) ?? this.#annotations.get(input)?.output ?? null;
      }
    }
    return at instanceof SharedQuantizationSpec ? null : at;
  }

  #make(spec: Exclude<AnyQuantizationSpec, SharedQuantizationSpec>): ObserverBase {
    if (!(spec instanceof DerivedQuantizationSpec)) return spec.observer();
    const observer = new DerivedObserver(spec);
    this.#derived.push([observer, spec]);
    return observer;
  }

  #insertAfter(node: Node, observer: ObserverBase): Node {
    const { graph } = this.#owner;
    const name = `${OBSERVER}${this.#count++}`;
    observer.train(this.#owner.training);
    this.#owner.addModule(name, observer);
    const call = graph.insertingAfter(node, () => graph.callModule(name, [node]));
    Object.assign(call.meta, node.meta);
    return call;
  }

  #observeOutput(node: Node, spec: AnyQuantizationSpec): void {
    const observer = spec instanceof SharedQuantizationSpec ? this.#sharedBy(node, spec) : this.#make(spec);
    if (!observer) return;
    const users = [...node.users];
    const call = this.#insertAfter(node, observer);
    for (const user of users) if (user !== call) user.replaceInputWith(node, call);
  }

  /** Gives the inputs that share a place's parameters the observer of that place. */
  #shareInputs(node: Node, inputs: ReadonlyMap<Node, AnyQuantizationSpec>): void {
    for (const spec of inputs.values()) {
      if (!(spec instanceof SharedQuantizationSpec)) continue;
      const observer = this.#observerAt(spec.with);
      if (!observer) continue;
      for (const argument of nodesIn(node.args)) {
        const own = this.#observerBefore(argument);
        if (own && own !== observer && canShare(own, observer)) this.#replace(own, observer);
      }
      return;
    }
  }

  /**
   * The observer of a result that shares: that of the place it shares with; one of its own where that place is quantized
   * outside of the graph, or where the members of a list could not share among themselves.
   */
  #sharedBy(node: Node, spec: SharedQuantizationSpec): ObserverBase | undefined {
    const observer = this.#observerAt(spec.with);
    const isGiven = !(spec.with instanceof Node) && this.#given.has(spec.with[0]);
    if (observer ? this.#agree(node, observer) : !isGiven) return observer;
    const own = [...(this.#annotations.get(node)?.inputs.values() ?? [])].find(
      (s) => !(s instanceof SharedQuantizationSpec),
    );
    return own && !(own instanceof SharedQuantizationSpec) ? this.#make(own) : observer;
  }

  #agree(node: Node, observer: ObserverBase): boolean {
    return nodesIn(node.args).every((argument) => {
      const own = this.#observerBefore(argument);
      return !own || own === observer;
    });
  }

  /** The observer that the tensor at a place went through last. */
  #observerAt(place: EdgeOrNode): ObserverBase | undefined {
    if (place instanceof Node) {
      const after = [...place.users].map((user) => observerOf(this.#owner, user)).find(Boolean);
      return after ?? this.#observerBefore(place);
    }
    const [input, user] = place;
    const argument = nodesIn(user.args).find(
      (arg) => arg === input || (observerOf(this.#owner, arg) && arg.args[0] === input),
    );
    return argument && this.#observerBefore(argument);
  }

  /** The observer that a tensor comes from, through items of lists and dicts. */
  #observerBefore(node: Node): ObserverBase | undefined {
    const observer = observerOf(this.#owner, node);
    if (observer || node.target !== 'getitem') return observer;
    const [from] = node.args;
    return from instanceof Node ? this.#observerBefore(from) : undefined;
  }

  /** Puts one observer in every place of another. */
  #replace(old: ObserverBase, by: ObserverBase): void {
    for (const [name, child] of Object.entries(this.#owner)) {
      if (child === old && name.startsWith(OBSERVER)) this.#owner.addModule(name, by);
    }
  }
}

/** Two observers become one only where neither has parameters that the other's tensors would not fit. */
function canShare(a: ObserverBase, b: ObserverBase): boolean {
  return a.dtype === b.dtype && !isFixedObserver(a) && !isFixedObserver(b);
}

function missing(place: EdgeOrNode): never {
  throw new QuantizationError({
    fn: 'insertObservers',
    argument: 'annotations',
    expected: 'derived specs that name observed places',
    got: place instanceof Node ? place.name : `${place[0].name} → ${place[1].name}`,
  });
}

/** Takes its parameters from what other observers found; see {@link DerivedQuantizationSpec}. */
export class DerivedObserver extends ObserverBase {
  from: readonly ObserverBase[] = [];
  readonly spec: DerivedQuantizationSpec;

  constructor(spec: DerivedQuantizationSpec) {
    super(spec.dtype);
    this.spec = spec;
  }

  override forward(x: Tensor): Tensor {
    return x;
  }

  override calculateQParams(): ObservedQParams {
    const found: ActivationQParams[] = this.from.map((o) => observedQParams(o, 'DerivedObserver'));
    const { scale, zeroPoint } = this.spec.derive(found);
    return {
      scale: vector(Float32Array.of(scale)),
      zeroPoint: fromStorage(Int32Array.of(zeroPoint), [1], 'int32'),
    };
  }

  override hasObserved(): boolean {
    return this.from.every((observer) => observer.hasObserved());
  }

  override merge(_other: ObserverBase): void {}
}
