import type { Node } from '../../fx/index.ts';
import type { QuantizedDType } from '../../tensor/dtype.ts';
import { FakeQuantizeBase } from '../fake-quantize/fake-quantize.ts';
import { FixedQParamsObserver } from '../observers/fixed.ts';
import type { ObserverBase, ObserverFactory } from '../observers/observer.ts';

/** A place in a graph that can be observed: the result of a node, or that result on its way into one user. */
export type EdgeOrNode = Node | readonly [input: Node, user: Node];

/**
 * A tensor with quantization parameters of its own, which an observer of this factory finds (or, where the observer is
 * dynamic, every call).
 *
 * @example
 * new QuantizationSpec(HistogramObserver.withArgs({ dtype: 'qint8', qscheme: 'per_tensor_symmetric' }));
 */
export class QuantizationSpec {
  readonly observer: ObserverFactory;

  constructor(observer: ObserverFactory) {
    this.observer = observer;
    Object.freeze(this);
  }
}

/** A tensor with parameters that are known beforehand. Source: torchao's `FixedQParamsQuantizationSpec`. */
export class FixedQParamsQuantizationSpec {
  readonly observer: ObserverFactory;

  constructor(qparams: {
    readonly dtype: QuantizedDType;
    readonly scale: number;
    readonly zeroPoint: number;
  });
  constructor(observer: ObserverFactory);
  constructor(
    given:
      | ObserverFactory
      | { readonly dtype: QuantizedDType; readonly scale: number; readonly zeroPoint: number },
  ) {
    this.observer = typeof given === 'function' ? given : FixedQParamsObserver.withArgs(given);
    Object.freeze(this);
  }
}

/** A tensor with the parameters of another place. Source: torchao's `SharedQuantizationSpec`. */
export class SharedQuantizationSpec {
  readonly with: EdgeOrNode;

  constructor(place: EdgeOrNode) {
    this.with = place;
    Object.freeze(this);
  }
}

/** What the parameters of a {@link DerivedQuantizationSpec} come to. */
export interface DerivedQParams {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * A tensor whose parameters follow from those of other places, such as a bias on the grid of the products.
 * Source: torchao's `DerivedQuantizationSpec`.
 *
 * @example
 * new DerivedQuantizationSpec([[x, conv], [weight, conv]], 'qint32', ([x, w]) => ({
 *   scale: x.scale * w.scale,
 *   zeroPoint: 0,
 * }));
 */
export class DerivedQuantizationSpec {
  readonly from: readonly EdgeOrNode[];
  readonly dtype: QuantizedDType;
  readonly derive: (qparams: readonly DerivedQParams[]) => DerivedQParams;

  constructor(
    from: readonly EdgeOrNode[],
    dtype: QuantizedDType,
    derive: (qparams: readonly DerivedQParams[]) => DerivedQParams,
  ) {
    this.from = Object.freeze([...from]);
    this.dtype = dtype;
    this.derive = derive;
    Object.freeze(this);
  }
}

/** How one tensor of a graph is to be quantized. */
export type AnyQuantizationSpec =
  | QuantizationSpec
  | FixedQParamsQuantizationSpec
  | SharedQuantizationSpec
  | DerivedQuantizationSpec;

/** How a node is to be quantized. */
export interface NodeAnnotation {
  /** How the tensors that go in are, by the nodes they come from; those that are not named stay as they come. */
  readonly inputs: ReadonlyMap<Node, AnyQuantizationSpec>;
  /** How the result is; null where it stays float, as between the operators of a fused pattern. */
  readonly output: AnyQuantizationSpec | null;
  /** How the weight of the layer that the node calls is; weights that are arguments are among `inputs`. */
  readonly weight?: QuantizationSpec;
}

/**
 * What shall be quantized in a graph, and how: a node that is not in it stays float. An annotate step writes it, the
 * insert step places observers from it alone.
 */
export type Annotations = Map<Node, NodeAnnotation>;

/** True for observers whose parameters do not depend on what they see. */
export function isFixedObserver(observer: ObserverBase): boolean {
  const inner = observer instanceof FakeQuantizeBase ? observer.activationPostProcess : observer;
  return inner instanceof FixedQParamsObserver;
}
