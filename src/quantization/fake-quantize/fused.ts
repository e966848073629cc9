import { ArgumentError, QuantizationError } from '../../core/errors.ts';
import { roundHalfEven } from '../../core/math.ts';
import { pythonFloat } from '../../tensor/format.ts';
import { fromStorage, type Tensor } from '../../tensor/tensor.ts';
import {
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
} from '../observers/moving-average.ts';
import { type ObservedQParams, vector } from '../observers/observer.ts';
import { FakeQuantize, type FakeQuantizeOptions } from './fake-quantize.ts';

/**
 * A {@link FakeQuantize} over a moving average that derives the parameters it rounds with in double precision, as
 * PyTorch's fused kernel does: scales never fall below 6.1e-5, and the zero point comes from the end with the smaller
 * error. The default for quantization-aware training. Source: `torch.ao.quantization.FusedMovingAvgObsFakeQuantize`,
 * `torch.fused_moving_avg_obs_fake_quant`.
 */
export class FusedMovingAvgObsFakeQuantize extends FakeQuantize {
  declare readonly activationPostProcess: MovingAverageMinMaxObserver | MovingAveragePerChannelMinMaxObserver;

  constructor(options: FakeQuantizeOptions = {}) {
    super({ quantMin: 0, quantMax: 255, ...options });
    const observer = this.activationPostProcess;
    if (
      !(observer instanceof MovingAverageMinMaxObserver) &&
      !(observer instanceof MovingAveragePerChannelMinMaxObserver)
    ) {
      throw new ArgumentError({
        fn: 'FusedMovingAvgObsFakeQuantize',
        argument: 'observer',
        expected: 'MovingAverageMinMaxObserver or MovingAveragePerChannelMinMaxObserver',
        got: (observer as FakeQuantize).typeName,
      });
    }
    this.registerBuffer('fakeQuantEnabled', fromStorage(Float64Array.of(1), [1], 'int64'));
    this.registerBuffer('observerEnabled', fromStorage(Float64Array.of(1), [1], 'int64'));
  }

  override forward(x: Tensor): Tensor {
    if (this.observerEnabled.storage[0] === 1) this.activationPostProcess(x);
    if (this.fakeQuantEnabled.storage[0] !== 1) return x;
    const { scale, zeroPoint } = this.appliedQParams();
    this.scale = scale;
    this.zeroPoint = zeroPoint;
    return this.simulate(x);
  }

  /** Derived from the range so far as the fused kernel does it, which is not how {@link calculateQParams} does. */
  override appliedQParams(): ObservedQParams {
    const { minVal, maxVal, qscheme } = this.activationPostProcess;
    const symmetric = qscheme.endsWith('symmetric');
    const n = minVal.numel;
    const scale = new Float32Array(n);
    const zeroPoint = new Int32Array(n);
    for (let c = 0; c < n; c++) {
      [scale[c], zeroPoint[c]] = chooseQParams(
        minVal.data[c],
        maxVal.data[c],
        this.quantMin,
        this.quantMax,
        symmetric,
      );
    }
    return { scale: vector(scale), zeroPoint: fromStorage(zeroPoint, [n], 'int32') };
  }

  override extraRepr(): string {
    const reduced = this.activationPostProcess.reduceRange ? 'True' : 'False';
    return `${this.switchesRepr()}, scale=${this.scale}, zero_point=${this.zeroPoint}, dtype=torch.${this.dtype}, quant_min=${this.quantMin}, quant_max=${this.quantMax}, qscheme=torch.${this.qscheme}, reduce_range=${reduced}`;
  }
}

/** Scales below this are raised to it, and the range is widened to match. */
const SMALL_SCALE = Math.fround(6.1e-5);

/**
 * Scale and zero point for `low … high` in integers `qmin … qmax`. `symmetric` centers a range that has both signs.
 * Source: `quant_utils::ChooseQuantizationParams`.
 */
function chooseQParams(
  low: number,
  high: number,
  qmin: number,
  qmax: number,
  symmetric: boolean,
): [scale: number, zeroPoint: number] {
  if (!(low <= high)) {
    throw new QuantizationError({
      fn: 'FusedMovingAvgObsFakeQuantize',
      argument: 'range',
      expected: 'a minimum that is not above the maximum',
      got: `${pythonFloat(low)} … ${pythonFloat(high)}`,
      fix: 'Let it observe data without NaN before its observer is disabled.',
    });
  }
  let [min, max] = [low, high];
  if (min < 0 && max > 0 && symmetric) {
    const top = Math.floor((qmax - qmin) / 2);
    const bottom = -(top + 1);
    const widest = Math.max(Math.abs(Math.fround(min / bottom)), Math.abs(Math.fround(max / top)));
    [min, max] = [Math.fround(widest * bottom), Math.fround(widest * top)];
  }
  min = Math.min(min, 0);
  max = Math.max(max, 0);
  const steps = qmax - qmin;
  let scale = (max - min) / steps;
  if (Math.fround(scale) === 0 || Math.fround(1 / Math.fround(scale)) === Infinity) scale = 0.1;
  if (scale < SMALL_SCALE) {
    const amplifier = Math.fround(SMALL_SCALE / Math.fround(scale));
    scale = SMALL_SCALE;
    if (min === 0) max = Math.fround(SMALL_SCALE * steps);
    else if (max === 0) min = Math.fround(-SMALL_SCALE * steps);
    else [min, max] = [Math.fround(min * amplifier), Math.fround(max * amplifier)];
  }
  const lowError = Math.abs(qmin) - Math.abs(min / scale);
  const highError = Math.abs(qmax) - Math.abs(max / scale);
  let exact = lowError < highError ? qmin - min / scale : qmax - max / scale;
  if (min < 0 && max > 0 && symmetric) exact = (qmin + qmax) / 2;
  return [Math.fround(scale), Math.min(Math.max(roundHalfEven(exact), qmin), qmax)];
}
