import type { AnyModule } from '../../nn/module.ts';
import type { ConvGeometry } from '../../ops/signatures/layer.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { QConfig } from '../qconfig.ts';
import type { QConfigMapping } from '../qconfig-mapping.ts';
import { activationFault, isDynamicQConfig } from '../qconfig-support.ts';
import type { Decide } from './record.ts';
import { type Sighting, type Treatment, takesList } from './seen-op.ts';

/** What {@link treatmentFor} decides by. */
export interface TreatmentSources {
  readonly root: AnyModule;
  /** QConfigs that modules brought along, for themselves and all below. */
  readonly given: ReadonlyMap<string, QConfig | null>;
  readonly mapping: QConfigMapping;
  readonly backend: BackendConfig;
}

/** The rule by which recorded calls are quantized: the backend table's row, under the qconfig that reaches the call. */
export function treatmentFor(sources: TreatmentSources): Decide {
  const { root, given, mapping, backend } = sources;
  const parameters = new Map<unknown, string>(root.namedParameters().map(([path, p]) => [p, path]));
  return (owner, sighting, args, order) => {
    if (sighting.kind === 'module') {
      const module = root.getSubmodule(sighting.target);
      const qconfig = module.qconfig ?? null;
      const row = backend.patternOf(module);
      if (!row?.static && !row?.custom)
        return float(qconfig, 'no static form of this class on its own', null);
      if (!qconfig) return float(qconfig, 'its qconfig is null', null);
      return { row, qconfig, reason: '', fix: null, weight: null };
    }
    const own = given.get(owner);
    const qconfig =
      own === undefined ? mapping.qconfigFor({ path: owner, type: sighting.target, order }) : own;
    return operatorTreatment(
      sighting,
      backend.operatorPatternOf(sighting.target) as Pattern,
      qconfig,
      parameters,
      args,
    );
  };
}

function operatorTreatment(
  { target }: Sighting,
  row: Pattern,
  qconfig: QConfig | null,
  parameters: ReadonlyMap<unknown, string>,
  args: readonly unknown[],
): Treatment {
  // An operator that needs no parameters of its own goes with what it is given.
  if (row.output !== 'own' && !takesList(target))
    return { row, qconfig, reason: '', fix: null, weight: null };
  if (!qconfig) return float(qconfig, 'its qconfig is null', null);
  const keep = `give '${target}' null in the qconfig mapping to keep it float`;
  if (isDynamicQConfig(qconfig)) {
    const half = qconfig.weight().dtype === 'float16';
    if (!(half ? row.operator?.half : row.operator?.dynamic))
      return float(
        qconfig,
        'a dynamic qconfig, and no dynamic form of this operator',
        `Use a static one, or ${keep}.`,
      );
    return weighted(row, qconfig, parameters, args, keep, true);
  }
  const fault = activationFault(qconfig.activation(), 'convertDbr');
  if (fault) return float(qconfig, `its qconfig has ${fault.got}`, `Use getDefaultQConfig(), or ${keep}.`);
  return weighted(row, qconfig, parameters, args, keep, false);
}

/** With the parameters of the model that an operator computes with, where it takes weights. */
function weighted(
  row: Pattern,
  qconfig: QConfig,
  parameters: ReadonlyMap<unknown, string>,
  args: readonly unknown[],
  keep: string,
  isDynamic: boolean,
): Treatment {
  const found = { row, qconfig, reason: '', fix: null, isDynamic };
  const place = row.operator?.weight;
  if (!place?.pack) return { ...found, weight: null };
  const [weight, given] = [args[place.weight], args[place.bias]];
  const [path, biasPath] = [parameters.get(weight), parameters.get(given)];
  if (path !== undefined && (given === null || biasPath !== undefined)) {
    const geometry = place.pack === 'conv' ? (args[place.bias + 1] as ConvGeometry) : null;
    return { ...found, weight: { weight: path, bias: biasPath ?? null, geometry } };
  }
  return float(
    qconfig,
    'its weight or bias is computed, not a parameter of the model',
    `Make it a Parameter, or ${keep}.`,
  );
}

function float(qconfig: QConfig | null, reason: string, fix: string | null): Treatment {
  return { row: null, qconfig, reason, fix, weight: null };
}
