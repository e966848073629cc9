import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { manualSeed } from '../../src/core/random.ts';
import { strokeDigits } from '../../src/data/index.ts';
import { loadSafetensors, saveNpz, savePyTorch, saveSafetensors } from '../../src/io/index.ts';
import { create, modelNames } from '../../src/models/index.ts';
import { zeros } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
let dir: string;

/** What one run of the command line left behind. */
interface Run {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Files that were not there before. */
  readonly written: readonly string[];
}

function zeropoint(...args: string[]): Run {
  const before = new Set(readdirSync(dir));
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: dir,
    encoding: 'utf8',
  });
  return { status, stdout, stderr, written: readdirSync(dir).filter((name) => !before.has(name)) };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'zeropoint-cli-'));
  manualSeed(0);
  const lenet = create('lenet').stateDict();
  await savePyTorch(lenet, join(dir, 'lenet.pt'));
  await saveSafetensors(lenet, join(dir, 'lenet.safetensors'));
  const { images, labels } = strokeDigits({ count: 120, seed: 1, dtype: 'uint8' });
  await saveNpz(
    new Map([
      ['x', images],
      ['y', labels],
    ]),
    join(dir, 'digits.npz'),
  );
  await saveNpz(new Map([['x', images]]), join(dir, 'unlabelled.npz'));
  await saveNpz(new Map([['images', images]]), join(dir, 'misnamed.npz'));
  await saveNpz(new Map([['x', zeros([4, 3, 8, 8])]]), join(dir, 'misshaped.npz'));
  const checkpoint = readFileSync(join(dir, 'lenet.pt'));
  writeFileSync(join(dir, 'truncated.pt'), checkpoint.subarray(0, checkpoint.length >> 1));
  writeFileSync(join(dir, 'text.pt'), 'not a checkpoint');
  writeFileSync(join(dir, 'empty.pt'), '');
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The cells of a printed table, row by row, without its head. */
function tableRows(stdout: string): string[][] {
  const lines = stdout.split('\n');
  const rule = lines.findIndex((line) => line.startsWith('───'));
  expect(rule, stdout).toBeGreaterThan(0);
  const end = lines.indexOf('', rule);
  return lines.slice(rule + 1, end < 0 ? undefined : end).map((line) => line.split(/ {2,}/));
}

describe('zeropoint quantize', () => {
  test('static: compares, saves, and reads back the same numbers', async () => {
    const run = zeropoint(
      'quantize',
      '--model',
      'lenet',
      '--checkpoint',
      'lenet.pt',
      '--calibrate',
      'digits.npz',
      '--calibrate-samples',
      '60',
      '--evaluate',
      'digits.npz',
      '--coverage',
      '--out',
      'int8.safetensors',
    );
    expect(run.stderr).toMatch(/^calibrate +[\d.]+ s$/m);
    expect(run.status, run.stderr).toBe(0);
    const [float, int8] = tableRows(run.stdout);
    expect(float[0]).toBe('float');
    expect(int8[0]).toBe('int8 static');
    expect(float[2]).toBe('100.00 %');
    expect(Number.parseFloat(int8[3]), 'dB against float').toBeGreaterThan(20);
    expect(Number.parseFloat(int8[5]), 'size of float').toBeLessThan(30);
    expect(run.stdout).toMatch(/^fc1 +\w*Linear\w* +quantized$/m);
    expect(run.stdout).toMatch(/int8\.safetensors: [\d.]+ kB, read back: 32 samples identical to the bit/);
    expect(run.written).toEqual(['int8.safetensors']);

    const { dict, metadata } = await loadSafetensors(join(dir, 'int8.safetensors'));
    expect([metadata.get('model'), metadata.get('mode')]).toEqual(['lenet', 'static']);
    expect((dict.get('conv1.weight') as Tensor).dtype).toBe('qint8');
  });

  test('dynamic, from safetensors, without labels: no accuracy, the rest as ever', () => {
    const run = zeropoint(
      'quantize',
      '-m',
      'lenet',
      '-c',
      'lenet.safetensors',
      '--mode',
      'dynamic',
      '--evaluate',
      'unlabelled.npz',
      '--evaluate-samples',
      '40',
      '-o',
      'dynamic.safetensors',
    );
    expect(run.status, run.stderr).toBe(0);
    const [float, int8] = tableRows(run.stdout);
    expect([float[1], int8[0], int8[1]]).toEqual(['–', 'int8 dynamic', '–']);
    expect(Number.parseFloat(int8[3])).toBeGreaterThan(20);
    expect(run.stdout).toContain('identical to the bit');
    expect(run.written).toEqual(['dynamic.safetensors']);
  });

  test('writes nothing unless asked', () => {
    const run = zeropoint(
      'quantize',
      '-m',
      'lenet',
      '-c',
      'lenet.pt',
      '--calibrate',
      'digits.npz',
      '--calibrate-samples',
      '20',
      '--evaluate-samples',
      '20',
    );
    expect(run.status, run.stderr).toBe(0);
    expect(run.written).toEqual([]);
  });
});

describe('what cannot work ends with one line that says why', () => {
  const good = ['-m', 'lenet', '-c', 'lenet.pt', '--calibrate', 'digits.npz', '--calibrate-samples', '20'];
  const replaced = (flag: string, value: string): string[] => {
    const args = [...good];
    args[args.indexOf(flag) + 1] = value;
    return args;
  };

  test.each([
    [
      'a missing checkpoint',
      replaced('-c', 'nowhere.pt'),
      /^FileError: .*nowhere\.pt: expected a readable file, got ENOENT\.$/,
    ],
    [
      'a truncated checkpoint',
      replaced('-c', 'truncated.pt'),
      /^FileFormatError: .*truncated\.pt \(byte \d+\)/,
    ],
    ['a text file', replaced('-c', 'text.pt'), /^FileFormatError: .*text\.pt \(byte 0\)/],
    ['an empty file', replaced('-c', 'empty.pt'), /^FileFormatError: .*empty\.pt \(byte 0\)/],
    [
      'a checkpoint of another model',
      replaced('-m', 'mlp'),
      /^StateDictError: MLP\.loadStateDict: .*unexpected keys: conv1\.weight/,
    ],
    [
      'an unknown model',
      replaced('-m', 'lenett'),
      new RegExp(`^error: .*'lenett' is invalid.*${modelNames.join(', ')}`),
    ],
    ['missing data', replaced('--calibrate', 'nowhere.npz'), /^FileError: .*nowhere\.npz/],
    [
      'an npz without x',
      replaced('--calibrate', 'misnamed.npz'),
      /^ArgumentError: .*misnamed\.npz: expected an array named x.*got images/,
    ],
    [
      'inputs of another shape',
      replaced('--calibrate', 'misshaped.npz'),
      /^ArgumentError: .*expected samples of \[1, 28, 28\].*got \[3, 8, 8\]/,
    ],
    [
      'no calibration data',
      good.slice(0, 4),
      /^ArgumentError: quantizeCheckpoint: calibration: expected a folder of images or an npz/,
    ],
    ['an unknown backend', [...good, '--backend', 'abacus'], /^error: .*'abacus' is invalid/],
    ['half a batch', [...good, '--batch', '0.5'], /^error: .*Expected a positive whole number\.$/],
    [
      'no folder to write to',
      [...good, '-o', 'no/such/folder.safetensors'],
      /^FileError: writeFile: .*ENOENT\.$/,
    ],
  ])('%s', (_, args, message) => {
    const run = zeropoint('quantize', ...args, ...(args.includes('-o') ? [] : ['-o', 'never.safetensors']));
    expect(run.status).toBe(1);
    const lines = run.stderr
      .trimEnd()
      .split('\n')
      .filter((line) => !/^[a-z][\w ]+ +[\d.]+ s$/.test(line));
    expect(lines, run.stderr).toHaveLength(1);
    expect(lines[0]).toMatch(message);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run.stdout).toBe('');
    expect(run.written).toEqual([]);
  });

  test('a failed job leaves an older result as it was', () => {
    writeFileSync(join(dir, 'kept.safetensors'), 'from an earlier run');
    const run = zeropoint('quantize', ...replaced('-c', 'truncated.pt'), '-o', 'kept.safetensors');
    expect(run.status).toBe(1);
    expect(readFileSync(join(dir, 'kept.safetensors'), 'utf8')).toBe('from an earlier run');
  });
});

describe('help', () => {
  test('lists the commands and every option of quantize', () => {
    const help = zeropoint('--help');
    expect(help.status).toBe(0);
    expect(help.stdout).toMatch(/^ +quantize /m);
    expect(help.stdout).toMatch(/^ +demo /m);
    const options = zeropoint('quantize', '--help').stdout;
    for (const flag of [
      '--model',
      '--checkpoint',
      '--calibrate',
      '--evaluate',
      '--mode',
      '--backend',
      '--batch',
      '--out',
      '--coverage',
    ])
      expect(options).toContain(flag);
    for (const name of modelNames) expect(options).toContain(`"${name}"`);
  });
});
