import type { AnyModule } from '../../nn/module.ts';
import type { BackendConfig } from '../backend/backend-config.ts';
import type { Pattern } from '../backend/pattern.ts';
import type { Note } from '../notes.ts';
import { isDynamicQConfig } from '../qconfig-support.ts';
import { partsOf } from './parts.ts';
import type { Meeting } from './state.ts';

/**
 * How the calls of each module are met, by path; modules that are not listed make quantizable calls of their own.
 *
 * @param alone Paths of modules that could only be fused behind others, and are not.
 */
export function meetModules(
  root: AnyModule,
  backend: BackendConfig,
  alone: ReadonlySet<string>,
): Map<string, Meeting> {
  const meetings = new Map<string, Meeting>();
  let whole = '';
  for (const [path, module] of root.namedModules()) {
    if (path === '' || (whole !== '' && path.startsWith(whole))) continue;
    const meeting = alone.has(path) ? 'float' : meetingOf(module, backend);
    if (meeting === 'frame') continue;
    meetings.set(path, meeting);
    // What is inside of a module that is met as a whole is never met.
    if (meeting !== 'open') whole = `${path}.`;
  }
  return meetings;
}

function meetingOf(module: AnyModule, backend: BackendConfig): Meeting {
  if (partsOf(backend).modules.has(module.constructor)) return 'recorded';
  const row = backend.patternOf(module);
  if (!row) return 'frame';
  if (row.custom && module.constructor === row.custom.observed) return 'recorded';
  const { qconfig } = module;
  if (row.output === 'own' && row.static) {
    if (row.observe !== 'output') return 'as is';
    return qconfig && !isDynamicQConfig(qconfig) ? 'recorded' : 'float';
  }
  if (row.output === 'shared' || (row.output === 'own' && row.fixedOutput))
    return row.operator ? 'open' : 'as is';
  // Stubs and functionals: what they mark happens without them here.
  if (!row.output && row.static) return 'open';
  return 'float';
}

/** Why a module that is met as a whole stays float; null for one without weights. */
export function floatNote(path: string, module: AnyModule, backend: BackendConfig): Note | null {
  if (module.parameters().length === 0) return null;
  const note = (reason: string, fix: string | null): Note => ({ path, type: module.typeName, reason, fix });
  const { qconfig } = module;
  const row: Pattern | undefined = backend.patternOf(module);
  const keep = 'set its qconfig to null to keep it float';
  if (!qconfig) return note('its qconfig is null', null);
  if (partsOf(backend).modules.has(module.constructor))
    return note(
      'no static form of this class on its own, and nothing to fuse it with',
      `Put it right behind a layer it can be fused with, or ${keep}.`,
    );
  if (isDynamicQConfig(qconfig))
    return row?.dynamic
      ? null
      : note('no dynamic form of this class', `Give it getDefaultQConfig(), or ${keep}.`);
  if (row?.output === 'float')
    return weightOnly(module)
      ? null
      : note(
          'its qconfig is not one for weights alone',
          `Give it floatQParamsWeightOnlyQConfig, or ${keep}.`,
        );
  if (row?.dynamic)
    return note(
      'no static form of this class, only a dynamic one',
      `Give it defaultDynamicQConfig, or ${keep}.`,
    );
  return note('no quantized form of this class', `Describe one in the option patterns, or ${keep}.`);
}

/** True where a module's qconfig quantizes its weights by rows with float zero points, and nothing else. */
export function weightOnly(module: AnyModule): boolean {
  return module.qconfig?.weight().qscheme === 'per_channel_affine_float_qparams';
}
