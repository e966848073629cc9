import {
  defaultFixedQParamsRange0To1Observer,
  defaultFixedQParamsRangeNeg1To1Observer,
} from '../observers/defaults.ts';
import { HistogramObserver } from '../observers/histogram.ts';
import {
  MovingAverageMinMaxObserver,
  MovingAveragePerChannelMinMaxObserver,
} from '../observers/moving-average.ts';
import type { ObserverFactory } from '../observers/observer.ts';
import { FakeQuantize, FixedQParamsFakeQuantize } from './fake-quantize.ts';
import { FusedMovingAvgObsFakeQuantize } from './fused.ts';

const EIGHT_BITS = { quantMin: 0, quantMax: 255, dtype: 'quint8' } as const;
const SIGNED = { quantMin: -128, quantMax: 127, dtype: 'qint8' } as const;
const SIGNED_SYMMETRIC = { quantMin: -127, quantMax: 127, dtype: 'qint8', eps: 2 ** -12 } as const;

/** Activations, in 0…127. Source: `default_fake_quant`. */
export const defaultFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...EIGHT_BITS,
  qscheme: 'per_tensor_affine',
  reduceRange: true,
});

/** Weights, symmetric for the whole tensor. Source: `default_weight_fake_quant`. */
export const defaultWeightFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...SIGNED,
  qscheme: 'per_tensor_symmetric',
  reduceRange: false,
});

/** Activations from the current tensor alone. Source: `default_dynamic_fake_quant`. */
export const defaultDynamicFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...EIGHT_BITS,
  averagingConstant: 1,
});

/** Outputs in −1…1. Source: `default_fixed_qparams_range_neg1to1_fake_quant`. */
export const defaultFixedQParamsRangeNeg1To1FakeQuant: ObserverFactory = FixedQParamsFakeQuantize.withArgs({
  observer: defaultFixedQParamsRangeNeg1To1Observer,
});

/** Outputs in 0…1. Source: `default_fixed_qparams_range_0to1_fake_quant`. */
export const defaultFixedQParamsRange0To1FakeQuant: ObserverFactory = FixedQParamsFakeQuantize.withArgs({
  observer: defaultFixedQParamsRange0To1Observer,
});

/** Weights, symmetric per output channel. Source: `default_per_channel_weight_fake_quant`. */
export const defaultPerChannelWeightFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAveragePerChannelMinMaxObserver,
  ...SIGNED,
  qscheme: 'per_channel_symmetric',
  reduceRange: false,
  chAxis: 0,
});

/** Embedding rows with float zero points. Source: `default_embedding_fake_quant`. */
export const defaultEmbeddingFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAveragePerChannelMinMaxObserver,
  qscheme: 'per_channel_affine_float_qparams',
  ...EIGHT_BITS,
  chAxis: 0,
  averagingConstant: 1,
});

/** Embedding rows in four bits. Source: `default_embedding_fake_quant_4bit`. */
export const defaultEmbeddingFakeQuant4bit: ObserverFactory = FakeQuantize.withArgs({
  observer: MovingAveragePerChannelMinMaxObserver,
  qscheme: 'per_channel_affine_float_qparams',
  chAxis: 0,
  dtype: 'quint4x2',
  averagingConstant: 1,
});

/** Activations from their histogram. Source: `default_histogram_fake_quant`. */
export const defaultHistogramFakeQuant: ObserverFactory = FakeQuantize.withArgs({
  observer: HistogramObserver,
  ...EIGHT_BITS,
  qscheme: 'per_tensor_affine',
  reduceRange: true,
});

/** Activations, fused. Source: `default_fused_act_fake_quant`. */
export const defaultFusedActFakeQuant: ObserverFactory = FusedMovingAvgObsFakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...EIGHT_BITS,
});

/** Weights, fused. Source: `default_fused_wt_fake_quant`. */
export const defaultFusedWtFakeQuant: ObserverFactory = FusedMovingAvgObsFakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...SIGNED,
  qscheme: 'per_tensor_symmetric',
});

/** Weights per output channel, fused. Source: `default_fused_per_channel_wt_fake_quant`. */
export const defaultFusedPerChannelWtFakeQuant: ObserverFactory = FusedMovingAvgObsFakeQuantize.withArgs({
  observer: MovingAveragePerChannelMinMaxObserver,
  ...SIGNED,
  qscheme: 'per_channel_symmetric',
});

/** Weights without −128, fused. Source: `fused_wt_fake_quant_range_neg_127_to_127`. */
export const fusedWtFakeQuantRangeNeg127To127: ObserverFactory = FusedMovingAvgObsFakeQuantize.withArgs({
  observer: MovingAverageMinMaxObserver,
  ...SIGNED_SYMMETRIC,
  qscheme: 'per_tensor_symmetric',
});

/** Weights per channel without −128, fused. Source: `fused_per_channel_wt_fake_quant_range_neg_127_to_127`. */
export const fusedPerChannelWtFakeQuantRangeNeg127To127: ObserverFactory =
  FusedMovingAvgObsFakeQuantize.withArgs({
    observer: MovingAveragePerChannelMinMaxObserver,
    ...SIGNED_SYMMETRIC,
    qscheme: 'per_channel_symmetric',
  });
