export * from './defaults.ts';
export * from './entropy.ts';
export * from './fixed.ts';
export * from './histogram.ts';
export * from './min-max.ts';
export * from './moving-average.ts';
export {
  type ObservedQParams,
  ObserverBase,
  type ObserverClass,
  type ObserverFactory,
} from './observer.ts';
export * from './passive.ts';
export * from './per-channel.ts';
export * from './percentile.ts';
export {
  isPerChannelScheme,
  isPerTensorScheme,
  type UniformObserverOptions,
  UniformQuantizationObserverBase,
} from './uniform.ts';
