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
      const [, decibels] = /simulated against computed: ([\d.]+) dB/.exec(stdout) as RegExpExecArray;
      expect(Number(decibels)).toBeGreaterThan(45);
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
