import { formatTable } from '../core/table.ts';
import { ConvNd, Linear } from '../nn/index.ts';
import type { AnyModule } from '../nn/module.ts';
import { firstLayer } from '../quantization/layers/weights.ts';
import { DTYPES } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type CompareOptions, shadowOutput } from './compare-runs.ts';
import { ErrorSums } from './error-sums.ts';
import { eachBatch, formatDecibels, requireEvaluation } from './layer-rows.ts';
import { layerWeights } from './layer-weights.ts';
import { matchRuns, type SitePair, siteType } from './match.ts';
import { OutputStatistics } from './output-statistics.ts';
import { type Batch, recordRun } from './sites.ts';

/**
 * Why an int8 layer is noisy.
 * `saturation`: values beyond the grid of the output are cut off.
 * `outliers`: a few large values stretch the grid, so that most values share few of its steps.
 * `coarse grid`: all values lie within few steps, as after an average pool, which keeps the grid of its input.
 * `weight range`: one scale for all of a weight, some channels of which are so small that few steps are left to them.
 * `bias`: channels are off by a constant.
 * `dead channels`: channels that vary in float have one value in int8.
 */
export type CauseLabel =
  | 'saturation'
  | 'outliers'
  | 'coarse grid'
  | 'weight range'
  | 'bias'
  | 'dead channels';

/** One cause with the number that proves it. */
export interface Cause {
  readonly label: CauseLabel;
  /**
   * `saturation`, `bias`: the share of the noise (in power) that is due to it. `outliers`, `coarse grid`: how many steps hold
   * 99 % and all of the values. `weight range`, `dead channels`: the share of channels.
   */
  readonly measure: number;
  /** The same as a sentence. */
  readonly proof: string;
  /** What helps. */
  readonly fix: string;
}

/** What is wrong with one layer. */
export interface Diagnosis {
  readonly path: string;
  readonly float: string;
  readonly int8: string;
  /** Noise of the layer alone, as `compareShadows` has it. */
  readonly sqnr: number;
  /** The causes that were found; none for a layer that is as good as its grid allows. */
  readonly causes: readonly Cause[];
}

/** Below these shares and step counts something is called a cause. */
const NOISE_SHARE = 0.25;
const COARSE_STEPS = 48;
const FEW_STEPS = 32;
const MANY_STEPS = 64;
const CHANNEL_STEPS = 16;
const DEAD_SHARE = 0.05;

/**
 * Says for every int8 layer why it is noisy: each layer is held against the float one on the inputs it has in the int8 model, and
 * labelled with the causes that its numbers prove. Several batches are summed up.
 *
 * @param batches Inputs: a tensor each, or the list of the model's arguments.
 * @throws {@link ArgumentError} without batches or in training mode.
 * @throws {@link QuantizationError} where the models do not correspond.
 * @example
 * const sick = diagnose(float, int8, batches).filter((d) => d.causes.length > 0);
 * print(formatDiagnoses(sick));
 */
export function diagnose(
  float: AnyModule,
  int8: AnyModule,
  batches: Iterable<Batch>,
  options: Pick<CompareOptions, 'patterns'> = {},
): Diagnosis[] {
  const fn = 'diagnose';
  requireEvaluation(fn, float, int8);
  const { patterns } = options;
  const patients = new Map<string, Patient>();
  for (const batch of eachBatch(fn, batches)) {
    const floatRun = recordRun(float, batch, { patterns });
    const int8Run = recordRun(int8, batch, { patterns });
    for (const pair of matchRuns(floatRun, int8Run, fn, patterns).pairs) {
      if (pair.float.length === 0) continue;
      const key = pair.int8.module ? pair.path : pair.int8.key;
      const patient = patients.get(key) ?? new Patient(pair);
      patients.set(key, patient);
      patient.add(shadowOutput(fn, pair, floatRun, int8Run), pair.int8Output);
    }
  }
  return [...patients.values()].map((patient) => patient.diagnosis());
}

/** The result of {@link diagnose} as a table. */
export function formatDiagnoses(diagnoses: readonly Diagnosis[]): string {
  return formatTable(
    [{ title: 'layer' }, { title: 'int8' }, { title: 'SQNR', align: 'right' }, { title: 'why' }],
    diagnoses.map(({ path, int8, sqnr, causes }) => [
      path,
      int8,
      formatDecibels(sqnr),
      causes.map(({ label, proof }) => `${label}: ${proof}`).join('; '),
    ]),
  );
}

/** One layer, and what was seen of it. */
class Patient {
  readonly #pair: SitePair;
  readonly #sums = new ErrorSums('diagnose');
  readonly #statistics: OutputStatistics;

  constructor(pair: SitePair) {
    this.#pair = pair;
    this.#statistics = new OutputStatistics(channelAxis(pair));
  }

  add(float: Tensor, int8: Tensor): void {
    this.#sums.add(float, int8);
    this.#statistics.add(float, int8);
  }

  diagnosis(): Diagnosis {
    const { path, float, int8 } = this.#pair;
    const { sqnr } = this.#sums.metrics();
    const causes = sqnr === Number.POSITIVE_INFINITY ? [] : [...this.#ofOutput(), ...this.#ofWeights()];
    return { path, float: float.map(siteType).join(' + '), int8: siteType(int8), sqnr, causes };
  }

  #ofOutput(): Cause[] {
    const causes: Cause[] = [];
    const seen = this.#statistics.summary();
    if (seen.clippedNoise >= NOISE_SHARE) {
      causes.push({
        label: 'saturation',
        measure: seen.clippedNoise,
        proof: `${percent(seen.clipped)} of the values are cut off, which makes ${percent(seen.clippedNoise)} of the noise`,
        fix: 'Calibrate on data that holds such values, or with a wider range (MinMaxObserver, a higher percentile).',
      });
    }
    if (seen.span !== null && seen.bulk !== null) {
      if (seen.span < COARSE_STEPS) {
        causes.push({
          label: 'coarse grid',
          measure: seen.span,
          proof: `all values lie within ${Math.ceil(seen.span)} steps of the grid`,
          fix: 'Let this layer compute in float: qconfig null (runInFloat in eager mode, setModuleName(path, null) in graph mode).',
        });
      } else if (seen.bulk < FEW_STEPS && seen.span >= MANY_STEPS) {
        causes.push({
          label: 'outliers',
          measure: seen.bulk,
          proof: `99 % of the values share ${Math.ceil(seen.bulk)} of ${Math.ceil(seen.span)} steps`,
          fix: 'Use a PercentileObserver or HistogramObserver for activations, or activationEqualization.',
        });
      }
    }
    if (seen.shift >= NOISE_SHARE) {
      causes.push({
        label: 'bias',
        measure: seen.shift,
        proof: `constant shifts of channels make ${percent(seen.shift)} of the noise`,
        fix: 'Call biasCorrection(float, int8, batches).',
      });
    }
    if (seen.dead > DEAD_SHARE * seen.channels) {
      causes.push({
        label: 'dead channels',
        measure: seen.dead / seen.channels,
        proof: `${seen.dead} of ${seen.channels} channels have one value in int8`,
        fix: 'Quantize weights per channel, or balance channels with crossLayerEqualization.',
      });
    }
    return causes;
  }

  #ofWeights(): Cause[] {
    const { module } = this.#pair.int8;
    const weight = module ? layerWeights(module).get('weight') : undefined;
    if (weight?.qparams?.scheme !== 'per_tensor_affine' || DTYPES[weight.dtype].kind !== 'quantized')
      return [];
    const [channels] = weight.shape;
    const size = weight.numel / Math.max(1, channels);
    const { zeroPoint } = weight.qparams;
    const integers = weight.data;
    let small = 0;
    for (let c = 0; c < channels; c++) {
      let most = 0;
      for (let i = c * size; i < (c + 1) * size; i++)
        most = Math.max(most, Math.abs(integers[i] - zeroPoint));
      if (2 * most < CHANNEL_STEPS) small++;
    }
    if (small < NOISE_SHARE * channels) return [];
    return [
      {
        label: 'weight range',
        measure: small / channels,
        proof: `${small} of ${channels} channels of the weight have fewer than ${CHANNEL_STEPS} of 255 steps`,
        fix: 'Quantize weights per channel (defaultPerChannelWeightObserver), or balance them with crossLayerEqualization.',
      },
    ];
  }
}

/** Which dimension of the output counts channels, from its end where negative; null where there are none to speak of. */
function channelAxis({ float }: SitePair): number | null {
  const [head] = float;
  if (!head.module) return null;
  const layer = firstLayer(head.module);
  if (layer instanceof ConvNd) return 1;
  return layer instanceof Linear ? -1 : null;
}

function percent(share: number): string {
  return `${share < 0.01 ? (100 * share).toPrecision(1) : (100 * share).toFixed(0)} %`;
}
