import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const folder = new URL('../../examples/', import.meta.url);

/** Runs an example as its reader would, and returns what it prints. */
function run(name: string): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL(name, folder))], {
    encoding: 'utf8',
  });
  expect(status, stderr).toBe(0);
  return stdout;
}

/** The cells of the last printed table, row by row. */
function lastTable(stdout: string): string[][] {
  const lines = stdout.trimEnd().split('\n');
  const rule = lines.findLastIndex((line) => line.startsWith('───'));
  return lines.slice(rule + 1).map((line) => line.split(/ {2,}/));
}

const NUMBER = /-?\d+\.\d*(?:e[+-]\d+)?/g;

describe('examples', () => {
  const checks: Readonly<Record<string, () => void>> = {
    'linear-relu.ts': () => {
      const stdout = run('linear-relu.ts');
      const steps = JSON.parse(
        readFileSync(new URL('../golden/data/linear-relu.json', import.meta.url), 'utf8'),
      ) as Record<string, string>;
      for (const [step, theirs] of Object.entries(steps)) {
        const start = stdout.indexOf(`${step}: `) + step.length + 2;
        expect(start, `prints "${step}: "`).toBeGreaterThan(step.length + 1);
        const ours = stdout
          .slice(start)
          .split(/\n(?=\w+: |\d+ bytes)/)[0]
          .trimEnd();
        // Normal random numbers agree up to rounding, so what was learned from them does too.
        expect(ours.replace(NUMBER, '#'), step).toBe(theirs.replace(NUMBER, '#'));
        const numbers = (ours.match(NUMBER) ?? []).map(Number);
        (theirs.match(NUMBER) ?? []).map(Number).forEach((n, i) => {
          expect(numbers[i], `${step}, number ${i}`).toBeCloseTo(n, 4);
        });
      }
      expect(stdout).toMatch(/\d+ bytes, read back: the same numbers$/m);
    },
    'mlp-dynamic.ts': () => {
      const stdout = run('mlp-dynamic.ts');
      expect(stdout).toContain('235146 parameters');
      expect(stdout).toContain('DynamicQuantizedLinear(in_features=784, out_features=256');
      const [float, int8] = lastTable(stdout);
      expect([float[4], int8[4]]).toEqual(['941.0 kB', '238.8 kB']);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(80);
      expect(Number.parseFloat(int8[2]), 'agreement').toBeGreaterThan(98);
    },
    'mlp-qat.ts': () => {
      const stdout = run('mlp-qat.ts');
      expect(stdout).toMatch(/^simulated against computed: 0 of 10000 results differ$/m);
      const [float, afterwards, trained] = lastTable(stdout);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(75);
      expect(Number.parseFloat(afterwards[2]), 'agreement').toBeGreaterThan(97);
      expect(Number.parseFloat(trained[1])).toBeGreaterThan(Number.parseFloat(float[1]) - 3);
    },
    'word-language-model.ts': () => {
      const stdout = run('word-language-model.ts');
      expect(stdout).toContain('(rnn): DynamicQuantizedLSTM(128, 128, num_layers=2)');
      const [float, int8, half] = ['float', 'int8', 'float16'].map((name) => {
        const row = new RegExp(`^${name} +perplexity ([\\d.]+), ([\\d.]+) MB`, 'm').exec(stdout);
        return row?.slice(1).map(Number) as number[];
      });
      expect(Math.abs(int8[0] / float[0] - 1)).toBeLessThan(0.02);
      expect(Math.abs(half[0] / float[0] - 1)).toBeLessThan(0.002);
      expect(int8[1]).toBeLessThan(half[1]);
      expect(half[1]).toBeLessThan(0.65 * float[1]);
    },
    'sequential-eager.ts': () => {
      const stdout = run('sequential-eager.ts');
      for (const layer of [
        '(0): Conv1d(2, 64, kernel_size=(8,), stride=(1,))',
        '(2): DynamicQuantizedLinear(in_features=16, out_features=10, dtype=torch.qint8',
        '(3): DynamicQuantizedLSTM(10, 10)',
        '(1): QuantizedConvReLU1d(2, 64, kernel_size=(8,), stride=(1,), scale=',
        '(3): QuantizedConvReLU1d(64, 128, kernel_size=(1,), stride=(1,), scale=',
      ])
        expect(stdout).toContain(layer);
      const [dynamic, int8] = [...stdout.matchAll(/against float: ([\d.]+) dB/g)].map((m) => Number(m[1]));
      expect(dynamic).toBeGreaterThan(40);
      expect(int8).toBeGreaterThan(33);
      expect(stdout).toMatch(/1 byte for a weight instead of 4$/m);
    },
    'lstm-static.ts': () => {
      const stdout = run('lstm-static.ts');
      expect(stdout).toContain('(lstm): QuantizedLSTM(');
      expect(stdout).toContain('(igates): QuantizedLinear(in_features=28, out_features=256');
      const [float, dynamic, int8] = lastTable(stdout);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(60);
      expect(Number.parseFloat(dynamic[2]), 'agreement').toBeGreaterThan(97);
      expect(Number.parseFloat(int8[2]), 'agreement').toBeGreaterThan(90);
      expect(Number.parseFloat(int8[5]), 'size of float').toBeLessThan(50);
    },
    'lstm-sentiment.ts': () => {
      const stdout = run('lstm-sentiment.ts');
      expect(stdout).toMatch(/^static by hand and by run: 0 of 600 results differ$/m);
      expect(stdout).toContain('(embedding): QuantizedEmbedding(');
      const table = stdout.slice(0, stdout.indexOf('static by hand'));
      const [float, dynamic, byHand, byRun] = lastTable(table);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(85);
      for (const row of [dynamic, byHand, byRun])
        expect(Number.parseFloat(row[2]), `agreement of ${row[0]}`).toBeGreaterThan(98);
      expect(Number.parseFloat(byRun[5]), 'size of float').toBeLessThan(55);
    },
    'resnet-dynamic.ts': () => {
      const stdout = run('resnet-dynamic.ts');
      expect(stdout).toContain('default classes: 1 layers quantized, 40 kept float (Conv2d, BatchNorm2d)');
      expect(stdout).toContain('convolutions too: 21 layers quantized, 20 kept float (BatchNorm2d)');
      const [, linear, all] = lastTable(stdout);
      expect(Number.parseFloat(linear[3]), 'dB').toBeGreaterThan(38);
      expect(Number.parseFloat(all[3]), 'dB').toBeGreaterThan(20);
      expect(Number.parseFloat(linear[5]), 'size of float').toBeGreaterThan(95);
      expect(Number.parseFloat(all[5]), 'size of float').toBeLessThan(27);
    },
    'resnet18-eager.ts': () => {
      const stdout = run('resnet18-eager.ts');
      expect(stdout).toMatch(
        /^resnet18: prepare: .*no QuantStub in the model.*Wrap the model in QuantWrapper/m,
      );
      const [wrapped, quantizable] = [...stdout.matchAll(/: ([\d.]+) dB/g)].map((m) => Number(m[1]));
      expect(wrapped).toBeLessThan(15);
      expect(quantizable).toBeGreaterThan(25);
      const [, off] = /^float: .* off by (.*)$/m.exec(stdout) as RegExpExecArray;
      expect(off === 'nothing' ? 0 : Number(off)).toBeLessThan(1e-5);
      expect(stdout).toMatch(/^int8: .* off by nothing$/m);
      const [, percent] = /int8 takes ([\d.]+) % of float/.exec(stdout) as RegExpExecArray;
      expect(Number(percent)).toBeLessThan(27);
    },
    'resnet18-graph.ts': () => {
      const stdout = run('resnet18-graph.ts');
      const rows = [...stdout.matchAll(/^\S+ +\S+ +(quantized|float) *$/gm)].map((m) => m[1]);
      expect(rows).toHaveLength(32);
      expect(new Set(rows)).toEqual(new Set(['quantized']));
      expect(stdout.match(/quantized::add_relu/g)).toHaveLength(8);
      const [float, reference] = [...stdout.matchAll(/: ([\d.]+) dB/g)].map((m) => Number(m[1]));
      expect(float).toBeGreaterThan(25);
      expect(reference).toBeGreaterThan(30);
      expect(stdout).toMatch(/^1\d\.\d MB, loaded without classes, same numbers: true$/m);
    },
    'sequential-graph.ts': () => {
      const stdout = run('sequential-graph.ts');
      expect(stdout).toContain('(3): DynamicQuantizedLSTM(10, 10)');
      expect(stdout).toContain('(2): QuantizedConvReLU1d(64, 128, kernel_size=(1,), stride=(1,), scale=');
      expect(stdout.match(/eager and graph give the same numbers: true$/gm)).toHaveLength(2);
    },
    'demucs-eager.ts': () => {
      const stdout = run('demucs-eager.ts');
      expect(stdout).toContain('(2): QuantizedConvTranpose1d(16, 1, kernel_size=(8,), stride=(4,)');
      expect(stdout).toContain('(lstm): QuantizedLSTM(');
      const rows = [...stdout.matchAll(/^(\d+) samples, padded to \d+, back to (\d+): ([\d.]+) dB$/gm)];
      expect(rows).toHaveLength(3);
      for (const [, length, back, decibels] of rows) {
        expect(back).toBe(length);
        expect(Number(decibels)).toBeGreaterThan(25);
      }
    },
    'demucs-three-ways.ts': () => {
      const stdout = run('demucs-three-ways.ts');
      expect(stdout).toMatch(/^graph mode: prepareFx: value of std: .*got item\(\)/m);
      expect(stdout).toMatch(/^filter +add +quantized/m);
      const ways = [...stdout.matchAll(/^(\S+): (500 samples .*), silence kept, (\d+) kB$/gm)];
      expect(ways.map(([, way]) => way)).toEqual(['eager', 'graph', 'define-by-run']);
      const sizes = ways.map(([, , , kB]) => Number(kB));
      for (const [, way, results] of ways) {
        const decibels = [...results.matchAll(/ at ([\d.]+) dB/g)].map(([, dB]) => Number(dB));
        expect(decibels).toHaveLength(3);
        expect(Math.min(...decibels), way).toBeGreaterThan(27);
      }
      const float = Number(/^float: (\d+) kB$/m.exec(stdout)?.[1]);
      // Graph mode, layer by layer, leaves the LSTM in float.
      expect(sizes[1]).toBeGreaterThan(2 * sizes[0]);
      for (const size of [sizes[0], sizes[2]]) expect(size).toBeLessThan(0.32 * float);
    },
    'qat-against-ptq.ts': () => {
      const scores = lastTable(run('qat-against-ptq.ts')).map((row) => Number.parseFloat(row[1]));
      const [float, after255, , after15, , after3, trained3] = scores;
      expect(float).toBeGreaterThan(75);
      expect(Math.abs(after255 - float)).toBeLessThan(1.5);
      expect(Math.abs(after15 - float)).toBeLessThan(4);
      expect(trained3, 'three levels, trained').toBeGreaterThan(after3);
      expect(trained3).toBeGreaterThan(float - 6);
    },
    'int8-against-float16.ts': () => {
      const [float, half, dynamic, fixed] = lastTable(run('int8-against-float16.ts'));
      expect(Number.parseFloat(float[1])).toBeGreaterThan(75);
      expect(Number.parseFloat(half[3]), 'dB').toBeGreaterThan(70);
      expect(Number.parseFloat(dynamic[2]), 'agreement').toBeGreaterThan(98);
      expect(Number.parseFloat(fixed[2]), 'agreement').toBeGreaterThan(97);
      const [half_, dynamic_, fixed_] = [half, dynamic, fixed].map((row) => Number.parseFloat(row[5]));
      expect([half_ < 52, dynamic_ < 27, fixed_ < 28]).toEqual([true, true, true]);
    },
    'sensitivity.ts': () => {
      const stdout = run('sensitivity.ts');
      expect(stdout).toMatch(/^features\.0 +Conv2d \+ BatchNorm2d \+ ReLU +QuantizedConvReLU2d +[\d.]+ dB/m);
      expect(stdout).toContain('returned to float: classifier.1');
      const [float, int8, returned] = lastTable(stdout);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(60);
      expect(Number.parseFloat(returned[3]), 'dB').toBeGreaterThan(Number.parseFloat(int8[3]) + 5);
      expect(Number.parseFloat(returned[2]), 'agreement').toBeGreaterThan(Number.parseFloat(int8[2]));
    },
    'slides-table.ts': () => {
      const [resnet, mobilenet, bert] = lastTable(run('slides-table.ts'));
      expect([resnet, mobilenet, bert].map((row) => row.slice(0, 2))).toEqual([
        ['ResNet-50', 'static'],
        ['MobileNetV2', 'QAT'],
        ['BERT', 'dynamic'],
      ]);
      const megabytes = (row: string[]): number[] => row[4].split(' → ').map(Number);
      for (const row of [resnet, mobilenet]) expect(megabytes(row)[1] / megabytes(row)[0]).toBeLessThan(0.31);
      // Its words stay float.
      expect(megabytes(bert)[0] - megabytes(bert)[1]).toBeGreaterThan(9);
      expect(Number.parseFloat(resnet[5])).toBeGreaterThan(24);
      expect(mobilenet[5]).toMatch(/^0 of 80 differ/);
      expect(Number.parseFloat(bert[5])).toBeGreaterThan(33);
    },
    'cnn-static.ts': () => {
      const stdout = run('cnn-static.ts');
      for (const layer of ['quant', 'conv1', 'conv2', 'fc1', 'fc2', 'dequant'])
        expect(stdout).toMatch(new RegExp(`^${layer} +\\w+ +quantized$`, 'm'));
      const [float, int8] = lastTable(stdout);
      expect(Number.parseFloat(float[1])).toBeGreaterThan(80);
      expect(Number.parseFloat(int8[2]), 'agreement').toBeGreaterThan(97);
      expect(Number.parseFloat(int8[5]), 'size of float').toBeLessThan(27);
    },
  };

  test.each(readdirSync(folder).filter((name) => name.endsWith('.ts')))('%s', (name) => {
    expect(checks, 'every example says here what it must show').toHaveProperty([name]);
    checks[name]();
  });
});
