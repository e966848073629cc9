import type { OpName } from '../../ops/signatures/index.ts';
import type { ConvGeometry } from '../../ops/signatures/layer.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { QConfig } from '../qconfig.ts';

/** One call as it goes by: of a module that is quantized as a whole, or of an operator. */
export interface Sighting {
  readonly kind: 'module' | 'operator';
  /** Dotted path of the module, or name of the operator. */
  readonly target: string;
  /** Class of the module, or name of the operator. */
  readonly type: string;
  /** Path of the module that makes the call for its caller; null where a function or a method does. */
  readonly within?: string | null;
}

/** How a recorded call is quantized, or why it is not. */
export interface Treatment {
  /** The row of the backend table that quantizes it; null keeps it float. */
  readonly row: Pattern | null;
  readonly qconfig: QConfig | null;
  /** Why it stays float; empty where it does not. */
  readonly reason: string;
  /** What to do about it; null where nothing is amiss. */
  readonly fix: string | null;
  /** What an operator takes as its weight; null where it takes none. */
  readonly weight: WeightSource | null;
  /** True where only its weight is quantized: floats go in and come out. */
  readonly isDynamic?: boolean;
}

/** The parameters that an operator computes with. */
export interface WeightSource {
  /** Paths in the model. */
  readonly weight: string;
  readonly bias: string | null;
  /** Of a convolution. */
  readonly geometry: ConvGeometry | null;
}

/**
 * A call that the `forward` of one module makes in its turn: what {@link prepareDbr} recorded. Calls of one module are counted
 * from 0 every time it runs. Nothing changes once `prepareDbr` is through, so that copies of a model share these.
 * Source: `torch.ao.quantization._dbr.quantization_state.SeenQOpInfo`.
 */
export class SeenOp implements Sighting {
  /** Dotted path of the module that makes the call. */
  readonly owner: string;
  /** Class of that module. */
  readonly ownerType: string;
  readonly index: number;
  readonly kind: 'module' | 'operator';
  readonly target: string;
  readonly type: string;
  within: string | null;
  row: Pattern | null;
  readonly qconfig: QConfig | null;
  reason: string;
  fix: string | null;
  readonly weight: WeightSource | null;
  readonly isDynamic: boolean;
  /** The next call that is fused into this one's. */
  next: SeenOp | null = null;
  /** The call that does this one's work: itself, or the earlier one that it is fused into. */
  head: SeenOp = this;
  /** True for a further call of a module that was called before, elsewhere in the model. */
  isRepeat = false;
  /** How many tensors it took at most. */
  arity = 0;
  /** The call whose observer sees this one's result: another one where several share their parameters. */
  shares: SeenOp = this;

  constructor(
    { owner, type }: { readonly owner: string; readonly type: string },
    index: number,
    sighting: Sighting,
    treatment: Treatment,
  ) {
    this.owner = owner;
    this.ownerType = type;
    this.index = index;
    this.kind = sighting.kind;
    this.target = sighting.target;
    this.type = sighting.type;
    this.within = sighting.within ?? null;
    this.row = treatment.row;
    this.qconfig = treatment.qconfig;
    this.reason = treatment.reason;
    this.fix = treatment.fix;
    this.weight = treatment.weight;
    this.isDynamic = treatment.isDynamic ?? false;
  }

  /** True for calls that are fused into an earlier one. */
  get isPart(): boolean {
    return this.head !== this;
  }

  /** Where its parameters are kept, and saved: `layer1.0.ops.2`. */
  get key(): string {
    return this.owner === '' ? `ops.${this.index}` : `${this.owner}.ops.${this.index}`;
  }

  /** True where its result has parameters of its own, or shares those of a list of tensors. */
  get isObserved(): boolean {
    if (!this.row || this.isPart || this.row.custom || this.isDynamic) return false;
    return this.row.output === 'own' || this.joins;
  }

  /** True where tensors that come in plain are quantized for it; what goes with what it is given does without. */
  get takesQuantized(): boolean {
    return this.isObserved || (!this.isPart && this.row?.custom !== undefined);
  }

  /** True for operators on a list of tensors, which all get the same parameters. */
  get joins(): boolean {
    return this.kind === 'operator' && this.row?.output === 'shared' && LISTS.has(this.target);
  }

  matches(sighting: Sighting): boolean {
    return this.kind === sighting.kind && this.target === sighting.target;
  }

  toString(): string {
    return describe(this);
  }
}

/** Operators whose first argument is a list of tensors. */
const LISTS: ReadonlySet<string> = new Set<OpName>(['cat', 'stack']);

/** True for operators whose first argument is a list of tensors. */
export function takesList(op: string): boolean {
  return LISTS.has(op);
}

/** A call in messages: `add`, or `conv1 (Conv2d)`. */
export function describe(sighting: Sighting): string {
  return sighting.kind === 'module' ? `${sighting.target} (${sighting.type})` : sighting.target;
}
