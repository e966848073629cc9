import { locating, QuantizationError, ZeropointError } from '../core/errors.ts';
import { BatchNorm, Identity } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import { DTYPES } from '../tensor/dtype.ts';
import { formatShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ErrorSums } from './error-sums.ts';
import type { LayerRow } from './layer-rows.ts';
import { tensorBytes } from './layer-size.ts';
import { layerWeights } from './layer-weights.ts';
import { requireModels } from './require-models.ts';

const FN = 'compareWeights';

/**
 * How far the quantized weights of a model are from its float ones, layer by layer: static and dynamic layers, convolutions,
 * linear, recurrent and embedding layers, attention; float16 weights too. Layers correspond by path. What a batch
 * normalization was folded into is compared with the folded weight. Nothing is run.
 * Source: `torch.ao.ns._numeric_suite.compare_weights` and `_numeric_suite_fx.extract_weights`.
 *
 * @param float The model that was quantized: fused (or prepared), with the paths of the int8 model.
 * @param int8 What `convert`, `convertFx` or `quantizeDynamic` made of it.
 * @throws {@link QuantizationError} naming the layer where the models do not correspond.
 * @example
 * const rows = compareWeights(fused, convert(prepared));
 * print(formatLayers(rows));
 */
export function compareWeights(float: AnyModule, int8: AnyModule): LayerRow[] {
  requireModels(FN, { float, int8 });
  const rows: LayerRow[] = [];
  const inside: string[] = [];
  for (const [path, module] of int8.namedModules()) {
    if (inside.some((layer) => path.startsWith(layer))) continue;
    const weights = layerWeights(module);
    if (weights.size === 0) continue;
    inside.push(`${path}.`);
    for (const [name, weight] of weights) {
      if (!isReduced(weight)) continue;
      const layer = floatLayer(float, path, module);
      const reference = layerWeights(layer).get(name);
      rows.push(compareOne(path, name, layer, reference, module, weight));
    }
  }
  if (rows.length === 0) {
    throw new QuantizationError({
      fn: FN,
      argument: 'int8',
      expected: 'a model with quantized weights',
      got: `${int8.typeName} without any`,
      fix: 'Pass the float model first and what convert or quantizeDynamic made of it second.',
    });
  }
  requireFolded(float, int8, rows);
  return rows;
}

function compareOne(
  path: string,
  name: string,
  layer: AnyModule,
  reference: Tensor | undefined,
  module: AnyModule,
  weight: Tensor,
): LayerRow {
  if (!reference || isReduced(reference) || reference.shape.join() !== weight.shape.join()) {
    throw mismatch(
      path,
      `a float ${name} of shape ${formatShape(weight.shape)}, as in the int8 model`,
      reference
        ? `${reference.dtype} of shape ${formatShape(reference.shape)}`
        : `a ${layer.typeName} without`,
    );
  }
  return locating(path, module.typeName, () => ({
    path,
    value: name,
    float: layer.typeName,
    int8: module.typeName,
    ...new ErrorSums(FN).add(reference, weight).metrics(),
    bytes: { float: tensorBytes(reference), int8: tensorBytes(weight) },
    note: '',
  }));
}

/** True for weights that take less than float32. */
function isReduced({ dtype }: Tensor): boolean {
  return DTYPES[dtype].kind === 'quantized' || dtype === 'float16' || dtype === 'bfloat16';
}

function floatLayer(float: AnyModule, path: string, int8: AnyModule): AnyModule {
  try {
    return float.getSubmodule(path);
  } catch (cause) {
    if (!(cause instanceof ZeropointError)) throw cause;
    throw mismatch(
      path,
      `a layer at this path in the float model, as ${int8.typeName} in the int8 model`,
      'none',
    );
  }
}

/**
 * A batch normalization of the float model that the int8 model has no more was folded into a weight: that weight is another
 * one than the float model's.
 */
function requireFolded(float: AnyModule, int8: AnyModule, rows: readonly LayerRow[]): void {
  const left = new Map(int8.namedModules());
  const compared = new Set(rows.map((r) => r.path));
  for (const [path, module] of float.namedModules()) {
    if (!(module instanceof BatchNorm) || [...compared].some((layer) => path.startsWith(`${layer}.`)))
      continue;
    const now = left.get(path);
    if (now && !(now instanceof Identity)) continue;
    throw mismatch(
      path,
      'a float model whose batch normalizations are fused into the layers before them, as in the int8 model',
      `a ${module.typeName} of its own`,
    );
  }
}

function mismatch(path: string, expected: string, got: string): QuantizationError {
  return new QuantizationError({
    fn: FN,
    argument: path === '' ? '(root)' : path,
    expected,
    got,
    fix: 'Pass the fused float model that was prepared, or the prepared model itself.',
  });
}
