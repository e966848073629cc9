import type { AnyModule } from '../../nn/module.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { Note } from '../notes.ts';
import { type Compute, type Frame, ModelRun, wrongOrder } from './run.ts';
import { SeenOp, type Sighting, type Treatment } from './seen-op.ts';
import { type FixedRange, mapTensors, StandIn, type Value } from './stand-in.ts';
import type { AutoQuantizationState } from './state.ts';

/** Says how a call is to be quantized; `order` counts calls of the same kind in the same module. */
export type Decide = (
  owner: string,
  sighting: Sighting,
  args: readonly unknown[],
  order: number,
) => Treatment;

/** Who uses the results of a recorded call. */
export interface Uses {
  /** Recorded calls that take one. */
  readonly by: Set<SeenOp>;
  /** True where anything else reads one, or one is used twice. */
  elsewhere: boolean;
}

/** What running a model on example inputs found out. */
export class Record {
  /** Quantizable calls by the path of the module that makes them. */
  readonly plans: Map<string, SeenOp[]> = new Map();
  readonly uses: Map<SeenOp, Uses> = new Map();
  /** The calls whose results are a call's first argument; null stands for anything else. */
  readonly feeds: Map<SeenOp, Set<SeenOp | null>> = new Map();
  /** For calls that join tensors: the calls whose observers their arguments come under. */
  readonly joined: Map<SeenOp, Set<SeenOp>> = new Map();
  /** For calls that join tensors of which some have parameters that nobody observes: whether the first does. */
  readonly unshared: Map<SeenOp, boolean> = new Map();
  /** For calls that join parts of one tensor of known range: its row; null for others. */
  readonly fixed: Map<SeenOp, Pattern | null> = new Map();
  /** Places of tensors that came in plain. */
  readonly plain: Map<SeenOp, Set<number>> = new Map();
  /** Operators in float on what would be quantized, by module and name. */
  readonly floats: Map<string, Note> = new Map();

  /** All calls, module by module. */
  get ops(): SeenOp[] {
    return [...this.plans.values()].flat();
  }
}

/** Runs a float model and writes down its quantizable calls, module by module. */
export class Recording extends ModelRun {
  protected readonly computesIntegers = false;
  readonly #record: Record;
  readonly #decide: Decide;
  readonly #taken = new WeakSet<Value>();

  constructor(root: AnyModule, state: AutoQuantizationState, record: Record, decide: Decide) {
    super(root, state);
    this.#record = record;
    this.#decide = decide;
  }

  protected expect(frame: Frame, sighting: Sighting, args: readonly unknown[]): SeenOp {
    let plan = this.#record.plans.get(frame.owner);
    if (!plan) {
      plan = [];
      this.#record.plans.set(frame.owner, plan);
    }
    const known = plan[frame.met];
    if (known && !known.matches(sighting)) throw wrongOrder(frame, known, sighting);
    const op = known ?? this.#append(plan, frame, sighting, args);
    if (op.within !== (sighting.within ?? null)) op.within = null;
    op.arity = Math.max(op.arity, countTensors(args));
    return op;
  }

  protected perform(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    if (op.isDynamic || (!op.row && op.kind === 'operator')) return this.inFloat(args, compute);
    const feed = entry(this.#record.feeds, op, () => new Set<SeenOp | null>());
    const plain = entry(this.#record.plain, op, () => new Set<number>());
    const joined = op.joins ? entry(this.#record.joined, op, () => new Set<SeenOp>()) : null;
    let source: SeenOp | null = null;
    const ranges = new Set<FixedRange | null>();
    const given = mapTensors(args, (x, place) => {
      const value = x instanceof StandIn ? this.take(x, op) : null;
      if (place === 0) feed.add(value?.producer ?? null);
      ranges.add(value?.fixed ?? null);
      if (!value) {
        plain.add(place);
        return x instanceof StandIn ? x.materialize() : x;
      }
      if (place === 0) source = value.source;
      if (value.source) joined?.add(value.source);
      else if (value.fixed && joined) {
        const { unshared } = this.#record;
        unshared.set(op, place === 0 || unshared.get(op) === true);
      }
      return value.tensor;
    }) as unknown[];
    if (op.joins) this.#joinRange(op, ranges);
    const uses = entry(this.#record.uses, op, (): Uses => ({ by: new Set(), elsewhere: false }));
    const onRead = (): void => {
      uses.elsewhere = true;
    };
    return this.standIns(compute(given), {
      producer: op,
      source: op.isObserved ? op : op.row?.custom ? null : source,
      onRead,
    });
  }

  #joinRange(op: SeenOp, ranges: ReadonlySet<FixedRange | null>): void {
    const [range] = ranges;
    const row = ranges.size === 1 && range ? range.row : null;
    const { fixed } = this.#record;
    fixed.set(op, !fixed.has(op) || fixed.get(op) === row ? row : null);
  }

  protected used(value: Value, by: SeenOp): void {
    const uses = value.producer && this.#record.uses.get(value.producer);
    if (!uses) return;
    uses.by.add(by);
    if (this.#taken.has(value)) uses.elsewhere = true;
    this.#taken.add(value);
  }

  protected runsInFloat(op: string, frame: Frame): void {
    const reason = 'no quantized form of this operator: it computes in float, on what was dequantized';
    this.#record.floats.set(`${frame.owner} ${op}`, { path: frame.owner, type: op, reason, fix: null });
  }

  #append(plan: SeenOp[], frame: Frame, sighting: Sighting, args: readonly unknown[]): SeenOp {
    const order = plan.filter((op) => op.kind === sighting.kind && op.type === sighting.type).length;
    const op = new SeenOp(frame, plan.length, sighting, this.#decide(frame.owner, sighting, args, order));
    op.isRepeat = op.kind === 'module' && this.#record.ops.some((other) => other.matches(sighting));
    plan.push(op);
    return op;
  }
}

function countTensors(args: readonly unknown[]): number {
  let count = 0;
  mapTensors(args, (x) => {
    count++;
    return x;
  });
  return count;
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
