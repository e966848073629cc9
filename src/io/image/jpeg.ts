import { isNode } from '../../core/environment.ts';
import { FileFormatError } from '../../core/errors.ts';
import { ByteReader } from '../bytes.ts';
import { DEFAULT_MAX_PIXELS, type ImageReadOptions, type RgbImage } from './image.ts';

const FN = 'decodeImage';
// A block of 8 × 8 pixels takes at least one bit of Huffman code, so a file cannot hold more pixels a byte
// than this.
const MAX_PIXELS_PER_BYTE = 512;
// Each scan passes over the whole image; encoders use about ten.
const MAX_SCANS = 100;
const KEEP_BYTES = 64 * 1024 * 1024;

/** What this file uses of the MozJPEG codec, which takes wasm from `@jsquash/jpeg`. */
interface Codec {
  decode(data: Uint8Array, preserveOrientation: boolean): { data: Uint8ClampedArray } | null;
  readonly HEAPU8?: Uint8Array;
}
type CodecFactory = (options: Record<string, unknown>) => Promise<Codec>;

let compiled: Promise<WebAssembly.Module> | undefined;
let ready: Promise<Codec> | undefined;

/** True where the bytes start like a JPEG. */
export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** Decodes a JPEG; see `decodeImage`. */
export async function decodeJpeg(bytes: Uint8Array, options: ImageReadOptions = {}): Promise<RgbImage> {
  const r = new ByteReader(bytes, options.file ?? '(bytes)', FN);
  const { width, height } = readJpegHeader(r, options.maxPixels ?? DEFAULT_MAX_PIXELS);
  ready ??= instantiate();
  const codec = await ready;
  let rgba: Uint8ClampedArray;
  try {
    const image = withImageData(() => codec.decode(bytes, false));
    if (image === null || image.data.length !== width * height * 4)
      throw new Error('no image of the stated size');
    rgba = image.data;
  } catch (cause) {
    // The codec ends its instance on a fatal error; the next image gets a new one.
    ready = undefined;
    throw new FileFormatError(
      {
        fn: FN,
        file: r.file,
        offset: 0,
        argument: 'JPEG data',
        expected: 'data that decodes',
        got: cause instanceof Error ? cause.message : 'data that the decoder gave up on',
      },
      { cause },
    );
  }
  // wasm memory never shrinks: an instance that one huge image made large is let go.
  if ((codec.HEAPU8?.length ?? 0) > KEEP_BYTES) ready = undefined;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, j = 0; i < data.length; i += 3, j += 4) {
    data[i] = rgba[j];
    data[i + 1] = rgba[j + 1];
    data[i + 2] = rgba[j + 2];
  }
  return { data, width, height };
}

/**
 * Walks all markers up to the end of the image. The decoder alone would fill a cut-off image with grey and
 * allocate whatever the header claims.
 */
function readJpegHeader(
  r: ByteReader,
  maxPixels: number,
): { readonly width: number; readonly height: number } {
  let size: { readonly width: number; readonly height: number } | null = null;
  let scans = 0;
  r.seek(2, 'marker');
  for (;;) {
    const at = r.position;
    let marker = r.u8('marker');
    if (marker !== 0xff) throw r.error('JPEG marker', 'a marker', `0x${marker.toString(16)}`, at);
    while (marker === 0xff) marker = r.u8('marker');
    if (marker === 0xd9) break;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    const start = r.position;
    const length = r.u16('segment length', false);
    if (length < 2) throw r.error('JPEG segment', 'a length of two or more', String(length), start);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (size) throw r.error('JPEG frame', 'one frame', 'a second one', at);
      size = readFrame(r, marker, maxPixels);
    }
    r.seek(start, 'segment');
    r.take(length, 'JPEG segment');
    if (marker === 0xda) {
      if (!size) throw r.error('JPEG scan', 'a frame header before it', 'none', at);
      if (++scans > MAX_SCANS) throw r.error('JPEG scan', `at most ${MAX_SCANS}`, 'more', at);
      skipEntropyCoded(r);
    }
  }
  if (!size || scans === 0) throw r.error('JPEG', 'an image', 'none before the end marker');
  return size;
}

function readFrame(
  r: ByteReader,
  marker: number,
  maxPixels: number,
): { readonly width: number; readonly height: number } {
  const at = r.position;
  if (marker > 0xc2) {
    throw r.error(
      'JPEG frame',
      'baseline or progressive Huffman coding',
      `coding 0x${marker.toString(16)}`,
      at,
    );
  }
  const precision = r.u8('precision');
  const height = r.u16('height', false);
  const width = r.u16('width', false);
  const components = r.u8('components');
  if (precision !== 8) throw r.error('JPEG frame', '8 bits a sample', String(precision), at);
  if (components !== 1 && components !== 3) {
    throw r.error(
      'JPEG frame',
      'grey or three colours',
      `${components} components`,
      at,
      'Convert it to RGB first.',
    );
  }
  const pixels = width * height;
  if (pixels === 0) throw r.error('JPEG frame', 'a size', `${width} × ${height}`, at);
  if (pixels > maxPixels)
    throw r.error('JPEG frame', `at most ${maxPixels} pixels`, `${width} × ${height}`, at);
  if (pixels > r.length * MAX_PIXELS_PER_BYTE) {
    throw r.error('JPEG frame', `a size that ${r.length} bytes can hold`, `${width} × ${height}`, at);
  }
  return { width, height };
}

/** Moves to the next marker that is not part of the coded data. */
function skipEntropyCoded(r: ByteReader): void {
  const { bytes } = r;
  let at = r.position;
  for (;;) {
    at = bytes.indexOf(0xff, at);
    if (at < 0 || at + 1 >= bytes.length) {
      throw r.error('JPEG scan', 'an end marker', 'the end of the file: the image is cut off', bytes.length);
    }
    const next = bytes[at + 1];
    if (next === 0xff) at += 1;
    else if (next === 0 || (next >= 0xd0 && next <= 0xd7)) at += 2;
    else break;
  }
  r.position = at;
}

async function instantiate(): Promise<Codec> {
  const { default: factory } = (await import('@jsquash/jpeg/codec/dec/mozjpeg_dec.js')) as unknown as {
    default: CodecFactory;
  };
  const options: Record<string, unknown> = {
    noInitialRun: true,
    // Warnings of the codec are about pixels it has filled in; errors come back as exceptions.
    print: () => {},
    printErr: () => {},
  };
  // In browsers the codec fetches its wasm from beside its script; Node has to be handed it.
  if (isNode) {
    compiled ??= compileFromDisk();
    const module = await compiled;
    options.instantiateWasm = (imports: WebAssembly.Imports, done: (i: WebAssembly.Instance) => void) => {
      const instance = new WebAssembly.Instance(module, imports);
      done(instance);
      return instance.exports;
    };
  }
  return withImageData(() => factory(options));
}

class ImageDataStandIn {
  readonly data: Uint8ClampedArray;
  readonly width: number;
  readonly height: number;

  constructor(data: Uint8ClampedArray, width: number, height: number) {
    this.data = data;
    this.width = width;
    this.height = height;
  }
}

/**
 * The codec hands out a global `ImageData`, which only browsers have, and would leave a stand-in on the
 * global object, which other libraries would take for a browser's. This one is there for the length of a
 * call.
 */
function withImageData<T>(run: () => T): T {
  if ('ImageData' in globalThis) return run();
  Object.assign(globalThis, { ImageData: ImageDataStandIn });
  try {
    return run();
  } finally {
    Reflect.deleteProperty(globalThis, 'ImageData');
  }
}

async function compileFromDisk(): Promise<WebAssembly.Module> {
  const { createRequire } = process.getBuiltinModule('node:module');
  const fs = process.getBuiltinModule('node:fs/promises');
  const path = createRequire(import.meta.url).resolve('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm');
  return WebAssembly.compile(await fs.readFile(path));
}
