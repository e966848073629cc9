import { FixedQParamsObserver } from './fixed.ts';
import { HistogramObserver } from './histogram.ts';
import { MinMaxObserver } from './min-max.ts';
import type { ObserverFactory } from './observer.ts';
import { PlaceholderObserver, RecordingObserver, ReuseInputObserver } from './passive.ts';
import { PerChannelMinMaxObserver } from './per-channel.ts';

/** Activations from their extremes, in 0…127. Source: `default_observer`. */
export const defaultObserver: ObserverFactory = MinMaxObserver.withArgs({ quantMin: 0, quantMax: 127 });

/** Source: `default_placeholder_observer`. */
export const defaultPlaceholderObserver: ObserverFactory = PlaceholderObserver.withArgs();

/** Source: `default_debug_observer`. */
export const defaultDebugObserver: ObserverFactory = RecordingObserver.withArgs();

/** Weights: symmetric qint8 for the whole tensor. Source: `default_weight_observer`. */
export const defaultWeightObserver: ObserverFactory = MinMaxObserver.withArgs({
  dtype: 'qint8',
  qscheme: 'per_tensor_symmetric',
});

/** Symmetric weights without −128. Source: `weight_observer_range_neg_127_to_127`. */
export const weightObserverRangeNeg127To127: ObserverFactory = MinMaxObserver.withArgs({
  dtype: 'qint8',
  qscheme: 'per_tensor_symmetric',
  quantMin: -127,
  quantMax: 127,
  eps: 2 ** -12,
});

/** Activations from their histogram, in 0…127. Source: `default_histogram_observer`. */
export const defaultHistogramObserver: ObserverFactory = HistogramObserver.withArgs({
  quantMin: 0,
  quantMax: 127,
});

/** Weights: symmetric qint8 per output channel. Source: `default_per_channel_weight_observer`. */
export const defaultPerChannelWeightObserver: ObserverFactory = PerChannelMinMaxObserver.withArgs({
  dtype: 'qint8',
  qscheme: 'per_channel_symmetric',
});

/** Symmetric per-channel weights without −128. Source: `per_channel_weight_observer_range_neg_127_to_127`. */
export const perChannelWeightObserverRangeNeg127To127: ObserverFactory = PerChannelMinMaxObserver.withArgs({
  dtype: 'qint8',
  qscheme: 'per_channel_symmetric',
  quantMin: -127,
  quantMax: 127,
  eps: 2 ** -12,
});

/** Activations quantized call by call. Source: `default_dynamic_quant_observer`. */
export const defaultDynamicQuantObserver: ObserverFactory = PlaceholderObserver.withArgs({
  dtype: 'quint8',
  computeDtype: 'quint8',
});

/** Embedding rows with float zero points. Source: `default_float_qparams_observer`. */
export const defaultFloatQParamsObserver: ObserverFactory = PerChannelMinMaxObserver.withArgs({
  dtype: 'quint8',
  qscheme: 'per_channel_affine_float_qparams',
  chAxis: 0,
});

/** Embedding rows in four bits with float zero points. Source: `default_float_qparams_observer_4bit`. */
export const defaultFloatQParamsObserver4bit: ObserverFactory = PerChannelMinMaxObserver.withArgs({
  dtype: 'quint4x2',
  qscheme: 'per_channel_affine_float_qparams',
  chAxis: 0,
});

/** Outputs in −1…1, such as tanh's. Source: `default_fixed_qparams_range_neg1to1_observer`. */
export const defaultFixedQParamsRangeNeg1To1Observer: ObserverFactory<FixedQParamsObserver> =
  FixedQParamsObserver.withArgs({
    scale: 2 / 256,
    zeroPoint: 128,
    dtype: 'quint8',
    quantMin: 0,
    quantMax: 255,
  });

/** Outputs in 0…1, such as sigmoid's. Source: `default_fixed_qparams_range_0to1_observer`. */
export const defaultFixedQParamsRange0To1Observer: ObserverFactory<FixedQParamsObserver> =
  FixedQParamsObserver.withArgs({
    scale: 1 / 256,
    zeroPoint: 0,
    dtype: 'quint8',
    quantMin: 0,
    quantMax: 255,
  });

/** Source: `default_reuse_input_observer`. */
export const defaultReuseInputObserver: ObserverFactory = ReuseInputObserver.withArgs();
