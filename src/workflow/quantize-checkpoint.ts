import { ArgumentError } from '../core/errors.ts';
import { loadSafetensors, loadStateDict, saveSafetensors, writeSafetensors } from '../io/index.ts';
import type { QuantizableModel } from '../models/quantizable/index.ts';
import { create, modelInfo } from '../models/registry.ts';
import type { AnyModule } from '../nn/module.ts';
import { noGrad } from '../ops/grad-mode.ts';
import {
  convert,
  getDefaultQConfig,
  prepare,
  type QuantizationBackend,
  quantizeDynamic,
} from '../quantization/index.ts';
import { type CoverageRow, compareVariants, coverage, type VariantReport } from '../suite/index.ts';
import type { StateDict } from '../tensor/state.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { batchesOf, loadSamples, type Samples } from './samples.ts';

/** What {@link quantizeCheckpoint} shall do. */
export interface QuantizeJob {
  /** Name of a model in `models` (`resnet20`, `squeezenet1_1`, …). */
  readonly model: string;
  /** Float weights: `.pt`, `.pth`, `.th` or safetensors. */
  readonly checkpoint: string;
  /** `static` (int8 activations, needs calibration data) or `dynamic` (int8 weights of linear layers). */
  readonly mode?: 'static' | 'dynamic';
  /** Folder of images or npz to calibrate on; static mode needs it. */
  readonly calibration?: string;
  /** How many calibration samples to use; all. */
  readonly calibrationSamples?: number;
  /** Folder of images or npz to evaluate on; the calibration data where not given. */
  readonly evaluation?: string;
  readonly evaluationSamples?: number;
  /** Whose default configuration to use; `wasm`. */
  readonly backend?: QuantizationBackend;
  /** Samples per batch; 32. */
  readonly batchSize?: number;
  /** Where the int8 model goes (safetensors); nothing is written where not given. */
  readonly output?: string;
  readonly onProgress?: (stage: string, done: number, total: number) => void;
}

/** What {@link quantizeCheckpoint} found. */
export interface QuantizeResult {
  readonly model: AnyModule;
  /** Float first, then int8. */
  readonly rows: readonly VariantReport[];
  readonly coverage: readonly CoverageRow[];
  /** Samples whose outputs were the same to the bit after the file was read back; null where nothing was written. */
  readonly verifiedSamples: number | null;
}

/**
 * The main job: takes a model with its float checkpoint, calibrates, converts, compares float and int8, saves the int8
 * model, reads it back and checks that it computes the same to the bit.
 *
 * @example
 * const { rows } = await quantizeCheckpoint({
 *   model: 'resnet20', checkpoint: 'resnet20.th', calibration: 'train.npz', evaluation: 'test.npz', output: 'resnet20-int8.safetensors',
 * });
 * print(formatComparison(rows));
 */
export async function quantizeCheckpoint(job: QuantizeJob): Promise<QuantizeResult> {
  const { mode = 'static', batchSize = 32 } = job;
  const info = modelInfo(job.model);
  const state = await loadStateDict(job.checkpoint);
  const float = create(job.model);
  float.loadStateDict(state);
  float.eval();
  const source = job.evaluation ?? job.calibration;
  if (source === undefined || (mode === 'static' && job.calibration === undefined)) {
    throw new ArgumentError({
      fn: 'quantizeCheckpoint',
      argument: mode === 'static' ? 'calibration' : 'evaluation',
      expected: 'a folder of images or an npz',
      got: 'none',
      fix: mode === 'static' ? 'Static quantization learns the range of activations from data.' : '',
    });
  }
  const int8 = mode === 'static' ? await quantizeStatically(job, state) : quantizeDynamic(float);
  const evaluation = await loadSamples(source, info, {
    limit: job.evaluationSamples,
    onProgress: (done, total) => job.onProgress?.('read evaluation data', done, total),
  });
  const saved = int8.stateDict();
  const rows = compareVariants(
    [
      { name: 'float', model: float, bytes: writeSafetensors(float.stateDict()).length },
      { name: `int8 ${mode}`, model: int8, bytes: writeSafetensors(saved).length },
    ],
    {
      batches: () => batchesOf(evaluation, batchSize),
      labels: evaluation.labels,
      latencyInput: evaluation.batch(0, 1),
      onProgress: (name, samples) => job.onProgress?.(`evaluate ${name}`, samples, evaluation.length),
    },
  );
  const verifiedSamples = job.output === undefined ? null : await saveAndVerify(job, int8, saved, evaluation);
  return { model: int8, rows, coverage: coverage(int8), verifiedSamples };
}

/** A fused model in evaluation mode with the job's qconfig, ready for `prepare`. */
function fusedModel(job: QuantizeJob, state: StateDict | null): AnyModule {
  const model = create(job.model, { quantizable: true }) as AnyModule & QuantizableModel;
  if (state) model.loadStateDict(state);
  model.eval();
  model.fuseModel();
  model.qconfig = getDefaultQConfig(job.backend);
  return model;
}

async function quantizeStatically(job: QuantizeJob, state: StateDict): Promise<AnyModule> {
  const { batchSize = 32 } = job;
  const calibration = await loadSamples(job.calibration as string, modelInfo(job.model), {
    limit: job.calibrationSamples,
    onProgress: (done, total) => job.onProgress?.('read calibration data', done, total),
  });
  const prepared = prepare(fusedModel(job, state), { inplace: true });
  let done = 0;
  for (const batch of batchesOf(calibration, batchSize)) {
    noGrad(() => prepared(batch));
    done += batch.shape[0];
    job.onProgress?.('calibrate', done, calibration.length);
  }
  return convert(prepared, { inplace: true });
}

async function saveAndVerify(
  job: QuantizeJob,
  int8: AnyModule,
  saved: StateDict,
  samples: Samples,
): Promise<number> {
  const path = job.output as string;
  await saveSafetensors(saved, path, { metadata: { model: job.model, mode: job.mode ?? 'static' } });
  const { dict } = await loadSafetensors(path);
  const skeleton =
    (job.mode ?? 'static') === 'static'
      ? convert(prepare(fusedModel(job, null), { inplace: true }), { inplace: true, allowUnobserved: true })
      : quantizeDynamic(create(job.model).eval());
  skeleton.loadStateDict(dict);
  const batch = samples.batch(0, Math.min(samples.length, job.batchSize ?? 32));
  const [before, after] = noGrad(() => [int8(batch), skeleton(batch)] as [Tensor, Tensor]);
  const same = before.numbers().every((v, i) => Object.is(v, after.numbers()[i]));
  if (same) return batch.shape[0];
  throw new ArgumentError({
    fn: 'quantizeCheckpoint',
    argument: path,
    expected: 'the saved model to compute what the model in memory computes, to the bit',
    got: 'a difference',
    fix: 'Please report this: the file was written, but do not use it.',
  });
}
