import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { StateDictError } from '../../src/core/errors.ts';
import { manualSeed } from '../../src/core/random.ts';
import * as nn from '../../src/nn/index.ts';
import { ones } from '../../src/tensor/creation.ts';
import { Tensor } from '../../src/tensor/tensor.ts';
import { decode } from '../golden/cases.ts';
import { BUILD } from './build.ts';

interface CallCase {
  readonly name: string;
  readonly inputs: readonly unknown[];
  readonly packed?: unknown;
}

const golden = JSON.parse(readFileSync(new URL('../golden/data/nn.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly CallCase[];
};
const calls = new Map(golden.cases.map((c) => [c.name, c]));

/** Classes that are only there to be extended. */
const BASES = new Set<unknown>([
  nn.Module,
  nn.ConvNd,
  nn.ConvTransposeNd,
  nn.NormBase,
  nn.BatchNorm,
  nn.InstanceNorm,
  nn.MaxPoolNd,
  nn.AvgPoolNd,
  nn.AdaptiveAvgPoolNd,
  nn.RNNBase,
  nn.RNNCellBase,
  nn.intrinsic.FusedModule,
]);

function isModuleClass(value: unknown): value is new (...args: never[]) => nn.AnyModule {
  return typeof value === 'function' && value.prototype instanceof nn.Module;
}

test('every exported module class is under contract', () => {
  const exported = [...Object.values(nn), ...Object.values(nn.intrinsic)].filter(
    (value) => isModuleClass(value) && !BASES.has(value),
  );
  const built = new Set<unknown>();
  for (const make of Object.values(BUILD)) for (const m of make().modules()) built.add(m.constructor);
  const missing = exported.filter((type) => !built.has(type)).map((type) => (type as { name: string }).name);
  expect(missing).toEqual([]);
});

for (const [name, make] of Object.entries(BUILD)) {
  describe(name, () => {
    test('state goes from one instance to another, strictly', () => {
      manualSeed(1);
      const a = make();
      manualSeed(2);
      const b = make();
      const report = b.loadStateDict(a.stateDict());
      expect(report).toEqual({ missingKeys: [], unexpectedKeys: [], mismatches: [] });
      expect(values(b)).toEqual(values(a));
      const before = values(a);
      for (const t of [...b.parameters(), ...b.buffers()]) t.storage.fill(7);
      expect(values(a)).toEqual(before);
    });

    test('a missing and an unexpected key are named, and nothing is copied', () => {
      const module = make();
      const state = module.stateDict();
      const before = values(module);
      const wrong = new Map([...state].map(([key, t]) => [key, ones((t as Tensor).shape)]));
      wrong.set('no.such.key', ones([1]));
      expect(() => module.loadStateDict(wrong)).toThrow(StateDictError);
      expect(() => module.loadStateDict(wrong)).toThrow(/unexpected keys: no\.such\.key/);
      expect(values(module)).toEqual(before);
      const required = [...state.keys()].find((key) => !key.endsWith('num_batches_tracked'));
      if (required === undefined) return;
      const short = new Map(state);
      short.delete(required);
      expect(() => module.loadStateDict(short)).toThrow(StateDictError);
      expect(() => module.loadStateDict(short)).toThrow(`missing keys: ${required}`);
      const report = module.loadStateDict(short, { strict: false });
      expect(report.missingKeys).toEqual([required]);
      const misshapen = new Map(state).set(required, ones([3, 1, 4, 1, 5, 9]));
      expect(() => module.loadStateDict(misshapen)).toThrow(/has shape \[3, 1, 4, 1, 5, 9\]/);
    });

    test('a deep copy is independent and prints the same', () => {
      const module = make();
      const copy = nn.deepCopy(module);
      expect(copy.constructor).toBe(module.constructor);
      expect(String(copy)).toBe(String(module));
      expect(values(copy)).toEqual(values(module));
      const before = values(module);
      const mine = new Set<unknown>(module.modules());
      expect(copy.modules().some((m) => mine.has(m))).toBe(false);
      for (const t of [...copy.parameters(), ...copy.buffers()]) t.storage.fill(7);
      expect(values(module)).toEqual(before);
    });

    test('train() and eval() reach everything below', () => {
      const module = make();
      expect(module.modules().every((m) => m.training)).toBe(true);
      expect(module.eval()).toBe(module);
      expect(module.modules().some((m) => m.training)).toBe(false);
      module.train();
      expect(module.modules().every((m) => m.training)).toBe(true);
    });

    test('parameters are in the state dict and require gradients', () => {
      const module = make();
      const state = module.stateDict();
      for (const [key, p] of module.namedParameters()) {
        expect(state.get(key)).toBe(p);
        expect(p.requiresGrad).toBe(true);
      }
      module.requiresGrad_(false);
      expect(module.parameters().some((p) => p.requiresGrad)).toBe(false);
    });

    test('hooks see inputs and outputs, may replace them, and come off again', () => {
      const c = calls.get(name);
      if (!c) throw new Error(`no golden call for ${name}`);
      const module = make().eval();
      const inputs = c.inputs.map((v) => decode(v));
      const seen: unknown[] = [];
      const pre = module.registerForwardPreHook((m, args) => {
        seen.push(['before', m, args.length]);
        return undefined;
      });
      const post = module.registerForwardHook((m, _args, output) => {
        seen.push(['after', m, output]);
        return 'replaced';
      });
      expect(module(...inputs)).toBe('replaced');
      expect(seen.length).toBe(2);
      expect(seen[0]).toEqual(['before', module, inputs.length]);
      expect((seen[1] as unknown[])[2]).not.toBe('replaced');
      pre.remove();
      post.remove();
      const output = module(...inputs);
      expect(output).not.toBe('replaced');
      expect(seen.length).toBe(2);
      const copied = nn.deepCopy(module)(...inputs);
      expect(flatValues(copied)).toEqual(flatValues(output));
    });
  });
}

function values(module: nn.AnyModule): Record<string, number[]> {
  const entries = [...module.stateDict()].map(([key, t]) => [key, [...(t as Tensor).numbers()]]);
  return Object.fromEntries(entries);
}

function flatValues(result: unknown): unknown[] {
  if (Array.isArray(result)) return result.flatMap(flatValues);
  return result instanceof Tensor ? [...result.numbers()] : [result];
}
