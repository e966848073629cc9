import fc from 'fast-check';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { FileFormatError, ZeropointError } from '../../src/core/errors.ts';
import { Interpreter } from '../../src/fx/interpreter.ts';
import { readSafetensors, writeSafetensors } from '../../src/io/index.ts';
import { alignedSize } from '../../src/kernels/allocator.ts';
import { engine } from '../../src/kernels/engine.ts';
import {
  Conv2d,
  Embedding,
  Flatten,
  LayerNorm,
  Linear,
  LSTM,
  MaxPool2d,
  Module,
  ReLU,
  Sequential,
} from '../../src/nn/index.ts';
import { cat, noGrad } from '../../src/ops/index.ts';
import {
  convert,
  getDefaultQConfig,
  prepare,
  QuantWrapper,
  quantizeDynamic,
} from '../../src/quantization/index.ts';
import { type Program, readProgram, trace, writeProgram } from '../../src/runtime/index.ts';
import { rand, randint, randn } from '../../src/tensor/creation.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { bits, tensorsIn } from '../support/same-bits.ts';

const KEY = 'zeropoint.program';

/** `ZEROPOINT_FUZZ=20` runs twenty times as many cases, from another seed each time. */
const effort = Number(process.env.ZEROPOINT_FUZZ ?? 1);
const seed = effort > 1 ? Date.now() % 2 ** 31 : 7;

class Mixed extends Module<[Tensor, { readonly ids: Tensor }], unknown> {
  conv: Module = new Conv2d(2, 3, 3, { padding: 1 });
  pool: Module = new MaxPool2d(2);
  embedding: Module = new Embedding(5, 3);
  lstm: LSTM = new LSTM(3, 3, { batchFirst: true });
  norm: Module = new LayerNorm(6);

  forward(image: Tensor, { ids }: { readonly ids: Tensor }): unknown {
    const features = this.pool(this.conv(image)).mean([2, 3]);
    const [out] = this.lstm(this.embedding(ids));
    const [values, places] = out.select(1, -1).topk(2);
    const both = this.norm(cat([features, out.select(1, 0)], 1)).clamp(null, 3);
    return { both, best: [values, places], shape: both.view([image.shape[0], 2, -1]) };
  }
}

function int8(): Module {
  const model = new QuantWrapper(
    new Sequential(
      new Conv2d(2, 3, 3, { padding: 1 }),
      new ReLU(),
      new MaxPool2d(2),
      new Flatten(),
      new Linear(12, 4),
    ),
  ).eval();
  model.qconfig = getDefaultQConfig('qnnpack');
  const prepared = prepare(model);
  noGrad(() => prepared(rand([2, 2, 4, 4])));
  return convert(prepared) as Module;
}

interface Case {
  readonly program: Program;
  readonly inputs: readonly unknown[];
}

const mixedInputs = [rand([1, 2, 4, 4]), { ids: randint(0, 5, [1, 3]) }] as const;
const cases: Record<string, Case> = {
  float: { program: trace(new Mixed(), mixedInputs), inputs: mixedInputs },
  int8: { program: trace(int8(), [rand([1, 2, 4, 4])]), inputs: [rand([2, 2, 4, 4])] },
  dynamic: {
    program: trace(quantizeDynamic(new Sequential(new Linear(3, 2), new ReLU())), [randn([2, 3])]),
    inputs: [randn([2, 3])],
  },
};

/** Memory that running a program may write to: what it allocated, and scratch. */
function allocationsDuring<T>(body: () => T): { result: T; spans: [number, number][] } {
  const spans: [number, number][] = [];
  const spy = vi.spyOn(engine, 'alloc');
  try {
    const result = body();
    for (const { type, value } of spy.mock.results) {
      if (type === 'return') spans.push([value.ptr, value.ptr + alignedSize(value.bytes)]);
    }
    return { result, spans };
  } finally {
    spy.mockRestore();
  }
}

/** Address and size of the block that all scratch of these small programs comes from. */
const SCRATCH_BYTES = 1 << 20;
const scratch = engine.scratch((take) => take(SCRATCH_BYTES));

const COMPARED_BYTES = 8 << 20;

/** How often a mutated program ran to its end, in all. */
let ran = 0;

/**
 * Reads a mutated file and runs what was read: either works and gives what the operators give one by one, or an error of the
 * library says what is wrong. Memory that is not the program's stays as it is.
 */
function tryOut(bytes: Uint8Array, inputs: readonly unknown[], exact: boolean): void {
  let before: Uint8Array | null = null;
  const { spans } = allocationsDuring(() => {
    let program: Program;
    try {
      program = readProgram(bytes);
    } catch (error) {
      if (!(error instanceof FileFormatError)) throw error;
      return;
    }
    // A lying geometry may have grown the memory for good; all that lives long lies at its beginning.
    before = engine.heap.u8.slice(0, COMPARED_BYTES);
    const results = [1, 2].map(() => outcome(() => program.run(...inputs)));
    program.free();
    const expected = outcome(() => noGrad(() => new Interpreter(program.graph, program).run(...inputs)));
    for (const result of results) expect(result.error?.name).toBe(expected.error?.name);
    if (expected.error !== null) return;
    ran++;
    for (const { value } of results) {
      if (exact) expect(bits(value)).toEqual(bits(expected.value));
      else expect(forms(value)).toEqual(forms(expected.value));
    }
  });
  if (before !== null)
    expectUntouched(before, engine.heap.u8, [...spans, [scratch, scratch + SCRATCH_BYTES]]);
}

/** Compares memory outside of some spans. */
function expectUntouched(before: Uint8Array, after: Uint8Array, spans: [number, number][]): void {
  const end = before.length;
  const sorted = [...spans, [end, end]].sort((a, b) => a[0] - b[0]);
  let at = 0;
  for (const [from, to] of sorted) {
    if (from > at && from <= end) {
      const [was, is] = [before, after].map((bytes) => Buffer.from(bytes.buffer, at, from - at));
      expect(was.equals(is), `bytes ${at} to ${from} are not the program's`).toBe(true);
    }
    at = Math.max(at, to);
  }
}

/** A result, or the error of the library in its place. Every other error fails the test. */
function outcome(run: () => unknown): { readonly value: unknown; readonly error: ZeropointError | null } {
  try {
    return { value: run(), error: null };
  } catch (error) {
    if (!(error instanceof ZeropointError)) throw error;
    return { value: null, error };
  }
}

function forms(value: unknown): unknown[] {
  return tensorsIn(value).map((t) => [t.dtype, [...t.shape], t.numbers().length]);
}

/** The file with its graph as parsed JSON changed by `edit`. */
function edited(program: Program, edit: (json: any) => void): Uint8Array {
  const { dict } = readSafetensors(writeProgram(program));
  const json = JSON.parse(program.toJson());
  edit(json);
  return writeSafetensors(dict, { metadata: { [KEY]: JSON.stringify(json) } });
}

describe('files that lie', () => {
  const { program } = cases.float;
  const call = (json: any, target: string): any => json.nodes.find((n: any) => n.target === target);

  test.each<[string, (json: any) => void, RegExp]>([
    ['another version', (j) => (j.version = 2), /version: expected 1, got 2/],
    [
      'an unknown operator',
      (j) => (call(j, 'conv2d').target = 'evaluate'),
      /an operator for inference, got "evaluate"/,
    ],
    ['a member of Object', (j) => (call(j, 'conv2d').target = 'constructor'), /an operator for inference/],
    ['an operator of training', (j) => (call(j, 'conv2d').target = 'dropout'), /an operator for inference/],
    ['too few arguments', (j) => call(j, 'conv2d').args.pop(), /expected 4 arguments of conv2d, got 3/],
    [
      'an argument of another kind',
      (j) => (call(j, 'conv2d').args[1] = 'x'),
      /argument 1 of conv2d to be tensor/,
    ],
    [
      'a node that is not there',
      (j) => (call(j, 'conv2d').args[0] = { node: 10_000 }),
      /a node before this one/,
    ],
    [
      'a node of the future',
      (j) => (call(j, 'conv2d').args[0] = { node: j.nodes.length - 2 }),
      /a node before this one/,
    ],
    ['a node by name', (j) => (call(j, 'conv2d').args[0] = { node: 'length' }), /a node before this one/],
    [
      'a stride of nothing',
      (j) => (call(j, 'conv2d').args[3].dict.stride = [0, 1]),
      /stride of a conv geometry/,
    ],
    [
      'a geometry too short',
      (j) => (call(j, 'conv2d').args[3].dict.padding = [1]),
      /padding of a conv geometry/,
    ],
    ['a setting too many', (j) => (call(j, 'conv2d').args[3].dict.toString = 1), /a geometry with/],
    ['an item beyond the list', (j) => (call(j, 'getitem').args[1] = { number: 'NaN' }), /a place/],
    ['an attribute twice', (j) => j.attributes.push(j.attributes[0]), /each name once/],
    ['an attribute without a tensor', (j) => (j.attributes[0].tensor = 'none'), /a tensor of the file/],
    ['a tensor left over', (j) => j.attributes.pop(), /name of an attribute|a place for each tensor/],
    ['an unknown kind', (j) => (j.attributes[0].kind = 'toString'), /expected/],
    ['no output', (j) => j.nodes.pop(), /the output, and it alone, at the end/],
    ['two outputs', (j) => j.nodes.splice(3, 0, j.nodes.at(-1)), /the output, and it alone, at the end/],
    [
      'an input that is no placeholder',
      (j) => (j.inputs = [{ node: 1 }, { node: j.nodes.length - 2 }]),
      /placeholders|place/,
    ],
    ['a batch of half a sample', (j) => (j.batch.example = 0.5), /whole numbers/],
    [
      'a deep argument',
      (j) => (call(j, 'conv2d').args[0] = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`)),
      /levels/,
    ],
    ['nodes that are no list', (j) => (j.nodes = {}), /a list/],
  ])('%s', (_, edit, message) => {
    const read = () => readProgram(edited(program, edit));
    expect(read).toThrow(FileFormatError);
    expect(read).toThrow(message);
  });

  test.each<[string, (json: any) => void, RegExp]>([
    [
      'weights over other dimensions',
      (j) => (call(j, 'quantized::linear').args[1] = call(j, 'quantized::conv2d').args[1]),
      /weights over 0 spatial dimensions/,
    ],
    [
      'a tensor where packed weights belong',
      (j) => (call(j, 'quantized::conv2d').args[1] = { node: 0 }),
      /to be packed/,
    ],
    [
      'packed weights where a tensor belongs',
      (j) => (call(j, 'quantized::linear').args[0] = call(j, 'quantized::linear').args[1]),
      /to be tensor/,
    ],
    [
      'packed weights given back',
      (j) => (j.nodes.at(-1).args = [call(j, 'quantized::linear').args[1]]),
      /expected tensors/,
    ],
    ['a float weight', (j) => (j.attributes[0].weight = j.attributes[0].bias), /expected/],
    ['a geometry of other rank', (j) => (j.attributes[0].geometry.stride = [1]), /stride of a conv geometry/],
    ['groups that do not divide', (j) => (j.attributes[0].geometry.groups = 2), /expected/],
  ])('int8: %s', (_, edit, message) => {
    const read = () => readProgram(edited(cases.int8.program, edit));
    expect(read).toThrow(FileFormatError);
    expect(read).toThrow(message);
  });

  test('nothing in a file reaches prototypes', () => {
    const text = program.toJson().replace('"stride"', '"__proto__"');
    const { dict } = readSafetensors(writeProgram(program));
    expect(() => readProgram(writeSafetensors(dict, { metadata: { [KEY]: text } }))).toThrow(FileFormatError);
    expect(({} as Record<string, unknown>).stride).toBeUndefined();
  });
});

describe.each(Object.entries(cases))('%s programs, changed at random', (name, { program, inputs }) => {
  const exact = name !== 'float';
  const bytes = writeProgram(program);

  test('bytes', () => {
    const edit = fc.record({ at: fc.nat({ max: bytes.length - 1 }), byte: fc.nat({ max: 255 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), fc.boolean(), (edits, cut) => {
        const copy = bytes.slice(0, cut ? edits[0].at : bytes.length);
        for (const { at, byte } of edits) copy[at] = byte;
        tryOut(copy, inputs, exact);
      }),
      { numRuns: 1000 * effort, seed },
    );
  });

  test('values of the graph', () => {
    const odd = fc.oneof(
      fc.constantFrom<unknown>(
        null,
        true,
        '',
        'relu',
        'x',
        [],
        {},
        { node: 0 },
        { node: 3 },
        { undefined: true },
      ),
      fc.constantFrom<unknown>(
        { batch: [1, 0] },
        { batch: [0, -1] },
        { number: 'Infinity' },
        { number: 'NaN' },
      ),
      fc.integer({ min: -3, max: 9 }),
      fc.constantFrom(0.5, 1e6, -1e9),
      fc.array(fc.integer({ min: -2, max: 5 }), { maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), odd), { minLength: 1, maxLength: 3 }), (edits) => {
        const changed = edited(program, (json) => {
          for (const [pick, value] of edits) {
            const places = placesIn(json);
            const [holder, key] = places[pick % places.length];
            holder[key] = structuredClone(value);
          }
        });
        tryOut(changed, inputs, exact);
      }),
      { numRuns: 1500 * effort, seed },
    );
  });
});

/** Every place in parsed JSON that holds a value. */
function placesIn(json: any): [any, string][] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.keys(json).flatMap((key): [any, string][] => [[json, key], ...placesIn(json[key])]);
}

afterAll(() =>
  console.log(
    `${engine.memory().reservedBytes} bytes of memory; ${ran} mutated programs ran to their end as their operators do one by one`,
  ),
);
