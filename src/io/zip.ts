import { ArgumentError } from '../core/errors.ts';
import { ByteReader, concatBytes } from './bytes.ts';
import { crc32 } from './crc32.ts';
import { inflateExactly } from './inflate.ts';

/** Limits of the readers of compressed files. */
export interface ArchiveOptions {
  /** Most bytes that compressed entries may grow to, together. 1 GiB where not given. */
  readonly maxInflatedBytes?: number;
  /**
   * Check the stored checksums (true). Files written with `torch.serialization.set_crc32_options(False)` need
   * false.
   */
  readonly checkCrc?: boolean;
}

/** One file inside a zip archive. */
export interface ZipEntry {
  readonly name: string;
  /** Bytes once read. */
  readonly size: number;
  /** Offset of the stored bytes in the archive. */
  readonly offset: number;
  readonly compressedSize: number;
  readonly method: number;
  readonly crc: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

/**
 * A zip archive over bytes in memory: stored and deflated entries, zip64, checksums verified. Entries that
 * overlap, leave the file, share a name or carry a path that climbs out of a folder are refused before
 * anything is read. Source: PKWARE APPNOTE 6.3.
 */
export class ZipArchive {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #reader: ByteReader;
  readonly #checkCrc: boolean;
  #inflatable: number;

  constructor(bytes: Uint8Array, file: string, fn: string, options: ArchiveOptions = {}) {
    this.#reader = new ByteReader(bytes, file, fn);
    this.#checkCrc = options.checkCrc ?? true;
    this.#inflatable = options.maxInflatedBytes ?? 2 ** 30;
    this.entries = readDirectory(this.#reader);
  }

  /** The bytes of an entry: a window on the archive where it is stored, a fresh array where it was deflated. */
  read(name: string): Uint8Array {
    const entry = this.entries.get(name);
    if (!entry) throw this.#reader.error('entry', `an entry named ${name}`, 'none', 0);
    const { offset, size, method } = entry;
    const raw = this.#reader.bytes.subarray(offset, offset + entry.compressedSize);
    const data = method === 0 ? raw : this.#inflate(entry, raw);
    if (this.#checkCrc && crc32(data) !== entry.crc) {
      throw this.#reader.error(
        `entry ${name}`,
        `checksum ${entry.crc.toString(16)}`,
        crc32(data).toString(16),
        offset,
        'The file is damaged; fetch it again.',
      );
    }
    if (data.length !== size)
      throw this.#reader.error(`entry ${name}`, `${size} bytes`, `${data.length}`, offset);
    return data;
  }

  #inflate(entry: ZipEntry, raw: Uint8Array): Uint8Array {
    const { name, size, offset } = entry;
    if (size > this.#inflatable) {
      throw this.#reader.error(
        `entry ${name}`,
        'entries within maxInflatedBytes',
        `${size} more bytes where ${this.#inflatable} are left`,
        offset,
        'Raise maxInflatedBytes if you trust the file.',
      );
    }
    this.#inflatable -= size;
    return inflateExactly(raw, size, 'deflate', (expected, got) =>
      this.#reader.error(`entry ${name}`, expected, got, offset),
    );
  }
}

/** True where the bytes start like a zip archive. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x50 && bytes[1] === 0x4b && (bytes[2] === 3 || bytes[2] === 5);
}

function readDirectory(r: ByteReader): Map<string, ZipEntry> {
  const { count, offset, size, end } = findDirectory(r);
  if (offset + size > end || count * 46 > size) {
    throw r.error(
      'directory',
      `${count} entries inside the file`,
      `${size} bytes from ${offset} where ${end} end it`,
      end,
    );
  }
  r.seek(offset, 'directory');
  const entries = new Map<string, ZipEntry>();
  for (let i = 0; i < count; i++) {
    const at = r.position;
    const entry = readEntry(r);
    if (r.position > offset + size)
      throw r.error('directory entry', 'an end within the directory', `${r.position}`, at);
    if (entries.has(entry.name)) throw r.error('directory entry', 'each name once', entry.name, at);
    entries.set(entry.name, entry);
  }
  const located = new Map<string, ZipEntry>();
  for (const entry of entries.values())
    located.set(entry.name, { ...entry, offset: locateData(r, entry, offset) });
  checkOverlaps(r, entries, located);
  return located;
}

interface Directory {
  readonly count: number;
  readonly offset: number;
  readonly size: number;
  /** Where the directory must have ended. */
  readonly end: number;
}

function findDirectory(r: ByteReader): Directory {
  const lowest = Math.max(0, r.length - 22 - 65535);
  let end = r.length - 22;
  for (; end >= lowest; end--) {
    r.seek(end, 'end of directory');
    if (r.u32('end of directory') !== END) continue;
    r.seek(end + 20, 'end of directory');
    if (end + 22 + r.u16('comment length') === r.length) break;
  }
  if (end < lowest)
    throw r.error('archive', 'a zip directory at the end', 'none: the file is cut off or no zip', r.length);
  r.seek(end + 4, 'end of directory');
  const disk = r.u32('disk numbers');
  const here = r.u16('entries on this disk');
  const count = r.u16('entries');
  const size = r.u32('directory size');
  const offset = r.u32('directory offset');
  if (count === 0xffff || size === 0xffffffff || offset === 0xffffffff) return findDirectory64(r, end);
  if (disk !== 0 || here !== count)
    throw r.error('archive', 'one part', 'one of several that belong together', end);
  return { count, offset, size, end };
}

function findDirectory64(r: ByteReader, end: number): Directory {
  r.seek(end - 20, 'zip64 locator');
  if (r.u32('zip64 locator') !== LOCATOR64)
    throw r.error('zip64 locator', 'its signature', 'other bytes', end - 20);
  r.u32('disk number');
  const at = r.u64('zip64 directory offset');
  r.seek(at, 'zip64 end of directory');
  if (r.u32('zip64 end of directory') !== END64)
    throw r.error('zip64 directory', 'its signature', 'other bytes', at);
  r.take(20, 'zip64 end of directory');
  r.u64('entries on this disk');
  const count = r.u64('entries');
  const size = r.u64('directory size');
  return { count, size, offset: r.u64('directory offset'), end: at };
}

function readEntry(r: ByteReader): ZipEntry {
  const at = r.position;
  if (r.u32('directory entry') !== CENTRAL)
    throw r.error('directory entry', 'its signature', 'other bytes', at);
  r.u32('versions');
  const flags = r.u16('flags');
  const method = r.u16('method');
  r.u32('time');
  const crc = r.u32('checksum');
  let compressedSize = r.u32('compressed size');
  let size = r.u32('size');
  const nameLength = r.u16('name length');
  const extraLength = r.u16('extra length');
  const commentLength = r.u16('comment length');
  r.take(8, 'attributes');
  let offset = r.u32('offset');
  const name = checkName(r, r.text(nameLength, 'entry name'), at);
  const extraEnd = r.position + extraLength;
  r.need(extraLength + commentLength, 'entry extra');
  while (r.position + 4 <= extraEnd) {
    const id = r.u16('extra field');
    const length = r.u16('extra length');
    const next = r.position + length;
    if (next > extraEnd)
      throw r.error(`entry ${name}`, 'extra fields of the stated length', `one to ${next}`, at);
    if (id === 1) {
      if (size === 0xffffffff) size = r.u64('zip64 size');
      if (compressedSize === 0xffffffff) compressedSize = r.u64('zip64 compressed size');
      if (offset === 0xffffffff) offset = r.u64('zip64 offset');
      if (r.position > next)
        throw r.error(`entry ${name}`, 'a zip64 field of the stated length', 'a shorter one', at);
    }
    r.position = next;
  }
  r.position = extraEnd + commentLength;
  if (flags & 0x2041) throw r.error(`entry ${name}`, 'an unencrypted entry', 'an encrypted one', at);
  if (method !== 0 && method !== 8)
    throw r.error(`entry ${name}`, 'stored or deflated bytes', `method ${method}`, at);
  if (method === 0 && size !== compressedSize) {
    throw r.error(`entry ${name}`, 'equal sizes for stored bytes', `${compressedSize} and ${size}`, at);
  }
  return { name, size, compressedSize, method, crc, offset };
}

function checkName(r: ByteReader, name: string, at: number): string {
  const bad =
    name === '' ||
    name.startsWith('/') ||
    name.includes('\\') ||
    name.includes('\0') ||
    /^[a-z]:/i.test(name) ||
    name.split('/').some((part) => part === '..');
  if (bad) throw r.error('entry name', 'a relative path that stays in its folder', JSON.stringify(name), at);
  return name;
}

/** Follows the local header to the bytes of an entry. */
function locateData(r: ByteReader, entry: ZipEntry, directory: number): number {
  r.seek(entry.offset, `entry ${entry.name}`);
  if (r.u32('local header') !== LOCAL)
    throw r.error(`entry ${entry.name}`, 'a local header', 'other bytes', entry.offset);
  r.take(22, 'local header');
  const nameLength = r.u16('name length');
  const extraLength = r.u16('extra length');
  const name = r.text(nameLength, 'local name');
  if (name !== entry.name)
    throw r.error(`entry ${entry.name}`, 'the same name in its local header', name, entry.offset);
  r.take(extraLength, 'local extra');
  if (r.position + entry.compressedSize > directory) {
    throw r.error(
      `entry ${entry.name}`,
      `${entry.compressedSize} bytes before the directory`,
      `${directory - r.position}`,
      r.position,
    );
  }
  return r.position;
}

function checkOverlaps(
  r: ByteReader,
  headers: ReadonlyMap<string, ZipEntry>,
  located: ReadonlyMap<string, ZipEntry>,
): void {
  const spans = [...located.values()].map((e) => ({
    name: e.name,
    start: headers.get(e.name)!.offset,
    end: e.offset + e.compressedSize,
  }));
  spans.sort((a, b) => a.start - b.start);
  for (let i = 1; i < spans.length; i++) {
    if (spans[i].start < spans[i - 1].end) {
      throw r.error(
        `entry ${spans[i].name}`,
        `bytes of its own`,
        `bytes shared with ${spans[i - 1].name}`,
        spans[i].start,
      );
    }
  }
}

/** A file for {@link writeZip}; already deflated bytes carry the size and checksum of what they inflate to. */
export interface ZipFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly deflated?: { readonly size: number; readonly crc: number };
}

/**
 * Writes a zip archive. Data starts at multiples of `align` bytes (padding sits in a private extra field, as
 * PyTorch does it), so that readers can map it. Times are fixed: the same input gives the same bytes.
 */
export function writeZip(files: readonly ZipFile[], align = 1, fn = 'writeZip'): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, bytes, deflated } of files) {
    const label = new TextEncoder().encode(name);
    const start = at + 30 + label.length;
    // An extra field has a header of four bytes, so less padding than that cannot be expressed.
    const gap = start % align === 0 ? 0 : (align - ((start + 4) % align)) % align;
    const extra = new Uint8Array(start % align === 0 ? 0 : gap + 4);
    if (extra.length) new DataView(extra.buffer).setUint32(0, 0x4246 | (gap << 16), true);
    const common = header([
      [2, 20],
      [2, 0x0800],
      [2, deflated ? 8 : 0],
      [2, 0],
      [2, 0x21],
      [4, deflated ? deflated.crc : crc32(bytes)],
      [4, bytes.length],
      [4, deflated ? deflated.size : bytes.length],
      [2, label.length],
    ]);
    parts.push(header([[4, LOCAL]]), common, header([[2, extra.length]]), label, extra, bytes);
    directory.push(
      header([
        [4, CENTRAL],
        [2, 20],
      ]),
      common,
      header([
        [2, 0],
        [2, 0],
        [2, 0],
        [2, 0],
        [4, 0],
        [4, at],
      ]),
      label,
    );
    at = start + extra.length + bytes.length;
  }
  const central = concatBytes(directory);
  if (at + central.length > 0xfffffffe || files.length >= 0xffff) {
    throw new ArgumentError({
      fn,
      argument: 'contents',
      expected: 'less than 4 GiB in fewer than 65535 entries',
      got: `${at} bytes in ${files.length} entries`,
      fix: 'Use safetensors for larger models.',
    });
  }
  const end = header([
    [4, END],
    [4, 0],
    [2, files.length],
    [2, files.length],
    [4, central.length],
    [4, at],
    [2, 0],
  ]);
  return concatBytes([...parts, central, end]);
}

function header(fields: readonly (readonly [bytes: 2 | 4, value: number])[]): Uint8Array {
  const out = new Uint8Array(fields.reduce((n, [size]) => n + size, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return out;
}
