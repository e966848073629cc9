import { QuantizationError } from '../../core/errors.ts';
import { PackedHalfWeights } from '../../ops/quantized/packed-half.ts';
import type { OpArgs, OpName } from '../../ops/signatures/index.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { OperatorForm } from '../backend/pattern.ts';
import type { ActivationQParams } from '../observed-qparams.ts';
import { isActivation, PlannedRun } from './observe.ts';
import type { Compute } from './run.ts';
import type { SeenOp } from './seen-op.ts';
import { floatTensors, holdsStandIn, mapTensors, StandIn } from './stand-in.ts';
import { inputKey } from './state.ts';

/** Runs a converted model: recorded calls in their quantized form, everything between them as it is. */
export class IntegerRun extends PlannedRun {
  protected readonly computesIntegers = true;

  protected perform(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    if (op.isDynamic) return this.#dynamic(op, floatTensors(args) as unknown[], compute);
    if (!op.row || !(op.takesQuantized || holdsStandIn(args))) return this.inFloat(args, compute);
    const given = mapTensors(args, (x, place) => this.#input(op, x, place)) as unknown[];
    const result =
      op.kind === 'module' ? this.#module(op, given, compute) : this.#operator(op, given, compute);
    return this.standIns(result, { producer: op, awaiting: op.next });
  }

  /** A product of floats with a weight in int8 or float16. */
  #dynamic(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    const form = op.row?.operator as OperatorForm;
    const packed = this.state.packed.get(op.key);
    if (!packed) return compute(args);
    const target = packed instanceof PackedHalfWeights ? form.half : form.dynamic;
    const rest = packed instanceof PackedHalfWeights ? [] : [false];
    return this.dispatch(target as OpName, ...([args[0], packed, ...rest] as never));
  }

  /** The quantized tensor that a call takes; one that comes in plain is quantized here. */
  #input(op: SeenOp, x: Tensor, place: number): Tensor {
    const value = x instanceof StandIn ? this.take(x, op) : null;
    if (value) return value.tensor;
    const plain = x instanceof StandIn ? x.materialize() : x;
    if (!op.takesQuantized || !isActivation(op, place) || plain.dtype !== 'float32') return plain;
    const key = inputKey(op, place);
    const qparams = this.state.qparams.get(op.joins ? op.shares.key : key);
    if (!qparams) throw neverSeen(op, place);
    return this.#quantize(plain, qparams);
  }

  #quantize(x: Tensor, { scale, zeroPoint, dtype }: ActivationQParams): Tensor {
    return this.dispatch('quantizePerTensor', x, scale, zeroPoint, dtype);
  }

  /** A module that is called in several places has its weights once and output parameters for each place. */
  #module(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    const own = op.isRepeat ? this.state.qparams.get(op.shares.key) : undefined;
    if (!own) return compute(args);
    const layer = this.root.getSubmodule(op.target) as unknown as { scale: number; zeroPoint: number };
    const { scale, zeroPoint } = layer;
    layer.scale = own.scale;
    layer.zeroPoint = own.zeroPoint;
    try {
      return compute(args);
    } finally {
      layer.scale = scale;
      layer.zeroPoint = zeroPoint;
    }
  }

  #operator(op: SeenOp, args: readonly unknown[], compute: Compute): unknown {
    const form = op.row?.operator as OperatorForm;
    if (op.joins) return compute([this.#alike(op, args[0] as readonly Tensor[]), ...args.slice(1)]);
    if (!form.quantized || !form.args) return compute(args);
    const { scale, zeroPoint } = this.state.qparams.get(op.shares.key) as ActivationQParams;
    const packed = this.state.packed.get(op.key);
    const filled = packed ? args.map((arg, i) => (i === form.weight?.weight ? packed : arg)) : args;
    return this.dispatch(form.quantized, ...(form.args(filled, scale, zeroPoint) as OpArgs<OpName> as never));
  }

  /** Tensors with the parameters that the call recorded, where they are not under one set already. */
  #alike(op: SeenOp, tensors: readonly Tensor[]): readonly Tensor[] {
    const qparams = this.state.qparams.get(op.shares.key) as ActivationQParams;
    return tensors.map((x) => {
      const same =
        x.qScale() === qparams.scale && x.qZeroPoint() === qparams.zeroPoint && x.dtype === qparams.dtype;
      return same ? x : this.#quantize(this.dispatch('dequantize', x), qparams);
    });
  }
}

function neverSeen(op: SeenOp, place: number): QuantizationError {
  const error = new QuantizationError({
    fn: 'define-by-run',
    argument: `input ${place} of ${op}`,
    expected: 'a tensor that a quantized call made, as in calibration',
    got: 'a float tensor, whose range was never observed',
    fix: 'Calibrate with inputs that go this way too.',
  });
  error.locate(op.owner, op.ownerType);
  return error;
}
