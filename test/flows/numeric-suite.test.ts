import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadStateDict, writeSafetensors } from '../../src/io/index.ts';
import { create, modelInfo } from '../../src/models/index.ts';
import type { AnyModule } from '../../src/nn/index.ts';
import { noGrad } from '../../src/ops/index.ts';
import {
  convertDbr,
  convertFx,
  getDefaultQConfigMapping,
  prepareDbr,
  prepareFx,
} from '../../src/quantization/index.ts';
import {
  compareActivations,
  compareShadows,
  compareWeights,
  diagnose,
  formatDiagnoses,
  formatLayers,
  formatSensitivity,
  formatSizes,
  type LayerRow,
  latencyByLayer,
  sensitivity,
  sizeByLayer,
} from '../../src/suite/index.ts';
import { loadSamples } from '../../src/workflow/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';

const subjects = [
  {
    name: 'resnet20',
    checkpoint: 'resnet20-12fca82f.th',
    inputs: 'cifar10_train_4000.npz',
    convolutions: 19,
    linear: 1,
  },
  {
    name: 'squeezenet1_1',
    checkpoint: 'squeezenet1_1.pth',
    inputs: 'imagenet500',
    convolutions: 26,
    linear: 0,
  },
] as const;

function worstOf(rows: readonly LayerRow[]): LayerRow {
  return rows.reduce((a, b) => (b.sqnr < a.sqnr ? b : a));
}

describe.each(subjects)('$name', ({ name, checkpoint, inputs, convolutions, linear }) => {
  const present = haveData(`the numeric suite on ${name}`, checkpoint, inputs);

  test.skipIf(!present)(
    'every comparison, in graph mode and define-by-run',
    async () => {
      const model = create(name);
      model.loadStateDict(await loadStateDict(join(DATA, checkpoint)));
      model.eval();
      const samples = await loadSamples(join(DATA, inputs), modelInfo(name), { limit: 8 });
      const batches = [samples.batch(0, 4), samples.batch(4, 8)];
      const calibrated = (prepared: AnyModule): void => {
        for (const x of batches) noGrad(() => prepared(x));
      };
      const mapping = getDefaultQConfigMapping('fbgemm');
      const prepared = prepareFx(model, mapping, [batches[0]]);
      calibrated(prepared);
      const int8 = convertFx(prepared);

      const weights = compareWeights(prepared, int8);
      expect(weights).toHaveLength(convolutions + linear);
      for (const row of weights) expect(row.sqnr, row.path).toBeGreaterThan(35);

      const outputs = compareActivations(model, int8, batches.values());
      const fused = compareActivations(prepared, int8, batches);
      expect(fused.map((r) => r.path)).toEqual(outputs.map((r) => r.path));
      expect(outputs.filter((r) => r.float.startsWith('Conv2d'))).toHaveLength(convolutions);
      expect(outputs.every((r) => r.note === '')).toBe(true);
      for (const [i, row] of outputs.entries()) expect(row.sqnr, row.path).toBeCloseTo(fused[i].sqnr, 1);
      const shadows = compareShadows(model, int8, batches);
      // Noise adds up on its way: at the end there is more of it than any layer makes, but for what an average takes out.
      expect(worstOf(outputs).sqnr).toBeLessThan(worstOf(shadows).sqnr);
      console.log(`${name}: ${outputs.length} rows, the three worst layers by themselves:
${formatLayers([...shadows].sort((a, b) => a.sqnr - b.sqnr).slice(0, 3))}`);

      const sizes = sizeByLayer(prepared, int8);
      const bytes = sizes.reduce((sum, r) => sum + r.int8Bytes, 0);
      expect(bytes / writeSafetensors(int8.stateDict()).length).toBeGreaterThan(0.8);
      expect(formatSizes(sizes).split('\n')).toHaveLength(sizes.length + 3);

      const times = latencyByLayer(model, int8, samples.batch(0, 1), { rounds: 1 });
      expect(times.filter((r) => r.floatLatency && r.int8Latency).length).toBeGreaterThan(convolutions);

      const found = sensitivity(model, int8, [batches[0]], { direction: 'returned' });
      console.log(formatSensitivity(found, 3));
      const causes = diagnose(model, int8, batches);
      console.log(formatDiagnoses(causes.filter((d) => d.causes.length > 0)));
      if (name === 'squeezenet1_1') {
        expect(found.rows[0].path).toBe('classifier.3');
        const pool = causes.find((d) => d.path === 'classifier.3');
        expect(pool?.causes.map((c) => c.label)).toContain('coarse grid');
      }

      const running = prepareDbr(model, mapping, [batches[0]]);
      calibrated(running);
      const byRun = compareActivations(model, convertDbr(running), batches);
      const common = byRun.filter((r) => outputs.some((o) => o.path === r.path));
      expect(common.filter((r) => r.float.startsWith('Conv2d'))).toHaveLength(convolutions);
      const [byGraph] = outputs.slice(-1);
      expect(Math.abs(byRun[byRun.length - 1].sqnr - byGraph.sqnr)).toBeLessThan(3);
    },
    600_000,
  );
});
