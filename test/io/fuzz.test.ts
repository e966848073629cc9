import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileFormatError } from '../../src/core/errors.ts';
import {
  decodeImage,
  loadStateDict,
  readNpy,
  readNpz,
  readPyTorch,
  readSafetensors,
  writeNpy,
  writeNpz,
  writePyTorch,
  writeSafetensors,
} from '../../src/io/index.ts';
import { writeZip, ZipArchive } from '../../src/io/zip.ts';
import { fromStorage, type StateDict, Tensor, tensor } from '../../src/tensor/index.ts';
import { golden } from './golden.ts';
import { makePng } from './png-encoder.ts';

const dict: StateDict = new Map<string, any>([
  [
    'a.weight',
    tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  ],
  ['a.index', tensor([1, 2 ** 40], { dtype: 'int64' })],
  [
    'q',
    fromStorage(Int8Array.of(1, -2), [2], 'qint8', { scheme: 'per_tensor_affine', scale: 0.1, zeroPoint: 3 }),
  ],
  [
    'c',
    fromStorage(Uint8Array.of(1, 2), [2], 'quint8', {
      scheme: 'per_channel_affine',
      scales: Float64Array.of(0.1, 0.2),
      zeroPoints: Int32Array.of(0, 9),
      axis: 0,
    }),
  ],
  ['dtype', 'qint8'],
  ['tuple', [tensor([1]), null, 2.5, 'x']],
]);
const arrays = new Map([
  [
    'x',
    tensor([
      [1, 2],
      [3, 4],
    ]),
  ],
  ['y', tensor([1, 2, 3], { dtype: 'int64' })],
]);

/** `ZEROPOINT_FUZZ=20` runs twenty times as many cases, from another seed each time. */
const effort = Number(process.env.ZEROPOINT_FUZZ ?? 1);
const seed = effort > 1 ? Date.now() % 2 ** 31 : 7;

type Reader = (bytes: Uint8Array) => unknown;
/** Small valid files of every kind, with their reader. */
const KINDS: Record<string, { files: Uint8Array[]; read: Reader; runs: number }> = {
  pickle: {
    files: [
      writePyTorch(dict),
      golden('containers.zip.pt'),
      golden('containers.legacy.pt'),
      golden('quantized.legacy.pt'),
      golden('dynamic-lstm.pt'),
      golden('protocol0.pt'),
      golden('protocol1.pt'),
      golden('protocol5.pt'),
    ],
    read: (bytes) => touch(readPyTorch(bytes)),
    runs: 6000,
  },
  // Without checksums faults reach the pickle itself.
  'pickle without checksums': {
    files: [
      writePyTorch(dict),
      golden('plain.zip.pt'),
      golden('quantized.zip.pt'),
      golden('containers.zip.pt'),
    ],
    read: (bytes) => touch(readPyTorch(bytes, { checkCrc: false })),
    runs: 6000,
  },
  safetensors: { files: [writeSafetensors(dict)], read: (b) => touch(readSafetensors(b).dict), runs: 4000 },
  npy: {
    files: [writeNpy(arrays.get('x')!), golden('fortran.npy')],
    read: (b) => touch(readNpy(b)),
    runs: 3000,
  },
  npz: {
    files: [writeNpz(arrays), writeNpz(arrays, { compressed: true })],
    read: (bytes) => touch(readNpz(bytes)),
    runs: 3000,
  },
  'npz without checksums': {
    files: [writeNpz(arrays), writeNpz(arrays, { compressed: true })],
    read: (bytes) => touch(readNpz(bytes, { checkCrc: false })),
    runs: 3000,
  },
  jpeg: {
    files: ['420.jpg', '444.jpg', 'grey.jpg', 'progressive.jpg'].map(golden),
    read: (bytes) => decodeImage(bytes, { maxPixels: 1e6 }),
    runs: 3000,
  },
  png: {
    files: [
      ...[0, 2, 4, 6].map((type) => makePng(7, 5, type, 8, type === 2).bytes),
      makePng(9, 9, 3, 4, false).bytes,
    ],
    read: (bytes) => decodeImage(bytes, { maxPixels: 1e6 }),
    runs: 3000,
  },
};

/** Reads every element of every tensor, so that a view that leaves its storage would show. */
function touch(value: unknown): void {
  if (value instanceof Tensor) {
    const numbers = value.numbers();
    expect(numbers.length).toBe(value.numel);
    for (const n of numbers) if (n === undefined) throw new Error('a tensor reaches beyond its storage');
  } else if (Array.isArray(value)) value.forEach(touch);
  else if (value instanceof Map || value instanceof Set) for (const v of value.values()) touch(v);
}

/** Reads within bounds: a result or a FileFormatError that points into the file, nothing else. */
async function survive(read: Reader, bytes: Uint8Array): Promise<'read' | 'refused'> {
  const before = process.memoryUsage().arrayBuffers;
  const start = performance.now();
  try {
    await read(bytes);
    return 'read';
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    expect(error.offset).toBeGreaterThanOrEqual(0);
    expect(error.message.length).toBeLessThan(1500);
    return 'refused';
  } finally {
    expect(performance.now() - start).toBeLessThan(5000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(256 * 2 ** 20);
  }
}

const mutation = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({
    kind: fc.constant('flip' as const),
    bits: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
  }),
  fc.record({
    kind: fc.constant('set' as const),
    at: fc.nat(),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
  }),
  // The values that lengths and offsets break on.
  fc.record({
    kind: fc.constant('set' as const),
    at: fc.nat(),
    bytes: fc.constantFrom(
      ...[0, 0x7f, 0x80, 0xff].flatMap((b) => [1, 2, 4, 8].map((n) => new Uint8Array(n).fill(b))),
    ),
  }),
  fc.record({
    kind: fc.constant('splice' as const),
    from: fc.nat(),
    length: fc.nat(200),
    to: fc.nat(),
    insert: fc.boolean(),
  }),
);

function mutate(bytes: Uint8Array, m: typeof mutation extends fc.Arbitrary<infer T> ? T : never): Uint8Array {
  const n = bytes.length;
  const out = Uint8Array.from(bytes);
  if (m.kind === 'cut') return out.subarray(0, m.at % n);
  if (m.kind === 'flip') {
    for (const bit of m.bits) out[(bit >> 3) % n] ^= 1 << (bit & 7);
    return out;
  }
  if (m.kind === 'set') {
    out.set(m.bytes.subarray(0, n - (m.at % n)), m.at % n);
    return out;
  }
  const from = m.from % n;
  const piece = out.slice(from, from + m.length);
  const to = m.to % n;
  return Uint8Array.from([
    ...out.subarray(0, to),
    ...piece,
    ...out.subarray(m.insert ? to : to + piece.length),
  ]);
}

describe('damaged files', () => {
  for (const [name, { files, read, runs }] of Object.entries(KINDS)) {
    it(`${name}: reads or refuses, within bounds`, { timeout: 120_000 * effort }, async () => {
      const seen = { read: 0, refused: 0 };
      for (const file of files) await read(file);
      await fc.assert(
        fc.asyncProperty(
          fc.nat(files.length - 1),
          fc.array(mutation, { minLength: 1, maxLength: 3 }),
          async (which, mutations) => {
            let bytes: Uint8Array = files[which];
            for (const m of mutations) if (bytes.length > 0) bytes = mutate(bytes, m);
            seen[await survive(read, bytes)]++;
          },
        ),
        { numRuns: runs * effort, seed },
      );
      // Most damage is noticed, and a fault that no reader can see (in the middle of weights) is no reason to refuse.
      expect(seen.refused).toBeGreaterThan(runs / 10);
    });

    it(`${name}: refuses or reads every truncation`, async () => {
      for (const file of files) {
        const step = Math.max(1, Math.floor(file.length / 300));
        for (let n = 0; n < file.length; n += step) await survive(read, file.subarray(0, n));
      }
    });
  }

  it('random bytes behind every signature', { timeout: 120_000 * effort }, async () => {
    const starts = Object.values(KINDS).flatMap(({ files }) => files.map((f) => f.subarray(0, 16)));
    const readers: Reader[] = [readPyTorch, readSafetensors, readNpy, readNpz, decodeImage, loadStateDict];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...starts),
        fc.nat(16),
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom(...readers),
        async (start, n, rest, read) => {
          await survive(read, Uint8Array.from([...start.subarray(0, n), ...rest]));
        },
      ),
      { numRuns: 5000 * effort, seed },
    );
  });
});

/** A legacy file around pickle opcodes. */
function pickle(body: string, tail = '\x80\x02].'): Uint8Array {
  const head = '\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.';
  return Uint8Array.from(`${head}\x80\x02${body}.${tail}`, (c) => c.charCodeAt(0));
}

const storage = (type: string, key: string, numel: string): string =>
  `(X\x07\0\0\0storagectorch\n${type}\nX\x01\0\0\0${key}X\x03\0\0\0cpu${numel}tQ`;

describe('hostile pickles', () => {
  it('reads the honest one they are made from', () => {
    const bytes = pickle(
      `ctorch._utils\n_rebuild_tensor_v2\n(${storage('FloatStorage', '0', 'K\x01')}K\0K\x01\x85K\x01\x85\x89}tR`,
      '\x80\x02]X\x01\0\0\x000a.\x01\0\0\0\0\0\0\0\0\0\x80?',
    );
    expect((readPyTorch(bytes) as Tensor).toArray()).toEqual([1]);
  });

  it('reads storages that are windows on others, as PyTorch wrote them before 0.4', () => {
    const window = '(X\x01\0\0\0bK\x01K\x01t';
    const bytes = pickle(
      `ctorch._utils\n_rebuild_tensor\n(${storage('ByteStorage', '0', `K\x03${window}`)}K\0K\x01\x85K\x01\x85tR`,
      '\x80\x02]X\x01\0\0\x000a.\x03\0\0\0\0\0\0\0\x05\x06\x07',
    );
    expect((readPyTorch(bytes) as Tensor).toArray()).toEqual([6]);
  });

  const nested = (depth: number): string => `${'('.repeat(depth)}${'t'.repeat(depth)}`;
  const doubling = `]${Array.from({ length: 60 }, (_, i) => `q${String.fromCharCode(i)}0](h${String.fromCharCode(i)}h${String.fromCharCode(i)}e`).join('')}`;
  it.each<[string, string, RegExp]>([
    ['a list that contains itself', ']q\0h\0a', /contains itself/],
    ['a dict that contains itself', '}q\0X\x01\0\0\0ah\0s', /contains itself/],
    ['a list doubled sixty times', doubling, /shared ones counted each time/],
    ['nesting of a million', nested(1_000_000), /deeper/],
    ['three million dicts', '}0'.repeat(3_000_000), /objects/],
    ['a class as a value', 'ccollections\nOrderedDict\n', /a class/],
    ['a storage as a value', storage('FloatStorage', '0', 'K\0'), /bare storage|storage 0/],
    ['a storage beyond the file', storage('FloatStorage', '0', 'J\xff\xff\xff\x7f'), /at most/],
    ['os.system', 'cos\nsystem\n(X\x04\0\0\0truetR', /os\.system/],
    ['eval by stack', '\x8c\x08builtins\x8c\x04eval\x93', /builtins\.eval/],
    ['a call of a string', 'X\x01\0\0\0a)R', /call of/],
    ['a Python class instance', 'c__main__\nA\n)\x81', /__main__\.A/],
    ['a dtype called', 'ctorch\nfloat32\n)R', /call of/],
    ['__proto__ as a global', 'ctorch\n__proto__\n', /torch\.__proto__/],
    ['a whole module', '(X\x06\0\0\0moduleX\x01\0\0\0atQ', /state_dict/],
    ['an extension code', '\x82\x01', /opcode 0x82/],
    ['a list as a key', '}]Ns', /string or number/],
    ['an empty stack', '0', /empty stack/],
    ['a missing mark', 't', /mark/],
    ['a memo index never stored', 'h\x05', /memo/],
    ['an integer of a megabyte', `\x8b\0\0\x10\0${'x'.repeat(1 << 20)}`, /1024 bytes/],
    ['a device made of endless lists', `ctorch\ndevice\n(${doubling}tR`, /torch\.device/],
    [
      'a shape made of endless lists',
      `ctorch._utils\n_rebuild_tensor_v2\n(${doubling}K\0K\x01\x85K\x01\x85tR`,
      /keys|storage|shared/,
    ],
  ])('refuses %s', (_, body, message) => {
    const start = performance.now();
    expect(() => readPyTorch(pickle(body))).toThrow(FileFormatError);
    expect(() => readPyTorch(pickle(body))).toThrow(message);
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it.each<[string, string]>([
    ['an offset beyond the storage', 'K\x01K\x01\x85K\x01\x85'],
    ['strides beyond the storage', 'K\0K\x02\x85K\x09\x85'],
    ['a negative size', 'K\0J\xff\xff\xff\xff\x85K\x01\x85'],
    ['a fractional size', 'K\0G?\xe0\0\0\0\0\0\0\x85K\x01\x85'],
    ['more strides than sizes', 'K\0K\x01\x85K\x01K\x01\x86'],
    [
      'infinitely many elements, times zero',
      `K\0(${'J\xff\xff\xff\x7f'.repeat(40)}K\0t(${'K\0'.repeat(41)}t`,
    ],
    ['more dimensions than anyone has', `K\0(${'K\x01'.repeat(33)}t(${'K\0'.repeat(33)}t`],
    ['an expansion to 2^31 elements', 'K\0J\xff\xff\xff\x7f\x85K\0\x85'],
  ])('refuses a view with %s', (_, view) => {
    const bytes = pickle(
      `ctorch._utils\n_rebuild_tensor_v2\n(${storage('FloatStorage', '0', 'K\x01')}${view}\x89}tR`,
      '\x80\x02]X\x01\0\0\x000a.\x01\0\0\0\0\0\0\0\0\0\x80?',
    );
    expect(() => readPyTorch(bytes)).toThrow(FileFormatError);
  });
});

describe('hostile archives', () => {
  const names = (list: string[]): Uint8Array =>
    writeZip(list.map((name) => ({ name, bytes: Uint8Array.of(1) })));
  const open = (bytes: Uint8Array): ZipArchive => new ZipArchive(bytes, 'x.zip', 'test');

  it.each(['../a', '/a', 'a/../../b', 'a\\b', 'C:a', 'a\0b', ''])('refuses the name %j', (name) => {
    expect(() => open(names([name]))).toThrow(/relative path/);
  });

  it('refuses repeated names, overlaps and headers that disagree', () => {
    expect(() => open(names(['a', 'a']))).toThrow(/each name once/);
    const two = names(['a', 'b']);
    const directory = Buffer.from(two).lastIndexOf('PK\x01\x02');
    const overlapping = two.slice();
    overlapping.fill(0, directory + 42, directory + 46);
    expect(() => open(overlapping)).toThrow(/same name/);
    const renamed = names(['a']);
    renamed[30] = 0x62;
    expect(() => open(renamed)).toThrow(/same name/);
    const twice = overlapping.slice();
    twice[directory + 46] = 0x61;
    expect(() => open(twice)).toThrow(/each name once/);
  });

  it('notices a changed byte', () => {
    const bytes = names(['a']);
    bytes[31] ^= 1;
    expect(() => open(bytes).read('a')).toThrow(/checksum/);
    const lax = new ZipArchive(bytes, 'x.zip', 'test', { checkCrc: false });
    expect([...lax.read('a')]).toEqual([0]);
  });

  it('refuses deflate bombs before they grow', () => {
    const bomb = writeNpz(new Map([['x', tensor(new Uint8Array(50_000_000))]]), { compressed: true });
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readNpz(bomb, { maxInflatedBytes: 10_000_000 })).toThrow(/maxInflatedBytes/);
    // An entry that claims little and holds much, and one that claims more than deflate can give.
    const directory = Buffer.from(bomb).lastIndexOf('PK\x01\x02');
    for (const [claim, message] of [
      [100, /a longer one/],
      [0x10000000, /can hold/],
    ] as const) {
      const lying = bomb.slice();
      new DataView(lying.buffer).setUint32(directory + 24, claim, true);
      expect(() => readNpz(lying, { checkCrc: false })).toThrow(message);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
  });

  it('reads zip64', () => {
    const plain = names(['a']);
    const end = plain.length - 22;
    const view = new DataView(plain.buffer);
    const extra = new Uint8Array(28);
    const e = new DataView(extra.buffer);
    e.setUint32(0, 1 | (24 << 16), true);
    e.setBigUint64(4, 1n, true);
    e.setBigUint64(12, 1n, true);
    const offset = view.getUint32(end + 16, true);
    const central = Uint8Array.from([...plain.subarray(offset, end), ...extra]);
    const c = new DataView(central.buffer);
    for (const at of [20, 24, 42]) c.setUint32(at, 0xffffffff, true);
    c.setUint16(30, 28, true);
    const end64 = new Uint8Array(56);
    const z = new DataView(end64.buffer);
    z.setUint32(0, 0x06064b50, true);
    z.setBigUint64(4, 44n, true);
    z.setBigUint64(24, 1n, true);
    z.setBigUint64(32, 1n, true);
    z.setBigUint64(40, BigInt(central.length), true);
    z.setBigUint64(48, BigInt(offset), true);
    const locator = new Uint8Array(20);
    const l = new DataView(locator.buffer);
    l.setUint32(0, 0x07064b50, true);
    l.setBigUint64(8, BigInt(offset + central.length), true);
    l.setUint32(16, 1, true);
    const last = plain.slice(end);
    last.fill(0xff, 8, 20);
    const bytes = Uint8Array.from([...plain.subarray(0, offset), ...central, ...end64, ...locator, ...last]);
    expect([...open(bytes).read('a')]).toEqual([1]);
  });
});

it('refuses a PNG whose data is longer or shorter than its size', async () => {
  const { bytes } = makePng(4, 4, 2, 8, false, { width: 4, height: 5 });
  await expect(decodeImage(bytes)).rejects.toThrow(/zlib stream/);
  const longer = makePng(4, 4, 2, 8, false, { width: 4, height: 3 });
  await expect(decodeImage(longer.bytes)).rejects.toThrow(/a longer one/);
});
