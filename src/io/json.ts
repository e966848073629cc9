import type { ByteReader } from './bytes.ts';

/** A parsed JSON value. Objects are maps, so that keys such as `__proto__` or `1` are keys like any other. */
export type Json = null | boolean | number | string | Json[] | Map<string, Json>;

/** A parsed value in a message. */
export function showJson(value: Json | undefined): string {
  if (value === undefined) return 'nothing';
  return value instanceof Map ? 'an object' : JSON.stringify(value);
}

const MAX_DEPTH = 64;
const DIGIT = /^\d/;
const NUMBER = /-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const SPACE = /[ \t\r\n]*/y;

/** Every string, with the colon behind it where it is a key. In valid JSON quotes stand nowhere else. */
const STRINGS = /"[^"\\]*(?:\\.[^"\\]*)*"\s*:?/gs;

/**
 * Parses `length` bytes of JSON strictly: `JSON.parse` keeps the last of two equal keys, and two readers that
 * disagree on which one counts are how headers lie. Source: RFC 8259.
 */
export function readJson(reader: ByteReader, length: number, what: string): Json {
  const start = reader.position;
  const text = reader.text(length, what);
  return readClean(text) ?? new JsonParser(reader, start, text, what).parse();
}

/**
 * What `JSON.parse` makes of text in which nothing is wrong, several times as fast as a parser in JavaScript that runs for the
 * first time. Null where it takes a parser to say what is wrong, or to keep the order of keys that are numbers.
 */
function readClean(text: string): Json {
  let keys = 0;
  const mapped = (value: unknown, depth: number): Json => {
    if (depth > MAX_DEPTH) throw new RangeError('too deep');
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++)
        if (typeof value[i] === 'object') value[i] = mapped(value[i], depth + 1);
      return value;
    }
    if (typeof value !== 'object' || value === null) return value as Json;
    const out = new Map<string, Json>();
    for (const [key, item] of Object.entries(value)) {
      if (DIGIT.test(key)) throw new RangeError('a key whose place is lost');
      out.set(key, mapped(item, depth + 1));
    }
    keys += out.size;
    return out;
  };
  try {
    const value = mapped(JSON.parse(text), 0);
    let written = 0;
    for (const string of text.match(STRINGS) ?? []) if (string.endsWith(':')) written++;
    return written === keys ? value : null;
  } catch {
    return null;
  }
}

class JsonParser {
  readonly #reader: ByteReader;
  readonly #start: number;
  readonly #text: string;
  readonly #what: string;
  #at = 0;

  constructor(reader: ByteReader, start: number, text: string, what: string) {
    this.#reader = reader;
    this.#start = start;
    this.#text = text;
    this.#what = what;
  }

  parse(): Json {
    const value = this.#value(0);
    this.#match(SPACE);
    if (this.#at < this.#text.length) throw this.#error('the end');
    return value;
  }

  #value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.#error(`at most ${MAX_DEPTH} levels`);
    this.#match(SPACE);
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return Number(this.#match(NUMBER) || this.#fail('a value'));
    }
  }

  #object(depth: number): Json {
    const out = new Map<string, Json>();
    this.#at++;
    if (this.#take('}')) return out;
    do {
      this.#match(SPACE);
      const at = this.#at;
      const key = this.#string();
      if (out.has(key)) throw this.#error('each key once', at);
      if (!this.#take(':')) throw this.#error('a colon');
      out.set(key, this.#value(depth + 1));
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#error('a comma or a closing brace');
    return out;
  }

  #array(depth: number): Json {
    const out: Json[] = [];
    this.#at++;
    if (this.#take(']')) return out;
    do out.push(this.#value(depth + 1));
    while (this.#take(','));
    if (!this.#take(']')) throw this.#error('a comma or a closing bracket');
    return out;
  }

  #string(): string {
    const text = this.#text;
    const start = this.#at;
    if (text[start] !== '"') throw this.#error('a string');
    let end = start + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    this.#at = end + 1;
    try {
      return JSON.parse(text.slice(start, end + 1)) as string;
    } catch {
      throw this.#error('a string', start);
    }
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error('a value');
    this.#at += word.length;
    return value;
  }

  /** Consumes a mark after optional space. */
  #take(mark: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #fail(expected: string): never {
    throw this.#error(expected);
  }

  #error(expected: string, at: number = this.#at): Error {
    const got = at < this.#text.length ? JSON.stringify(this.#text.slice(at, at + 20)) : 'the end';
    const offset = this.#start + new TextEncoder().encode(this.#text.slice(0, at)).length;
    return this.#reader.error(this.#what, expected, got, offset);
  }
}
