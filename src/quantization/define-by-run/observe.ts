import { QuantizationError } from '../../core/errors.ts';
import type { OpName } from '../../ops/signatures/index.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Pattern, WeightArgument } from '../backend/pattern.ts';
import type { QConfig } from '../qconfig.ts';
import { type Compute, type Frame, ModelRun, wrongOrder } from './run.ts';
import type { SeenOp, Sighting, WeightSource } from './seen-op.ts';
import { holdsStandIn, mapTensors, StandIn, type Value } from './stand-in.ts';
import { inputKey, weightKey } from './state.ts';

/** A run of a model whose calls were recorded: they must come in that order, as many as there come. */
export abstract class PlannedRun extends ModelRun {
  protected expect(frame: Frame, sighting: Sighting, args: readonly unknown[]): SeenOp | null {
    const plan = this.state.plans.get(frame.owner);
    // A module that recorded calls and quantizes none may do as it likes.
    if (plan?.every((op) => !op.row)) return null;
    const op = plan?.[frame.met];
    if (!op?.matches(sighting) || isOtherPart(op, sighting)) throw wrongOrder(frame, op, sighting);
    const place = op.row?.operator?.weight;
    if (op.weight && place) this.#requireSameWeight(op, op.weight, args, place);
    return op;
  }

  #requireSameWeight(
    op: SeenOp,
    { weight, geometry }: WeightSource,
    args: readonly unknown[],
    place: WeightArgument,
  ): void {
    const cut = weight.lastIndexOf('.');
    const holder = this.root.getSubmodule(weight.slice(0, Math.max(cut, 0)));
    const recorded = holder.ownParameters().find(([name]) => name === weight.slice(cut + 1))?.[1];
    const sameWeight = args[place.weight] === recorded;
    if (sameWeight && (!geometry || JSON.stringify(geometry) === JSON.stringify(args[place.bias + 1])))
      return;
    const error = new QuantizationError({
      fn: 'define-by-run',
      argument: `weight of ${op}`,
      expected: `${weight}, as prepareDbr recorded${sameWeight ? ', and the same geometry' : ''}`,
      got: sameWeight ? JSON.stringify(args[place.bias + 1]) : 'another tensor',
      fix: `Give '${op.target}' null in the qconfig mapping to keep it float.`,
    });
    error.locate(op.owner, op.ownerType);
    throw error;
  }

  protected runsInFloat(): void {}

  protected used(_value: Value, _by: SeenOp): void {}
}

/** True for a call that was fused with the settings of another module than makes it now. */
function isOtherPart(op: SeenOp, sighting: Sighting): boolean {
  const isFixed = op.isPart && op.kind === 'operator' && op.head.kind === 'module' && op.target !== 'relu';
  return isFixed && op.within !== sighting.within;
}

/** Runs a prepared model in float and shows its observers what they are there for. */
export class Observation extends PlannedRun {
  protected readonly computesIntegers = false;

  protected perform(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    if (!op.row || op.isDynamic || !(op.takesQuantized || holdsStandIn(args)))
      return this.inFloat(args, compute);
    let given = mapTensors(args, (x, place) => this.#input(op, x, place)) as unknown[];
    const place = op.row.operator?.weight?.weight;
    const rounding = op.weight ? this.state.observers.get(weightKey(op)) : undefined;
    if (rounding && place !== undefined)
      given = given.with(
        place,
        this.inside(() => rounding(given[place] as Tensor)),
      );
    let result = compute(given);
    if (op.kind === 'operator') {
      for (let part = op.next; part; part = part.next)
        result = this.dispatch(part.target as OpName, ...([result] as never));
    }
    const [first] = args;
    const inherited = first instanceof StandIn ? (first.current()?.source ?? null) : null;
    if (!op.isObserved) return this.standIns(result, { source: op.row.custom ? null : inherited });
    const observer = this.state.observers.get(op.key);
    const observed = observer ? this.inside(() => observer(result as Tensor)) : result;
    return this.standIns(observed, { producer: op, source: op, awaiting: op.next });
  }

  /** In training, what a call of known range gives is rounded, though no quantized call made it. */
  protected override passedOn(result: unknown, row: Pattern | undefined): unknown {
    if (!this.state.isTrained || !row?.fixedOutput || !(result instanceof Tensor)) return result;
    const { observers } = this.state;
    const key = `fixed.${row.name.replaceAll(' ', '_')}`;
    const rounding = observers.get(key) ?? row.fixedOutput();
    observers.set(key, rounding);
    return this.inside(() => rounding(result));
  }

  /** The float tensor that a call takes; one that comes in plain is shown to an observer of its own. */
  #input(op: SeenOp, x: Tensor, place: number): Tensor {
    const value = x instanceof StandIn ? this.take(x, op) : null;
    if (value) return value.tensor;
    const plain = x instanceof StandIn ? x.materialize() : x;
    if (!op.takesQuantized || !isActivation(op, place) || plain.dtype !== 'float32') return plain;
    const { observers } = this.state;
    const key = op.joins ? op.shares.key : inputKey(op, place);
    let observer = observers.get(key);
    if (!observer) {
      observer = (op.qconfig as QConfig).activation();
      observers.set(key, observer);
    }
    return this.inside(() => (observer as (x: Tensor) => Tensor)(plain));
  }
}

/** True for the tensors of a call that are to be quantized; the others are weights. */
export function isActivation(op: SeenOp, place: number): boolean {
  return op.kind === 'module' || !op.row?.operator?.weight || place === 0;
}
