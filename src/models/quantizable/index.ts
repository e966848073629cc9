export * from './cifar-resnet.ts';
export * from './demucs.ts';
export * from './digits.ts';
export * from './ds-cnn.ts';
export type { QuantizableModel, RescuableModel, RescuePlan } from './fusable.ts';
export * from './mobilenet.ts';
export * from './resnet.ts';
export * from './squeezenet.ts';
