import { zlibSync } from 'fflate';
import { crc32 } from '../../src/io/crc32.ts';

const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** A chunk of a PNG with its length and checksum. */
export function chunk(type: string, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

/** A PNG with a computed pattern, all five filters in turn, and the RGB pixels it must decode to. */
export function makePng(
  width: number,
  height: number,
  type: number,
  depth: number,
  interlaced: boolean,
  claim: { width: number; height: number } = { width, height },
): { bytes: Uint8Array; rgb: number[] } {
  const samples = SAMPLES[type];
  const levels = 2 ** depth;
  const sample = (x: number, y: number, s: number): number => (x * 37 + y * 91 + s * 53 + x * y * 7) % levels;
  const palette = Uint8Array.from({ length: 3 * Math.min(levels, 256) }, (_, i) => (i * 29) & 255);
  const to8 = (value: number): number =>
    depth === 16 ? value >> 8 : Math.floor((value * 255) / (levels - 1));
  const rgb: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const v = Array.from({ length: samples }, (_, s) => sample(x, y, s));
      if (type === 3) rgb.push(...palette.subarray(3 * v[0], 3 * v[0] + 3));
      else rgb.push(...(samples < 3 ? [v[0], v[0], v[0]] : v.slice(0, 3)).map(to8));
    }
  }
  const grid = interlaced
    ? [
        [0, 0, 8, 8],
        [4, 0, 8, 8],
        [0, 4, 4, 8],
        [2, 0, 4, 4],
        [0, 2, 2, 4],
        [1, 0, 2, 2],
        [0, 1, 1, 2],
      ]
    : [[0, 0, 1, 1]];
  const raw: number[] = [];
  const step = Math.max(1, (samples * depth) >> 3);
  let filter = 0;
  for (const [x0, y0, dx, dy] of grid) {
    let above: number[] | null = null;
    for (let y = y0; y < height && x0 < width; y += dy) {
      const bits: number[] = [];
      for (let x = x0; x < width; x += dx) {
        for (let s = 0; s < samples; s++) {
          for (let b = depth - 1; b >= 0; b--) bits.push((sample(x, y, s) >> b) & 1);
        }
      }
      const row: number[] = [];
      for (let i = 0; i < bits.length; i += 8) {
        row.push(Array.from({ length: 8 }, (_, b) => bits[i + b] ?? 0).reduce((n, bit) => 2 * n + bit, 0));
      }
      raw.push(filter, ...predict(filter, row, above ?? row.map(() => 0), step));
      filter = (filter + 1) % 5;
      above = row;
    }
  }
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, claim.width);
  view.setUint32(4, claim.height);
  head.set([depth, type, 0, 0, interlaced ? 1 : 0], 8);
  const data = zlibSync(Uint8Array.from(raw));
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', head),
    ...(type === 3 ? [chunk('PLTE', palette)] : []),
    chunk('tEXt', new TextEncoder().encode('Title\0pattern')),
    chunk('IDAT', data.subarray(0, data.length >> 1)),
    chunk('IDAT', data.subarray(data.length >> 1)),
    chunk('IEND', new Uint8Array(0)),
  ];
  return { bytes: Uint8Array.from(parts.flatMap((part) => [...part])), rgb };
}

function predict(filter: number, row: number[], above: number[], step: number): number[] {
  return row.map((value, i) => {
    const a = row[i - step] ?? 0;
    const b = above[i];
    const c = i < step ? 0 : above[i - step];
    const p = a + b - c;
    const nearest = [a, b, c].reduce((best, v) => (Math.abs(p - v) < Math.abs(p - best) ? v : best));
    return (value - [0, a, b, (a + b) >> 1, nearest][filter]) & 255;
  });
}
