export * from './defaults.ts';
export {
  FakeQuantize,
  FakeQuantizeBase,
  type FakeQuantizeOptions,
  FixedQParamsFakeQuantize,
  type RangeObserver,
} from './fake-quantize.ts';
export * from './fused.ts';
export * from './learnable.ts';
export * from './switches.ts';
