export * from './adam.ts';
export * from './one-cycle.ts';
export {
  type LearningRate,
  Optimizer,
  type OptimizerInput,
  type OptimizerStateDict,
  type ParameterState,
  type ParamGroup,
  type Update,
} from './optimizer.ts';
export * from './reduce-on-plateau.ts';
export * from './rmsprop.ts';
export {
  CosineAnnealingLR,
  ExponentialLR,
  LambdaLR,
  LinearLR,
  type LinearLROptions,
  LRScheduler,
  MultiStepLR,
  StepLR,
} from './scheduler.ts';
export * from './sgd.ts';
