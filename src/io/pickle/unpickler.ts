import type { ByteReader } from '../bytes.ts';

/** What a pickle may ask of its surroundings. The virtual machine itself builds containers and nothing else. */
export interface PickleHost {
  /** The value a global name stands for; throws where it is not known. */
  findGlobal(module: string, name: string, offset: number): unknown;
  /** The result of calling what `findGlobal` returned. */
  call(callee: unknown, args: readonly unknown[], offset: number): unknown;
  /** A fresh object of a class that `findGlobal` returned. */
  create(type: unknown, args: readonly unknown[], offset: number): unknown;
  /** Applies pickled state to an object (Python's `__setstate__`). */
  build(target: unknown, state: unknown, offset: number): void;
  /** The object that a persistent id stands for. */
  persistentLoad(id: unknown, offset: number): unknown;
  /** True for objects, other than containers, that may be part of the result. */
  isData(value: object): boolean;
}

const MARK: unique symbol = Symbol('mark');
const MAX_INTEGER_BYTES = 1024;
const MAX_DEPTH = 500;
const MAX_WALK = 10_000_000;
// One byte can ask for a dict, which takes some hundred in memory. A tensor takes about seven objects.
const MAX_OBJECTS = 2_000_000;

/**
 * Runs one pickle (protocols 0 to 5) from the reader's position to its STOP and returns the object: `Map` for
 * dicts, arrays for lists and tuples, `Set`, `Uint8Array` for bytes, `bigint` for integers beyond 2^53.
 *
 * Nothing is imported and nothing is executed: globals and calls go through the host, which knows a short
 * list of names. Work and memory are linear in the bytes read and at most two million objects are made;
 * results that contain themselves, nest deeper than 500 or would take more than ten million steps to walk are
 * refused. Source: CPython's `pickletools`.
 */
export function unpickle(reader: ByteReader, host: PickleHost): unknown {
  return new Unpickler(reader, host).run();
}

class Unpickler {
  readonly #r: ByteReader;
  readonly #host: PickleHost;
  #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  /** Offset of the opcode being run, for errors. */
  #at = 0;
  /** Containers and other objects made so far. */
  #made = 0;

  constructor(reader: ByteReader, host: PickleHost) {
    this.#r = reader;
    this.#host = host;
  }

  run(): unknown {
    const start = this.#r.position;
    for (;;) {
      this.#at = this.#r.position;
      const code = this.#r.u8('pickle opcode');
      if (code === 0x2e) {
        const root = this.#pop();
        this.#checkWalk(root, start);
        return root;
      }
      this.#step(code);
    }
  }

  #step(code: number): void {
    const r = this.#r;
    const stack = this.#stack;
    switch (String.fromCharCode(code)) {
      case '\x80': {
        const protocol = r.u8('protocol');
        if (protocol > 5) throw this.#error('protocol', 'a protocol up to 5', String(protocol));
        return;
      }
      case '\x95':
        r.need(r.u64('frame length'), 'frame');
        return;
      case '(':
        stack.push(MARK);
        return;
      case '0':
        this.#pop();
        return;
      case '1':
        this.#popMark();
        return;
      case '2': {
        const top = this.#pop();
        stack.push(top, top);
        return;
      }
      case 'N':
        stack.push(null);
        return;
      case '\x88':
        stack.push(true);
        return;
      case '\x89':
        stack.push(false);
        return;
      case 'K':
        stack.push(r.u8('integer'));
        return;
      case 'M':
        stack.push(r.u16('integer'));
        return;
      case 'J':
        stack.push(r.i32('integer'));
        return;
      case 'I': {
        const text = r.line('integer');
        stack.push(text === '01' ? true : text === '00' ? false : this.#decimal(text));
        return;
      }
      case 'L':
        stack.push(this.#decimal(r.line('integer').replace(/L$/, '')));
        return;
      case '\x8a':
        stack.push(this.#integer(r.u8('integer length')));
        return;
      case '\x8b':
        stack.push(this.#integer(r.u32('integer length')));
        return;
      case 'G':
        stack.push(r.f64('float', false));
        return;
      case 'F':
        stack.push(this.#float(r.line('float')));
        return;
      case 'X':
        stack.push(r.text(r.u32('string length'), 'string'));
        return;
      case '\x8c':
        stack.push(r.text(r.u8('string length'), 'string'));
        return;
      case '\x8d':
        stack.push(r.text(r.u64('string length'), 'string'));
        return;
      case 'V':
        stack.push(this.#rawUnicode(r.latin1Line('string')));
        return;
      // Python 2 wrote its byte strings with these three; PyTorch reads them as UTF-8.
      case 'U':
        stack.push(r.text(r.u8('string length'), 'string'));
        return;
      case 'T':
        stack.push(r.text(r.u32('string length'), 'string'));
        return;
      case 'S':
        stack.push(this.#quoted(r.line('string')));
        return;
      case 'C':
        this.#make(r.take(r.u8('bytes length'), 'bytes').slice());
        return;
      case 'B':
        this.#make(r.take(r.u32('bytes length'), 'bytes').slice());
        return;
      case '\x8e':
      case '\x96':
        this.#make(r.take(r.u64('bytes length'), 'bytes').slice());
        return;
      case ']':
        this.#make([]);
        return;
      case '}':
        this.#make(new Map());
        return;
      case ')':
        this.#make([]);
        return;
      case '\x8f':
        this.#make(new Set());
        return;
      case 'l':
      case 't':
        this.#make(this.#popMark());
        return;
      case '\x85':
        this.#make(this.#popN(1));
        return;
      case '\x86':
        this.#make(this.#popN(2));
        return;
      case '\x87':
        this.#make(this.#popN(3));
        return;
      case 'd': {
        const items = this.#popMark();
        const map = new Map<unknown, unknown>();
        this.#setItems(map, items);
        this.#make(map);
        return;
      }
      case '\x91':
        this.#make(new Set(this.#popMark()));
        return;
      case 'a': {
        const item = this.#pop();
        this.#top(Array.isArray, 'a list').push(item);
        return;
      }
      case 'e': {
        const items = this.#popMark();
        const list = this.#top(Array.isArray, 'a list');
        for (const item of items) list.push(item);
        return;
      }
      case 's': {
        const items = this.#popN(2);
        this.#setItems(this.#top(isMap, 'a dict'), items);
        return;
      }
      case 'u': {
        const items = this.#popMark();
        this.#setItems(this.#top(isMap, 'a dict'), items);
        return;
      }
      case '\x90': {
        const items = this.#popMark();
        const set = this.#top(isSet, 'a set');
        for (const item of items) set.add(item);
        return;
      }
      case 'p':
        this.#remember(this.#index(r.line('memo index')));
        return;
      case 'q':
        this.#remember(r.u8('memo index'));
        return;
      case 'r':
        this.#remember(r.u32('memo index'));
        return;
      case '\x94':
        this.#remember(this.#memo.size);
        return;
      case 'g':
        stack.push(this.#recall(this.#index(r.line('memo index'))));
        return;
      case 'h':
        stack.push(this.#recall(r.u8('memo index')));
        return;
      case 'j':
        stack.push(this.#recall(r.u32('memo index')));
        return;
      case 'c': {
        const module = r.line('module name');
        this.#make(this.#host.findGlobal(module, r.line('global name'), this.#at));
        return;
      }
      case '\x93': {
        const [module, name] = this.#popN(2);
        if (typeof module !== 'string' || typeof name !== 'string') {
          throw this.#error('global', 'two strings', `${typeof module} and ${typeof name}`);
        }
        this.#make(this.#host.findGlobal(module, name, this.#at));
        return;
      }
      case 'R': {
        const [callee, args] = this.#popN(2);
        this.#make(this.#host.call(callee, this.#arguments(args), this.#at));
        return;
      }
      case '\x81': {
        const [type, args] = this.#popN(2);
        this.#make(this.#host.create(type, this.#arguments(args), this.#at));
        return;
      }
      case 'b': {
        const state = this.#pop();
        this.#host.build(
          this.#top((_): _ is unknown => true, 'an object'),
          state,
          this.#at,
        );
        return;
      }
      case 'P':
        this.#make(this.#host.persistentLoad(r.line('persistent id'), this.#at));
        return;
      case 'Q':
        this.#make(this.#host.persistentLoad(this.#pop(), this.#at));
        return;
      default:
        throw this.#error(
          'pickle',
          'an opcode that builds data',
          `opcode 0x${code.toString(16).padStart(2, '0')}`,
        );
    }
  }

  #error(what: string, expected: string, got: string): Error {
    return this.#r.error(what, expected, got, this.#at);
  }

  /** Pushes a fresh object. */
  #make(value: unknown): void {
    if (++this.#made > MAX_OBJECTS) throw this.#error('pickle', `at most ${MAX_OBJECTS} objects`, 'more');
    this.#stack.push(value);
  }

  #pop(): unknown {
    if (this.#stack.length === 0) throw this.#error('pickle stack', 'a value', 'an empty stack');
    const value = this.#stack.pop();
    if (value === MARK) throw this.#error('pickle stack', 'a value', 'a mark');
    return value;
  }

  #popN(n: number): unknown[] {
    const out = new Array<unknown>(n);
    for (let i = n - 1; i >= 0; i--) out[i] = this.#pop();
    return out;
  }

  #popMark(): unknown[] {
    const at = this.#stack.lastIndexOf(MARK);
    if (at < 0) throw this.#error('pickle stack', 'a mark', 'none');
    const items = this.#stack.slice(at + 1);
    this.#stack.length = at;
    return items;
  }

  #top<T>(is: (value: unknown) => value is T, expected: string): T {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK || !is(value))
      throw this.#error('pickle stack', expected, kindOf(value));
    return value;
  }

  #arguments(args: unknown): readonly unknown[] {
    if (!Array.isArray(args)) throw this.#error('arguments', 'a tuple', kindOf(args));
    return args;
  }

  #setItems(map: Map<unknown, unknown>, items: readonly unknown[]): void {
    if (items.length % 2) throw this.#error('dict', 'keys with values', 'a key without one');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key === 'object') throw this.#error('dict key', 'a string or number', kindOf(key));
      map.set(key, items[i + 1]);
    }
  }

  #remember(index: number): void {
    this.#memo.set(
      index,
      this.#top((_): _ is unknown => true, 'a value'),
    );
  }

  #recall(index: number): unknown {
    if (!this.#memo.has(index)) throw this.#error('memo', 'an index stored before', String(index));
    return this.#memo.get(index);
  }

  #index(text: string): number {
    if (!/^\d{1,10}$/.test(text)) throw this.#error('memo index', 'a number', JSON.stringify(text));
    return Number(text);
  }

  #decimal(text: string): number | bigint {
    if (!/^[+-]?\d{1,300}$/.test(text)) throw this.#error('integer', 'up to 300 digits', shorten(text));
    return narrow(BigInt(text));
  }

  #float(text: string): number {
    const special = /^([+-]?)(inf|nan)$/i.exec(text);
    if (special)
      return special[2].toLowerCase() === 'nan' ? Number.NaN : special[1] === '-' ? -Infinity : Infinity;
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
      throw this.#error('float', 'a decimal number', shorten(text));
    }
    return Number(text);
  }

  /** Little-endian two's complement. */
  #integer(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES)
      throw this.#error('integer', `up to ${MAX_INTEGER_BYTES} bytes`, `${length}`);
    const bytes = this.#r.take(length, 'integer');
    if (length === 0) return 0;
    let hex = '0x';
    for (let i = length - 1; i >= 0; i--) hex += bytes[i].toString(16).padStart(2, '0');
    return narrow(BigInt.asIntN(8 * length, BigInt(hex)));
  }

  #rawUnicode(text: string): string {
    return text.replace(/\\u([0-9a-f]{4})|\\U([0-9a-f]{8})/gi, (_, short: string, long: string) => {
      const code = Number.parseInt(short ?? long, 16);
      if (code > 0x10ffff) throw this.#error('string', 'escapes of characters', `\\U${code.toString(16)}`);
      return String.fromCodePoint(code);
    });
  }

  #quoted(text: string): string {
    const body = /^(['"])(.*)\1$/.exec(text)?.[2];
    if (body === undefined) throw this.#error('string', 'a quoted string', shorten(text));
    const plain: Record<string, string> = { n: '\n', r: '\r', t: '\t', '\\': '\\', "'": "'", '"': '"' };
    return body.replace(/\\(x[0-9a-f]{2}|.)/gi, (escape, code: string) => {
      if (code.length === 3) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
      if (!(code in plain)) throw this.#error('string', 'a known escape', escape);
      return plain[code];
    });
  }

  /** Shared containers can make a small pickle exponentially large to walk, and cycles endless. */
  #checkWalk(root: unknown, start: number): void {
    const sizes = new Map<object, number>();
    const open = new Set<object>();
    const path: { readonly node: object; readonly children: Iterator<unknown>; size: number }[] = [];
    const fail = (got: string): Error => this.#r.error('pickle', 'a tree of plain containers', got, start);
    const enter = (value: unknown): void => {
      const children = childrenOf(value);
      const parent = path.at(-1);
      if (children === null) {
        const plain = typeof value !== 'object' || value === null || this.#host.isData(value);
        if (!plain) throw fail('a class, function or bare storage');
        if (parent) parent.size++;
        return;
      }
      const node = value as object;
      const known = sizes.get(node);
      if (known !== undefined) {
        if (parent) parent.size += known;
        return;
      }
      if (open.has(node)) throw fail('a container that contains itself');
      if (path.length >= MAX_DEPTH) throw fail(`nesting deeper than ${MAX_DEPTH}`);
      open.add(node);
      path.push({ node, children, size: 1 });
    };
    enter(root);
    while (path.length > 0) {
      const here = path[path.length - 1];
      const next = here.children.next();
      if (here.size > MAX_WALK) throw fail(`more than ${MAX_WALK} items, shared ones counted each time`);
      if (!next.done) {
        enter(next.value);
        continue;
      }
      path.pop();
      open.delete(here.node);
      sizes.set(here.node, here.size);
      const parent = path.at(-1);
      if (parent) parent.size += here.size;
    }
  }
}

function childrenOf(value: unknown): Iterator<unknown> | null {
  if (Array.isArray(value)) return value.values();
  return value instanceof Map || value instanceof Set ? value.values() : null;
}

function isMap(value: unknown): value is Map<unknown, unknown> {
  return value instanceof Map;
}

function isSet(value: unknown): value is Set<unknown> {
  return value instanceof Set;
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}

/** A pickled value in a message: short ones as they are, containers by their kind (they may be endless). */
export function show(value: unknown): string {
  if (typeof value === 'string') return shorten(value);
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : kindOf(value);
}

/** What a pickled value is, for messages. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'None';
  if (value === MARK) return 'a mark';
  if (Array.isArray(value)) return 'a list or tuple';
  if (value instanceof Map) return 'a dict';
  if (value instanceof Set) return 'a set';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
