import { ByteReader, concatBytes } from '../bytes.ts';
import { crc32 } from '../crc32.ts';
import { inflateExactly } from '../inflate.ts';
import { DEFAULT_MAX_PIXELS, type ImageReadOptions, type RgbImage } from './image.ts';

const FN = 'decodeImage';
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Samples per pixel and allowed depths of each colour type. */
const COLOUR_TYPES: Readonly<
  Record<number, { readonly samples: number; readonly depths: readonly number[] }>
> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** Start and step of the seven passes of interlaced images: x0, y0, dx, dy. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colourType: number;
  readonly samples: number;
  readonly interlaced: boolean;
}

/** One pass over the image: the whole of it, or a seventh of an interlaced one. */
interface Pass {
  readonly x0: number;
  readonly y0: number;
  readonly dx: number;
  readonly dy: number;
  readonly width: number;
  readonly height: number;
  /** Bytes of a row without its filter byte. */
  readonly rowBytes: number;
}

/** True where the bytes start like a PNG. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** Decodes a PNG; see `decodeImage`. Source: PNG specification, third edition. */
export function decodePng(bytes: Uint8Array, options: ImageReadOptions = {}): RgbImage {
  const r = new ByteReader(bytes, options.file ?? '(bytes)', FN);
  r.seek(8, 'signature');
  let header: Header | null = null;
  let palette: Uint8Array | null = null;
  const parts: Uint8Array[] = [];
  for (let done = false; !done; ) {
    const at = r.position;
    const length = r.u32('chunk length', false);
    const type = r.text(4, 'chunk type');
    const body = r.take(length, `chunk ${type}`);
    const stored = r.u32('chunk checksum', false);
    if (crc32(bytes.subarray(at + 4, at + 8 + length)) !== stored) {
      throw r.error(`PNG chunk ${type}`, `checksum ${stored.toString(16)}`, 'another', at);
    }
    if ((header === null) !== (type === 'IHDR')) throw r.error('PNG', 'IHDR first and once', type, at);
    if (type === 'IHDR') header = readHeader(r, body, at, options.maxPixels ?? DEFAULT_MAX_PIXELS);
    else if (type === 'PLTE') {
      if (length === 0 || length % 3 || length > 768)
        throw r.error('PNG palette', '1 to 256 colours', `${length} bytes`, at);
      palette = body;
    } else if (type === 'IDAT') parts.push(body);
    else if (type === 'IEND') done = true;
    else if (/^[A-Z]/.test(type)) throw r.error('PNG chunk', 'a known critical chunk', type, at);
  }
  if (!header || parts.length === 0) throw r.error('PNG', 'image data', 'none');
  if (header.colourType === 3 && !palette) throw r.error('PNG', 'a palette', 'none');
  return decodePixels(r, header, palette, concatBytes(parts));
}

function readHeader(r: ByteReader, body: Uint8Array, at: number, maxPixels: number): Header {
  const fail = (expected: string, got: string): Error => r.error('PNG header', expected, got, at);
  if (body.length !== 13) throw fail('13 bytes', String(body.length));
  const view = new DataView(body.buffer, body.byteOffset, 13);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colourType, compression, filter, interlace] = body.subarray(8);
  const kind = Object.hasOwn(COLOUR_TYPES, colourType) ? COLOUR_TYPES[colourType] : undefined;
  if (!kind?.depths.includes(depth))
    throw fail('a colour type and depth of PNG', `${colourType} with ${depth} bits`);
  if (compression !== 0 || filter !== 0 || interlace > 1) throw fail('known methods', 'others');
  if (width === 0 || height === 0) throw fail('a size', `${width} × ${height}`);
  if (width * height > maxPixels) throw fail(`at most ${maxPixels} pixels`, `${width} × ${height}`);
  return { width, height, depth, colourType, samples: kind.samples, interlaced: interlace === 1 };
}

function decodePixels(r: ByteReader, h: Header, palette: Uint8Array | null, deflated: Uint8Array): RgbImage {
  const passes = passesOf(h);
  const size = passes.reduce((n, pass) => n + pass.height * (1 + pass.rowBytes), 0);
  const raw = inflateExactly(deflated, size, 'zlib', (expected, got) =>
    r.error(`PNG data of ${h.width} × ${h.height} pixels`, expected, got, 8),
  );
  const data = new Uint8Array(h.width * h.height * 3);
  const step = Math.max(1, (h.samples * h.depth) >> 3);
  let at = 0;
  for (const pass of passes) {
    let above: Uint8Array = new Uint8Array(pass.rowBytes);
    for (let y = 0; y < pass.height; y++) {
      const filter = raw[at];
      const row = raw.subarray(at + 1, at + 1 + pass.rowBytes);
      if (!unfilter(filter, row, above, step))
        throw r.error('PNG row', 'a filter from 0 to 4', String(filter), 8);
      const start = 3 * ((pass.y0 + y * pass.dy) * h.width + pass.x0);
      if (!storeRow(h, palette, row, pass.width, data, start, 3 * pass.dx)) {
        throw r.error('PNG pixel', 'a colour of the palette', 'one beyond it', 8);
      }
      above = row;
      at += 1 + pass.rowBytes;
    }
  }
  return { data, width: h.width, height: h.height };
}

function passesOf(h: Header): Pass[] {
  const grid = h.interlaced ? ADAM7 : ([[0, 0, 1, 1]] as const);
  const passes = grid.map(([x0, y0, dx, dy]) => {
    const width = Math.ceil((h.width - x0) / dx);
    const height = Math.ceil((h.height - y0) / dy);
    return { x0, y0, dx, dy, width, height, rowBytes: Math.ceil((width * h.samples * h.depth) / 8) };
  });
  return passes.filter((pass) => pass.width > 0 && pass.height > 0);
}

/** Undoes the prediction of a row in place; false for an unknown filter. */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number): boolean {
  const n = row.length;
  switch (filter) {
    case 0:
      return true;
    case 1:
      for (let i = step; i < n; i++) row[i] += row[i - step];
      return true;
    case 2:
      for (let i = 0; i < n; i++) row[i] += above[i];
      return true;
    case 3:
      for (let i = 0; i < n; i++) row[i] += ((i < step ? 0 : row[i - step]) + above[i]) >> 1;
      return true;
    case 4:
      for (let i = 0; i < n; i++) {
        const a = i < step ? 0 : row[i - step];
        const b = above[i];
        const c = i < step ? 0 : above[i - step];
        const pa = Math.abs(b - c);
        const pb = Math.abs(a - c);
        const pc = Math.abs(a + b - 2 * c);
        row[i] += pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      }
      return true;
    default:
      return false;
  }
}

/** Writes a row as RGB, `stride` bytes apart; false where a pixel is outside the palette. */
function storeRow(
  h: Header,
  palette: Uint8Array | null,
  row: Uint8Array,
  width: number,
  out: Uint8Array,
  start: number,
  stride: number,
): boolean {
  const { depth, samples } = h;
  let to = start;
  if (depth >= 8) {
    // Of 16-bit samples the first byte is the upper one.
    const bytes = depth >> 3;
    const green = samples >= 3 ? bytes : 0;
    for (let x = 0, i = 0; x < width; x++, i += samples * bytes, to += stride) {
      if (palette && h.colourType === 3) {
        if (3 * row[i] >= palette.length) return false;
        out.set(palette.subarray(3 * row[i], 3 * row[i] + 3), to);
        continue;
      }
      out[to] = row[i];
      out[to + 1] = row[i + green];
      out[to + 2] = row[i + 2 * green];
    }
    return true;
  }
  const mask = (1 << depth) - 1;
  for (let x = 0; x < width; x++, to += stride) {
    const bit = x * depth;
    const value = (row[bit >> 3] >> (8 - depth - (bit & 7))) & mask;
    if (palette && h.colourType === 3) {
      if (3 * value >= palette.length) return false;
      out.set(palette.subarray(3 * value, 3 * value + 3), to);
    } else out.fill((value * 255) / mask, to, to + 3);
  }
  return true;
}
