/**
 * Strict JSON for untrusted files: line and column in every error, a depth limit (JSON.parse takes a million levels,
 * which then overflow the stack elsewhere), no `__proto__` keys, no duplicate keys, no numbers beyond a double.
 */
import { DataError, printable } from '../base/errors.ts';
import { type WrittenFile, writeFileAtomic } from './atomic.ts';
import { decodablePrefix } from './decodable.ts';
import { readFileBytes } from './failure.ts';

export interface JsonOptions {
  /** Path for error messages. */
  file?: string;
  /** Nesting allowed; 64 unless told. */
  maxDepth?: number;
  /** Byte offset of the text in `file`, where it is embedded in a larger file. */
  baseOffset?: number;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** @throws DataError JSON_INVALID (or JSON_DEPTH, JSON_KEY) with line, column and byte offset. */
export function parseJson(text: string, options: JsonOptions = {}): Json {
  return new Parser(text, options).document();
}

/** Text of UTF-8 bytes. @throws DataError UTF8_INVALID with the offset of the first bad byte. */
export function decodeUtf8(bytes: Uint8Array, file?: string, baseOffset = 0): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    const offset = baseOffset + Math.min(decodablePrefix(bytes), Math.max(0, bytes.length - 1));
    throw new DataError('UTF8_INVALID', `${where(file)}expected UTF-8 text, found an invalid byte at ${offset}`, {
      file,
      offset,
      expected: 'UTF-8 text',
      got: `byte 0x${(bytes[offset - baseOffset] ?? 0).toString(16).padStart(2, '0')}`,
      cause,
    });
  }
}

/** Reads a JSON file of at most `maxBytes` (64 MiB). */
export async function readJson(path: string, { maxBytes = 2 ** 26, maxDepth = 64 } = {}): Promise<Json> {
  return parseJson(decodeUtf8(await readFileBytes(path, { maxBytes }), path), { file: path, maxDepth });
}

/** Writes `value` as indented JSON, atomically. */
export function writeJson(path: string, value: unknown): Promise<WrittenFile> {
  return writeFileAtomic(path, `${JSON.stringify(value, null, 2)}\n`);
}

const where = (file: string | undefined): string => (file === undefined ? '' : `${printable(file)}: `);

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const escapes: { readonly [c: string]: string } = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

class Parser {
  readonly #text: string;
  readonly #options: JsonOptions;
  readonly #maxDepth: number;
  #at = 0;

  constructor(text: string, options: JsonOptions) {
    this.#text = text;
    this.#options = options;
    this.#maxDepth = options.maxDepth ?? 64;
  }

  document(): Json {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('the end of the text');
    return value;
  }

  #value(depth: number): Json {
    this.#space();
    const text = this.#text;
    switch (text[this.#at]) {
      case '{':
        return this.#object(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
    }
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(text);
    if (!match) this.#fail('a JSON value');
    const value = Number(match[0]);
    if (!Number.isFinite(value)) this.#fail('a number a double can hold');
    this.#at = NUMBER.lastIndex;
    return value;
  }

  #object(depth: number): Json {
    this.#deeper(depth);
    const object: { [key: string]: Json } = {};
    this.#at++;
    this.#space();
    if (this.#take('}')) return object;
    do {
      this.#space();
      const start = this.#at;
      if (this.#text[start] !== '"') this.#fail('a key in double quotes');
      const key = this.#string();
      if (key === '__proto__' || Object.hasOwn(object, key)) {
        this.#at = start;
        this.#fail(
          key === '__proto__' ? 'a key other than "__proto__"' : 'a key used once',
          'JSON_KEY',
          printable(key),
        );
      }
      this.#space();
      if (!this.#take(':')) this.#fail('":"');
      object[key] = this.#value(depth);
      this.#space();
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('"," or "}"');
    return object;
  }

  #array(depth: number): Json {
    this.#deeper(depth);
    const array: Json[] = [];
    this.#at++;
    this.#space();
    if (this.#take(']')) return array;
    do {
      array.push(this.#value(depth));
      this.#space();
    } while (this.#take(','));
    if (!this.#take(']')) this.#fail('"," or "]"');
    return array;
  }

  #string(): string {
    const text = this.#text;
    let from = ++this.#at;
    let out = '';
    for (;;) {
      const code = text.charCodeAt(this.#at);
      if (code === 34) {
        out += text.slice(from, this.#at++);
        return out;
      }
      if (Number.isNaN(code) || code < 32) this.#fail('the end of a string');
      if (code !== 92) {
        this.#at++;
        continue;
      }
      out += text.slice(from, this.#at++);
      const escape = text[this.#at] ?? '';
      if (escape === 'u') {
        const hex = text.slice(this.#at + 1, this.#at + 5);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.#fail('four hexadecimal digits');
        out += String.fromCharCode(Number.parseInt(hex, 16));
        this.#at += 5;
      } else {
        const plain = escapes[escape];
        if (plain === undefined) this.#fail('an escape such as \\n');
        out += plain;
        this.#at++;
      }
      from = this.#at;
    }
  }

  #word<T extends Json>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail('a JSON value');
    this.#at += word.length;
    return value;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
      this.#at++;
    }
  }

  #take(c: string): boolean {
    if (this.#text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #deeper(depth: number): void {
    if (depth > this.#maxDepth) this.#fail(`at most ${this.#maxDepth} levels of nesting`, 'JSON_DEPTH');
  }

  #fail(expected: string, code = 'JSON_INVALID', got?: string): never {
    const before = this.#text.slice(0, this.#at);
    const line = before.split('\n').length;
    const column = this.#at - before.lastIndexOf('\n');
    const found =
      got ??
      (this.#at < this.#text.length
        ? printable(String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0))
        : 'the end of the text');
    const { file, baseOffset = 0 } = this.#options;
    throw new DataError(code, `${where(file)}line ${line}, column ${column}: expected ${expected}, found ${found}`, {
      file,
      line,
      column,
      offset: baseOffset + Buffer.byteLength(before),
      expected,
      got: found,
    });
  }
}
