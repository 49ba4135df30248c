/** Changes to bytes and to JSON text, drawn from a seeded stream: the same seed and case always give the same file. */
import { Philox } from '../../src/base/index.ts';

export class Random {
  readonly #words: Philox;
  constructor(seed: number, stream: number) {
    this.#words = new Philox(seed, stream);
  }
  u32(): number {
    return this.#words.u32();
  }
  /** Below n; 0 for n = 0. The bias of the remainder does not matter here. */
  below(n: number): number {
    return this.#words.u32() % Math.max(1, n);
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }
}

const INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x22, 0x27, 0x28, 0x2c, 0x2e, 0x5d, 0x7d];
/** Lengths and counts at which arithmetic goes wrong. */
const SIZES = [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 0x10000, 0xffff];

/** One to four edits: bits, bytes, 16-, 32- and 64-bit lengths, cuts, removals, splices, repeats, numbers in text. */
export function mutateBytes(seed: Uint8Array, random: Random, from = 0): Uint8Array<ArrayBuffer> {
  let bytes = new Uint8Array(seed);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const at = Math.min(bytes.length, from + random.below(bytes.length - from));
    switch (random.below(9)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.pick(INTERESTING);
        break;
      case 2:
      case 3:
        writeLength(bytes, at, random);
        break;
      case 4:
        bytes = bytes.slice(0, at);
        break;
      case 5:
        bytes = concat(bytes.subarray(0, at), bytes.subarray(at + random.below(24)));
        break;
      case 6: {
        const start = random.below(seed.length);
        bytes = concat(bytes.subarray(0, at), seed.subarray(start, start + random.below(48)), bytes.subarray(at));
        break;
      }
      case 7: {
        const block = bytes.subarray(at, at + 1 + random.below(16));
        const times = random.below(40);
        bytes = concat(bytes.subarray(0, at), ...Array<Uint8Array>(times).fill(block), bytes.subarray(at));
        break;
      }
      default: {
        const digits = Buffer.from(`${random.chance(2) ? random.u32() : random.below(100)}`);
        bytes.set(digits.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
      }
    }
  }
  return bytes;
}

function writeLength(bytes: Uint8Array<ArrayBuffer>, at: number, random: Random): void {
  const width = random.pick([2, 4, 8]);
  if (bytes.length < width) return;
  const view = new DataView(bytes.buffer);
  const place = Math.min(at, bytes.length - width);
  const value = random.chance(2) ? random.pick(SIZES) : random.below(300);
  const little = !random.chance(4);
  if (width === 2) view.setUint16(place, value & 0xffff, little);
  else if (width === 4) view.setUint32(place, value >>> 0, little);
  else view.setBigUint64(place, random.chance(4) ? 2n ** 63n + BigInt(value) : BigInt(value), little);
}

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/gsu;
const VALUES = [
  '0',
  '-1',
  '1.5',
  '1e400',
  '-0',
  '9007199254740993',
  '4294967296',
  '18446744073709551616',
  'null',
  'true',
  '[]',
  '{}',
  '""',
  '"__proto__"',
  '"constructor"',
  '"\\ud800"',
  '"\\u0000\\u202e"',
  '"../x"',
  '[[[[[[[[]]]]]]]]',
  '[0,0]',
  '[1,2,3]',
];

/** As `mutateTokens`, or in two of three cases edits that leave it JSON: values and keys replaced, removed, copied. */
export function mutateJson(text: string, random: Random): string {
  if (random.chance(3)) return mutateTokens(text, random);
  const root = { it: JSON.parse(text) };
  for (let edits = 1 + random.below(2); edits > 0; edits--) {
    const places = placesOf(root);
    const [holder, key] = random.pick(places);
    const [other, otherKey] = random.pick(places);
    const value = holder[key];
    switch (random.below(5)) {
      case 0:
        holder[key] = JSON.parse(random.pick(VALUES.filter((v) => !v.includes('__proto__'))));
        break;
      case 1:
        if (holder !== root) delete holder[key];
        break;
      case 2:
        holder[key] = structuredClone(other[otherKey]);
        break;
      case 3:
        holder[random.pick(['constructor', 'x', '', 'a.weight', 'shape', 'type'])] = structuredClone(value);
        break;
      default:
        if (typeof value === 'number') holder[key] = value + random.pick([-1, 1, 4, -4, 8, 0.5, 2 ** 31, 2 ** 53]);
        else if (Array.isArray(value)) value.push(...structuredClone(value));
    }
  }
  // A hole of a list that lost an element is null, as if it had been replaced.
  return JSON.stringify(root.it) ?? 'null';
}

type Holder = { [key: string]: unknown };
function placesOf(holder: Holder, places: [Holder, string][] = []): [Holder, string][] {
  for (const [key, value] of Object.entries(holder)) {
    places.push([holder, key]);
    if (typeof value === 'object' && value !== null && places.length < 5000) placesOf(value as Holder, places);
  }
  return places;
}

/** One to three tokens of a JSON text replaced, removed, doubled or exchanged. */
function mutateTokens(text: string, random: Random): string {
  const parts = tokensOf(text);
  for (let edits = 1 + random.below(3); edits > 0; edits--) {
    const at = random.below(parts.length);
    switch (random.below(6)) {
      case 0:
      case 1:
        parts[at] = random.pick(VALUES);
        break;
      case 2:
        parts.splice(at, 1 + random.below(12));
        break;
      case 3: {
        const length = 1 + random.below(14);
        parts.splice(at, 0, ...parts.slice(at, at + length));
        break;
      }
      case 4: {
        const other = random.below(parts.length);
        [parts[at], parts[other]] = [parts[other] ?? '', parts[at] ?? ''];
        break;
      }
      default:
        parts[at] = random.chance(8) ? '['.repeat(random.below(3000)) : `${random.below(300)}`;
    }
  }
  return parts.join('');
}

const tokenized = new Map<string, string[]>();
function tokensOf(text: string): string[] {
  let tokens = tokenized.get(text);
  if (!tokens) {
    tokens = text.match(TOKEN) ?? [];
    tokenized.set(text, tokens);
  }
  return [...tokens];
}
