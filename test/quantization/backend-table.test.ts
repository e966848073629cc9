import { describe, expect, test } from 'vitest';
import { nn, quantization } from '../../src/index.ts';
import { quantizedImplementations } from '../../src/ops/quantized/table.ts';
import { operatorPatternOf, patternOf } from '../../src/quantization/backend/patterns.ts';

describe('backend table', () => {
  test('every row of operators names one that runs on quantized tensors', () => {
    const rows = quantization.PATTERNS.filter((p) => p.operator);
    for (const { name, operator } of rows) {
      const runs = operator?.quantized ?? operator?.names[0];
      expect(quantizedImplementations, name).toHaveProperty([runs as string]);
    }
    expect(rows.length).toBeGreaterThan(40);
  });

  test('no operator or class has two rows', () => {
    const operators = quantization.PATTERNS.flatMap((p) => (p.operator ? [p.operator.names.join('+')] : []));
    const classes = quantization.PATTERNS.flatMap((p) => (p.float ? [p.float] : []));
    expect(new Set(operators).size).toBe(operators.length);
    expect(new Set(classes).size).toBe(classes.length);
  });

  test('a module and the operator that does the same share a row', () => {
    expect(patternOf(new nn.ReLU())).toBe(operatorPatternOf('relu'));
    expect(patternOf(new nn.Conv2d(1, 1, 1))).toBe(operatorPatternOf('conv2d'));
    expect(operatorPatternOf('add', 'relu')?.operator?.quantized).toBe('quantized::add_relu');
    expect(operatorPatternOf('cat')?.output).toBe('shared');
    expect(operatorPatternOf('sigmoid')?.fixedOutput).toBeDefined();
    expect(operatorPatternOf('erf')).toBeUndefined();
  });

  test('is plain data and a table, and takes rows that go first', () => {
    const native = quantization.getNativeBackendConfig();
    const rows = native.toRows();
    expect(rows.find((r) => r.pattern === 'conv2d + relu')).toEqual({
      pattern: 'conv2d + relu',
      modules: ['Conv2d', 'ReLU'],
      operators: ['conv2d', 'relu'],
      dtypes: (['quint8', 'qint8'] as const).map((activation) => ({
        input: activation,
        output: activation,
        weight: 'qint8',
        bias: 'float32',
        isDynamic: false,
      })),
      output: 'own',
      fuses: true,
      quantized: 'ConvReLU2d',
      dynamic: null,
      qat: 'ConvReLU2d',
    });
    expect(JSON.parse(JSON.stringify(rows))).toEqual(rows);
    expect(native.toString()).toMatch(/cat +cat +shared +quantized::cat/);
    const gelu: quantization.Pattern = { name: 'gelu', sequence: [nn.GELU], float: nn.GELU, observe: 'none' };
    const mine = native.with([gelu]);
    expect(mine.patternOf(new nn.GELU())).toBe(gelu);
    expect(mine.patternOf(new nn.ReLU())).toBe(native.patternOf(new nn.ReLU()));
    expect(native.patternOf(new nn.GELU())).toBeUndefined();
    expect(Object.isFrozen(native) && Object.isFrozen(native.patterns)).toBe(true);
  });
});
