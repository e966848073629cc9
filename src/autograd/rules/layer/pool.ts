import { interpolateGrad } from '../../../ops/float/layer/interpolate.ts';
import { adaptiveAvgPoolGrad, avgPoolGrad, maxPoolGrad } from '../../../ops/float/layer/pool.ts';
import type { LayerOps } from '../../../ops/signatures/index.ts';
import type { AvgPoolGeometry, PoolGeometry } from '../../../ops/signatures/layer.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { RulesOf } from '../rule.ts';

type PoolOps = Pick<
  LayerOps,
  | 'maxPool1d'
  | 'maxPool2d'
  | 'maxPool3d'
  | 'avgPool1d'
  | 'avgPool2d'
  | 'avgPool3d'
  | 'adaptiveAvgPool1d'
  | 'adaptiveAvgPool2d'
  | 'adaptiveAvgPool3d'
  | 'interpolate'
>;

/** Gradients of pools and of resizing. */
export const poolRules: RulesOf<PoolOps> = {
  maxPool1d: maxPoolRule('maxPool1d'),
  maxPool2d: maxPoolRule('maxPool2d'),
  maxPool3d: maxPoolRule('maxPool3d'),
  avgPool1d: avgPoolRule('avgPool1d'),
  avgPool2d: avgPoolRule('avgPool2d'),
  avgPool3d: avgPoolRule('avgPool3d'),
  adaptiveAvgPool1d: adaptiveRule('adaptiveAvgPool1d'),
  adaptiveAvgPool2d: adaptiveRule('adaptiveAvgPool2d'),
  adaptiveAvgPool3d: adaptiveRule('adaptiveAvgPool3d'),
  interpolate: (_out, x, options) => (grad) => [interpolateGrad(grad, x.shape, options)],
};

type Gradients = (grad: Tensor) => readonly Tensor[];

function maxPoolRule(fn: string): (out: Tensor, x: Tensor, geometry: PoolGeometry) => Gradients {
  return (out, x, geometry) => (grad) => [maxPoolGrad(fn, grad, out, x, geometry)];
}

function adaptiveRule(fn: string): (out: Tensor, x: Tensor, size: readonly number[]) => Gradients {
  return (_out, x, size) => (grad) => [adaptiveAvgPoolGrad(fn, grad, x.shape, size)];
}

function avgPoolRule(fn: string): (out: Tensor, x: Tensor, geometry: AvgPoolGeometry) => Gradients {
  return (_out, x, geometry) => (grad) => [avgPoolGrad(fn, grad, x.shape, geometry)];
}
