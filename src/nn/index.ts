import '../ops/index.ts';
import '../autograd/index.ts';

export * from './activation.ts';
export * from './attention.ts';
export * from './batch-norm.ts';
export * from './clip-grad.ts';
export * from './containers.ts';
export * from './conv.ts';
export * from './conv-transpose.ts';
export * from './deep-copy.ts';
export * from './dropout.ts';
export * from './embedding.ts';
export * from './flatten.ts';
export * as functional from './functional.ts';
export * from './fusion.ts';
export * as init from './init.ts';
export * as intrinsic from './intrinsic/index.ts';
export * from './linear.ts';
export * from './loss.ts';
export {
  type AnyModule,
  type ForwardHook,
  type ForwardPreHook,
  type HookHandle,
  type LoadReport,
  Module,
  print,
  StateLoader,
} from './module.ts';
export * from './normalization.ts';
export * from './packed-sequence.ts';
export * from './padding.ts';
export * from './parameter.ts';
export * from './pooling.ts';
export * from './recurrent.ts';
export * from './recurrent-cells.ts';
export * from './recurrent-walk.ts';
export * from './transformer.ts';
export * from './upsample.ts';
