import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FileFormatError } from '../../src/core/errors.ts';
import {
  centerCrop,
  decodeImage,
  FileError,
  IMAGENET_MEAN,
  imagenetTransform,
  loadImage,
  normalize,
  type RgbImage,
  readImageFolder,
  readNpz,
  resizeBilinear,
  toTensor,
} from '../../src/io/index.ts';
import { DATA, haveData } from '../support/trained-data.ts';
import { golden } from './golden.ts';
import { makePng } from './png-encoder.ts';

const pixels = readNpz(golden('pixels.npz'));
const noise = await decodeImage(golden('noise.png'));

function expectPixels(image: RgbImage, name: string): void {
  const want = pixels.get(name)!;
  expect([image.height, image.width, 3]).toEqual(want.shape);
  expect(Buffer.compare(image.data, want.data as Uint8Array)).toBe(0);
}

describe('decodeImage', () => {
  it.each([...pixels.keys()].filter((name) => /\.(jpg|png)$/.test(name)))(
    '%s: the pixels of PIL',
    async (name) => {
      expectPixels(await decodeImage(golden(name)), name);
    },
  );

  it.each([0, 2, 3, 4, 6])(
    'reads colour type %i of PNG in every depth, plain and interlaced',
    async (type) => {
      const depths: Record<number, number[]> = {
        0: [1, 2, 4, 8, 16],
        2: [8, 16],
        3: [1, 2, 4, 8],
        4: [8, 16],
        6: [8, 16],
      };
      await Promise.all(
        depths[type].flatMap((depth) =>
          [false, true].flatMap((interlaced) =>
            [
              [1, 1],
              [3, 5],
              [13, 9],
            ].map(async ([width, height]) => {
              const { bytes, rgb } = makePng(width, height, type, depth, interlaced);
              const image = await decodeImage(bytes);
              expect([image.width, image.height]).toEqual([width, height]);
              expect([...image.data]).toEqual(rgb);
            }),
          ),
        ),
      );
    },
  );

  it('leaves the global object as it was', () => {
    expect('ImageData' in globalThis).toBe(false);
    expect(process.exitCode).toBeUndefined();
  });

  it('checks the limit before decoding', async () => {
    for (const name of ['420.jpg', 'rgb.png']) {
      await expect(decodeImage(golden(name), { maxPixels: 61 * 47 - 1 })).rejects.toThrow(
        /pixels, got 61 × 47/,
      );
      await decodeImage(golden(name), { maxPixels: 61 * 47 });
    }
  });

  it('refuses sizes that the bytes cannot hold', async () => {
    const jpeg = golden('420.jpg').slice();
    const frame = Buffer.from(jpeg).indexOf(Uint8Array.of(0xff, 0xc0));
    jpeg.set([0x1f, 0x40, 0x1f, 0x40], frame + 5);
    await expect(decodeImage(jpeg)).rejects.toThrow(/8000 × 8000/);
    const { bytes } = makePng(4, 4, 2, 8, false, { width: 7000, height: 7000 });
    await expect(decodeImage(bytes)).rejects.toThrow(/7000 × 7000/);
  });

  it('refuses cut-off images and decodes the next one all the same', async () => {
    for (const name of ['420.jpg', 'progressive.jpg', 'rgb.png']) {
      const bytes = golden(name);
      for (const n of [1, 2, 100, bytes.length >> 1]) {
        await expect(decodeImage(bytes.subarray(0, bytes.length - n))).rejects.toThrow(FileFormatError);
      }
      expectPixels(await decodeImage(bytes), name);
    }
    const broken = golden('420.jpg').slice();
    broken.fill(0xff, Buffer.from(broken).indexOf(Uint8Array.of(0xff, 0xc4)) + 4, 200);
    await expect(decodeImage(broken)).rejects.toThrow(FileFormatError);
    expectPixels(await decodeImage(golden('420.jpg')), '420.jpg');
  });

  it('refuses other files', async () => {
    await expect(decodeImage(golden('arrays.npz'))).rejects.toThrow(/JPEG or PNG/);
    await expect(decodeImage(new Uint8Array())).rejects.toThrow(FileFormatError);
  });
});

describe('resizing and cropping', () => {
  it.each([
    ['down', 20, 13],
    ['up', 150, 100],
    ['wide', 90, 20],
    ['rows', 61, 11],
    ['one', 1, 1],
    ['columns', 33, 47],
  ])('noise-%s: the pixels of PIL', (name, width, height) => {
    expectPixels(resizeBilinear(noise, width, height), `noise-${name}`);
  });

  it('prepares images as torchvision does, bit for bit', () => {
    const want = readNpz(golden('transforms.npz'));
    const x = imagenetTransform({ resize: 32, crop: 24 })(noise);
    expect(x.shape).toEqual([3, 24, 24]);
    expect(x.data).toEqual(want.get('prepared')!.data);
    expect(toTensor(centerCrop(noise, 70)).data).toEqual(want.get('padded')!.data);
  });

  it('never changes its input', () => {
    const same = resizeBilinear(noise, noise.width, noise.height);
    expect(same.data).toEqual(noise.data);
    expect(same.data).not.toBe(noise.data);
  });

  it('refuses sizes and parameters that make no sense', () => {
    expect(() => resizeBilinear(noise, 0, 5)).toThrow(/width/);
    expect(() => resizeBilinear({ ...noise, height: 5 }, 4, 4)).toThrow(/width × height × 3/);
    expect(() => centerCrop(noise, 1.5)).toThrow(/size/);
    expect(() => normalize(toTensor(noise), [0], [1])).toThrow(/mean/);
    expect(() => normalize(toTensor(noise), IMAGENET_MEAN, [1, 0, 1])).toThrow(/std/);
  });
});

describe('readImageFolder', () => {
  it('takes labels from labels.tsv, from sub-folders, or gives none', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'zeropoint-'));
    try {
      writeFileSync(join(folder, 'b.png'), golden('rgb.png'));
      writeFileSync(join(folder, 'a.JPG'), golden('420.jpg'));
      writeFileSync(join(folder, 'notes.txt'), '');
      expect(await readImageFolder(folder)).toEqual({
        files: [join(folder, 'a.JPG'), join(folder, 'b.png')],
        labels: null,
        classes: null,
      });
      writeFileSync(join(folder, 'labels.tsv'), 'b.png\t2\tcat\r\na.JPG\t0\tdog\n');
      expect(await readImageFolder(folder)).toEqual({
        files: [join(folder, 'b.png'), join(folder, 'a.JPG')],
        labels: [2, 0],
        classes: ['dog', '', 'cat'],
      });
      for (const row of ['../b.png\t1\tx', '/etc/x.png\t1\tx', 'b.png\t-1\tx', 'b.png']) {
        writeFileSync(join(folder, 'labels.tsv'), `a.JPG\t0\tdog\n${row}\n`);
        await expect(readImageFolder(folder)).rejects.toMatchObject({ offset: 12 });
      }
      mkdirSync(join(folder, 'sub', 'cat'), { recursive: true });
      mkdirSync(join(folder, 'sub', 'ant'));
      writeFileSync(join(folder, 'sub', 'cat', '1.png'), '');
      writeFileSync(join(folder, 'sub', 'ant', '2.png'), '');
      expect(await readImageFolder(join(folder, 'sub'))).toEqual({
        files: [join(folder, 'sub', 'ant', '2.png'), join(folder, 'sub', 'cat', '1.png')],
        labels: [0, 1],
        classes: ['ant', 'cat'],
      });
      await expect(readImageFolder(join(folder, 'none'))).rejects.toThrow(FileError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

const present = haveData('photographs', 'imagenet500');

describe.skipIf(!present)('photographs', () => {
  it('lists and decodes every one', async () => {
    const { files, labels, classes } = await readImageFolder(join(DATA, 'imagenet500'));
    expect(files).toHaveLength(500);
    expect(labels).toHaveLength(500);
    expect(classes![labels![0]]).toBe('n01440764_tench');
    for (const file of files) {
      const image = await loadImage(file);
      expect(Math.min(image.width, image.height)).toBe(256);
      expect(image.data.some((v) => v !== image.data[0])).toBe(true);
    }
    const first = imagenetTransform()(await decodeImage(readFileSync(files[0])));
    expect(first.shape).toEqual([3, 224, 224]);
  });
});
