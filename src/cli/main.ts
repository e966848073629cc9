#!/usr/bin/env node
import { Command, InvalidArgumentError, Option } from 'commander';
import { ZeropointError } from '../core/errors.ts';
import { formatBytes } from '../core/table.ts';
import { modelNames } from '../models/registry.ts';
import { type QuantizationBackend, quantizationBackends } from '../quantization/index.ts';
import { formatComparison, formatCoverage } from '../suite/index.ts';
import { demo, quantizeCheckpoint } from '../workflow/index.ts';
import { StageProgress } from './progress.ts';

/** Options of `zeropoint quantize`, as commander hands them over. */
interface QuantizeFlags {
  readonly model: string;
  readonly checkpoint: string;
  readonly calibrate?: string;
  readonly calibrateSamples?: number;
  readonly evaluate?: string;
  readonly evaluateSamples?: number;
  readonly mode: 'static' | 'dynamic';
  readonly backend: QuantizationBackend;
  readonly batch: number;
  readonly out?: string;
  readonly coverage?: boolean;
}

const program = new Command('zeropoint').description(
  'Quantize neural networks, and see what it costs and what it brings.',
);

program
  .command('quantize')
  .description('quantize a float checkpoint to int8, compare both, and save the int8 model')
  .addOption(new Option('-m, --model <name>', 'architecture').choices(modelNames).makeOptionMandatory())
  .requiredOption('-c, --checkpoint <file>', 'float weights: .pt, .pth, .th or .safetensors')
  .option('--calibrate <path>', 'folder of images, or npz with x (and y), to learn activation ranges from')
  .option('--calibrate-samples <n>', 'use only the first n', wholeNumber)
  .option('--evaluate <path>', 'folder or npz to compare on (the calibration data where not given)')
  .option('--evaluate-samples <n>', 'use only the first n', wholeNumber)
  .addOption(
    new Option('--mode <mode>', 'int8 activations, or int8 weights of linear layers only')
      .choices(['static', 'dynamic'])
      .default('static'),
  )
  .addOption(
    new Option('--backend <name>', 'whose default configuration')
      .choices(quantizationBackends)
      .default('wasm'),
  )
  .option('--batch <n>', 'samples per batch', wholeNumber, 32)
  .option('-o, --out <file>', 'where the int8 model goes (.safetensors)')
  .option('--coverage', 'list every module: quantized, or float and why')
  .action(async (flags: QuantizeFlags) => {
    const progress = new StageProgress();
    const result = await quantizeCheckpoint({
      model: flags.model,
      checkpoint: flags.checkpoint,
      mode: flags.mode,
      calibration: flags.calibrate,
      calibrationSamples: flags.calibrateSamples,
      evaluation: flags.evaluate,
      evaluationSamples: flags.evaluateSamples,
      backend: flags.backend,
      batchSize: flags.batch,
      output: flags.out,
      onProgress: (stage, done, total) => progress.update(stage, done, total),
    });
    progress.finish();
    console.log(`\n${formatComparison(result.rows)}`);
    if (flags.coverage) console.log(`\n${formatCoverage(result.coverage)}`);
    if (flags.out !== undefined) {
      const size = formatBytes(result.rows[1].bytes ?? 0);
      console.log(
        `\n${flags.out}: ${size}, read back: ${result.verifiedSamples} samples identical to the bit`,
      );
    }
  });

program
  .command('demo')
  .description('draw digits, train LeNet, quantize it dynamically and statically, and compare')
  .action(() => {
    const progress = new StageProgress();
    const rows = demo({
      onProgress: (stage, done, total, note) => progress.update(stage, done, total, note),
    });
    progress.finish();
    console.log(`\n${formatComparison(rows)}`);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof ZeropointError)) throw error;
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}

function wholeNumber(text: string): number {
  const n = Number(text);
  if (Number.isInteger(n) && n > 0) return n;
  throw new InvalidArgumentError('Expected a positive whole number.');
}
