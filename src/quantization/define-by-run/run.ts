import { QuantizationError } from '../../core/errors.ts';
import { type AnyModule, withCallInterceptor } from '../../nn/module.ts';
import {
  dispatch,
  type Interpreter,
  type Next,
  tensorArguments,
  withInterpreter,
} from '../../ops/dispatch.ts';
import { views } from '../../ops/float/movement/views.ts';
import { rearranging } from '../../ops/quantized/rearrange.ts';
import type { OpArgs, OpName, OpResult } from '../../ops/signatures/index.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Pattern } from '../backend/pattern.ts';
import { partsOf } from './parts.ts';
import { describe, type SeenOp, type Sighting, takesList } from './seen-op.ts';
import {
  type FixedRange,
  floatTensors,
  holdsStandIn,
  mapTensors,
  outOfOrder,
  StandIn,
  Value,
  type ValueOrigin,
} from './stand-in.ts';
import type { AutoQuantizationState, Meeting } from './state.ts';

/** One running `forward`: which module, its recorded calls, and how many were met. */
export interface Frame {
  readonly owner: string;
  readonly type: string;
  met: number;
}

/** Runs an operator below this run. */
export type Compute = (args: readonly unknown[]) => unknown;

/**
 * Operators that move elements, or pick or order them, into one tensor or several: integers stay what they are. Dropout is
 * none in evaluation, and in training the floats that stand for integers go through it.
 */
const MOVES: ReadonlySet<string> = new Set([...Object.keys(rearranging), 'clone', 'dropout']);

/**
 * One run of a model under define-by-run quantization: stands on the interpreter stack and before the calls of modules,
 * tells quantizable calls from all others, and checks that they come in the recorded order. What is done with them is up to
 * the subclasses: recording, observing, computing in int8.
 */
export abstract class ModelRun implements Interpreter {
  readonly name = 'define-by-run';
  protected readonly root: AnyModule;
  protected readonly state: AutoQuantizationState;
  readonly #frames: Frame[] = [];
  /** How many calls we are inside of that are one thing to us. */
  #depth = 0;
  /** The running module whose calls count as its caller's. */
  #within: string | null = null;

  constructor(root: AnyModule, state: AutoQuantizationState) {
    this.root = root;
    this.state = state;
  }

  /** Runs `body`, the root's `forward`; what it returns comes out in plain tensors. */
  run(body: () => unknown): unknown {
    this.#frames.push({ owner: '', type: this.root.typeName, met: 0 });
    return withInterpreter(this, () =>
      withCallInterceptor(
        (module, inputs, call) => this.#callModule(module, inputs, call),
        () => floatTensors(body()),
      ),
    );
  }

  call<K extends OpName>(op: K, args: OpArgs<K>, next: Next): OpResult<K> {
    if (this.#depth > 0) return next(op, args);
    const compute: Compute = (given) => this.inside(() => next(op, given as OpArgs<K>));
    const row = this.state.backend.operatorPatternOf(op);
    if (this.#isQuantizable(op, row, args)) {
      const sighting: Sighting = { kind: 'operator', target: op, type: op, within: this.#within };
      return this.#meet(sighting, args, compute) as OpResult<K>;
    }
    if (!holdsStandIn(args)) return compute(floatTensors(args) as unknown[]) as OpResult<K>;
    if (this.#passesOn(op, row, args)) return this.#passOn(op, row, args, compute) as OpResult<K>;
    this.runsInFloat(op, this.frame);
    return this.inFloat(args, compute) as OpResult<K>;
  }

  /** What to do with a quantizable call that nothing was fused into before it. */
  protected abstract perform(op: SeenOp, args: readonly unknown[], compute: Compute): unknown;

  /** The recorded call that comes next in this frame; null where nothing in it is quantized. */
  protected abstract expect(frame: Frame, sighting: Sighting, args: readonly unknown[]): SeenOp | null;

  /** Takes note of an operator that computes in float on what could be integers. */
  protected abstract runsInFloat(op: string, frame: Frame): void;

  /** Takes note of a value that a recorded call takes. */
  protected abstract used(value: Value, by: SeenOp): void;

  /** The running `forward`. */
  protected get frame(): Frame {
    return this.#frames[this.#frames.length - 1];
  }

  /** Runs something whose own calls are none of ours. */
  protected inside<T>(body: () => T): T {
    this.#depth++;
    try {
      return body();
    } finally {
      this.#depth--;
    }
  }

  /** Runs an operator for this run itself. */
  protected dispatch<K extends OpName>(op: K, ...args: OpArgs<K>): OpResult<K> {
    return this.inside(() => dispatch(op, ...args));
  }

  /** The value that a recorded call takes from a stand-in; null where that holds a plain tensor by now. */
  protected take(x: StandIn, by: SeenOp): Value | null {
    const value = x.current();
    if (!value) return null;
    if (value.awaiting && value.awaiting !== by) throw outOfOrder(value.awaiting, `its input used by ${by}`);
    this.used(value, by);
    return value;
  }

  /** Stand-ins for the tensors of a result that are or will be quantized. */
  protected standIns(result: unknown, origin: ValueOrigin = {}, family?: StandIn['family']): unknown {
    const wanted = (x: Tensor): boolean => (this.computesIntegers ? x.isQuantized : x.dtype === 'float32');
    return mapTensors(result, (x) => (wanted(x) ? StandIn.for(new Value(x, origin), family) : x));
  }

  /** True where values are quantized tensors; false where they are the floats that are observed. */
  protected abstract readonly computesIntegers: boolean;

  #callModule(module: AnyModule, inputs: readonly unknown[], call: () => unknown): unknown {
    if (this.#depth > 0) return call();
    const path = this.#pathOf(module);
    const meeting: Meeting = path === undefined ? 'open' : (this.state.meetings.get(path) ?? 'frame');
    const compute: Compute = (given) => this.inside(() => module(...given));
    switch (meeting) {
      case 'open':
        return this.#callWithin(path ?? null, call);
      case 'recorded':
        return this.#meet({ kind: 'module', target: path as string, type: module.typeName }, inputs, compute);
      case 'float':
        return this.inFloat(inputs, compute);
      case 'as is':
        return holdsStandIn(inputs)
          ? this.#passOn(module.typeName, this.state.backend.patternOf(module), inputs, compute)
          : call();
      case 'frame':
        this.#frames.push({ owner: path as string, type: module.typeName, met: 0 });
        try {
          return this.#callWithin(null, call);
        } finally {
          this.#frames.pop();
        }
    }
  }

  #callWithin(path: string | null, call: () => unknown): unknown {
    const before = this.#within;
    this.#within = path;
    try {
      return call();
    } finally {
      this.#within = before;
    }
  }

  #pathOf(module: AnyModule): string | undefined {
    let paths = pathsOf.get(this.root);
    if (!paths?.has(module)) {
      // A model that was never run, or a module that came into it later.
      paths = new Map(this.root.namedModules().map(([path, m]) => [m, path]));
      pathsOf.set(this.root, paths);
    }
    return paths.get(module);
  }

  #meet(sighting: Sighting, args: readonly unknown[], compute: Compute): unknown {
    const { frame } = this;
    const op = this.expect(frame, sighting, args);
    if (!op) return this.inFloat(args, compute);
    frame.met++;
    return op.isPart ? this.#pass(op, args) : this.perform(op, args, compute);
  }

  /** A call that an earlier one did the work of. */
  #pass(op: SeenOp, args: readonly unknown[]): unknown {
    const [x] = args;
    const value = x instanceof StandIn ? this.take(x, op) : null;
    if (value?.awaiting !== op) throw outOfOrder(op, `${op} on another tensor`);
    const { tensor, producer, source } = value;
    return StandIn.for(new Value(tensor, { producer, source, awaiting: op.next }));
  }

  /** Runs a call in float, on plain tensors. */
  protected inFloat(args: readonly unknown[], compute: Compute): unknown {
    const given = floatTensors(args) as unknown[];
    const result = compute(given);
    // An operator that had nothing to do gives back what it got.
    const same = given.indexOf(result);
    return same >= 0 && result instanceof Tensor ? args[same] : result;
  }

  /** Runs a call on the integers as they are, or on the floats that stand for them. */
  #passOn(op: string, row: Pattern | undefined, args: readonly unknown[], compute: Compute): unknown {
    let source: SeenOp | null | undefined;
    let range: FixedRange | null | undefined;
    let family: StandIn['family'] | undefined;
    const given = mapTensors(args, (x) => {
      const value = x instanceof StandIn ? x.current() : null;
      if (!value) return x instanceof StandIn ? x.materialize() : x;
      if (value.awaiting) throw outOfOrder(value.awaiting, `its input used by ${op}`);
      if (op in views) family = (x as StandIn).family;
      source = source === undefined || source === value.source ? value.source : null;
      range = range === undefined || range === value.fixed ? value.fixed : null;
      value.onRead?.();
      return value.tensor;
    }) as unknown[];
    const number = row?.operator?.withNumber;
    const keeps = row?.fixedOutput || number ? null : source;
    const result =
      number && this.computesIntegers
        ? this.dispatch(number, ...(given.slice(0, 2) as never))
        : this.passedOn(compute(given), row);
    const fixed = row?.fixedOutput ? { row } : number ? null : range;
    return this.standIns(result, { source: keeps, fixed }, family);
  }

  /** What goes on in place of the result of a call that passes values on. */
  protected passedOn(result: unknown, _row: Pattern | undefined): unknown {
    return result;
  }

  /** True for calls that are recorded: they need parameters of their own, or are fused into calls that do. */
  #isQuantizable(op: OpName, row: Pattern | undefined, args: readonly unknown[]): boolean {
    if (!row?.operator) return false;
    const tensors = tensorArguments(args);
    if (tensors.some((x) => x.dtype !== 'float32')) return false;
    if (partsOf(this.state.backend).operators.has(op)) return holdsStandIn(args);
    if (row.output === 'shared') return takesList(op) && holdsStandIn(args);
    if (row.output !== 'own' || !row.operator.quantized) return false;
    if (!row.operator.withNumber) return true;
    // a + alpha · b has no quantized form but for alpha = 1.
    return args[1] instanceof Tensor && (args[2] === undefined || args[2] === 1);
  }

  /** True for operators that take quantized tensors as they are. */
  #passesOn(op: OpName, row: Pattern | undefined, args: readonly unknown[]): boolean {
    const tensors = tensorArguments(args);
    if (tensors.some((x) => x.dtype === 'float32' && !holdsStandIn(x))) return false;
    if (MOVES.has(op)) return true;
    if (!row?.operator) return false;
    if (row.operator.withNumber)
      return typeof args[1] === 'number' && (args[2] === undefined || args[2] === 1);
    if (row.output === 'shared' || row.output === 'kept') return true;
    return row.fixedOutput !== undefined && !row.operator.quantized;
  }
}

/** Paths of the modules of models that ran. */
const pathsOf = new WeakMap<AnyModule, Map<AnyModule, string>>();

/** The error for a call that is not the recorded one. */
export function wrongOrder(frame: Frame, expected: SeenOp | undefined, got: Sighting): QuantizationError {
  const where = frame.owner === '' ? '' : ` in ${frame.owner}`;
  const nothing =
    frame.met === 0
      ? 'no quantizable call, as with the example inputs'
      : `no further quantizable call after the ${frame.met} that the example inputs led to`;
  const error = new QuantizationError({
    fn: 'define-by-run',
    argument: `order of quantizable calls${where}`,
    expected: expected ? `${describe(expected)} as call ${expected.index}, as prepareDbr recorded` : nothing,
    got: describe(got),
    fix: expected
      ? 'Take the same way through quantizable calls every time, or move what differs into a module of its own.'
      : 'Give prepareDbr examples that go this way (moreExamples), or move what repeats into a module of its own.',
  });
  error.locate(frame.owner, frame.type);
  return error;
}
