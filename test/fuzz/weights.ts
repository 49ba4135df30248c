/** Mutated weight files and what must hold for each: shared by the short test and the long command. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { CambiumError, Philox } from '../../src/base/index.ts';
import { memorySource } from '../../src/io/byte-source.ts';
import { parseHeader, readNpySource, readNpzSource, readTorchSource, readZipDirectory } from '../../src/io/index.ts';

export interface FuzzCounts {
  accepted: number;
  rejected: { [code: string]: number };
  /** Milliseconds of the slowest case. */
  slowest: number;
}

type Parser = (bytes: Uint8Array) => Promise<unknown>;

const golden = fileURLToPath(new URL('../golden/weights/', import.meta.url));
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(golden + name));

// The header and the bounds of a safetensors file; its data are numbers of any value.
const safetensors: Parser = async (bytes) => parseHeader(bytes.subarray(8), 'fuzz', bytes.length + 44);
const header =
  '{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},' +
  '"a.bias":{"dtype":"F16","shape":[2],"data_offsets":[24,28]},"n":{"dtype":"I64","shape":[2,1],"data_offsets":[28,44]}}';

// A changed pickle or array would stop at its CRC: repairing it lets the mutation through to the parser behind.
async function repaired(bytes: Uint8Array): Promise<Uint8Array> {
  const copy = Buffer.from(bytes);
  for (const { offset, size, method, crc } of (await readZipDirectory(memorySource(bytes))).values()) {
    const data = offset + 30 + copy.readUInt16LE(offset + 26) + copy.readUInt16LE(offset + 28);
    if (method !== 0 || data + size > copy.length) continue;
    const right = crc32(copy.subarray(data, data + size));
    const old = Buffer.alloc(4);
    old.writeUInt32LE(crc);
    const at = copy.lastIndexOf(old);
    if (right !== crc && at >= 0) copy.writeUInt32LE(right, at);
  }
  return copy;
}

const parsers: readonly [name: string, seeds: Uint8Array[], parser: Parser][] = [
  ['safetensors', [Buffer.concat([Buffer.alloc(8), Buffer.from(header)])], safetensors],
  [
    'pth',
    [read('state.pth'), read('checkpoint.pt'), read('whole-module.pt')],
    async (bytes) => readTorchSource(memorySource(await repaired(bytes))),
  ],
  ['legacy pth', [read('legacy.pth')], (bytes) => readTorchSource(memorySource(bytes))],
  [
    'npy',
    [read('fortran.npy'), read('big-endian.npy'), read('half.npy')],
    (bytes) => readNpySource(memorySource(bytes)),
  ],
  ['npz', [read('compressed.npz')], (bytes) => readNpzSource(memorySource(bytes))],
];

const INTERESTING = [0, 1, 0x7f, 0x80, 0xff, 0x28, 0x2e, 0x5d, 0x7d, 0x52, 0x62, 0x63, 0x81, 0x94];

function mutate(seed: Uint8Array, random: () => number): Uint8Array {
  const below = (n: number): number => random() % Math.max(1, n);
  let bytes = new Uint8Array(seed);
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(bytes.length);
    switch (below(7)) {
      case 0: // a bit
        bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
        break;
      case 1:
        bytes[at] = INTERESTING[below(INTERESTING.length)] as number;
        break;
      case 2: // a length or offset
        new DataView(bytes.buffer).setUint32(
          Math.min(at, Math.max(0, bytes.length - 4)),
          below(2) ? random() : below(300),
          true,
        );
        break;
      case 3: // cut
        if (bytes.length > 16) bytes = bytes.slice(0, Math.max(8, at));
        break;
      case 4: {
        const length = below(24); // removed
        bytes = concat(bytes.subarray(0, at), bytes.subarray(at + length));
        break;
      }
      case 5: {
        const from = below(seed.length); // spliced in
        bytes = concat(bytes.subarray(0, at), seed.subarray(from, from + below(48)), bytes.subarray(at));
        break;
      }
      default: {
        const digits = `${below(2) ? random() : below(100)}`; // a number in text
        bytes.set(Buffer.from(digits).subarray(0, Math.max(0, bytes.length - at)), at);
      }
    }
    if (bytes.length < 8) bytes = concat(bytes, new Uint8Array(8 - bytes.length));
  }
  return bytes;
}
function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Runs `cases` mutated files through every parser. Throws for the first that breaks a rule, with seed and case. */
export async function fuzzWeights(cases: number, seed: number): Promise<Map<string, FuzzCounts>> {
  const all = new Map<string, FuzzCounts>();
  for (const [p, [name, seeds, parser]] of parsers.entries()) {
    const words = new Philox(seed, p);
    const counts: FuzzCounts = { accepted: 0, rejected: {}, slowest: 0 };
    for (let i = 0; i < cases; i++) {
      const bytes = mutate(seeds[i % seeds.length] as Uint8Array, () => words.u32());
      const begun = performance.now();
      try {
        await parser(bytes);
        counts.accepted++;
      } catch (error) {
        const offset = error instanceof CambiumError ? error.details.offset : undefined;
        const good = error instanceof CambiumError && error.exitCode === 3;
        if (!good || (offset !== undefined && !(offset >= 0 && offset <= bytes.length + 8192)))
          throw new Error(`${name}: seed ${seed}, case ${i} broke the rules (offset ${offset})`, { cause: error });
        counts.rejected[error.code] = (counts.rejected[error.code] ?? 0) + 1;
      }
      counts.slowest = Math.max(counts.slowest, performance.now() - begun);
      if (i % 1024 === 0) {
        const { heapUsed, arrayBuffers } = process.memoryUsage();
        if (heapUsed + arrayBuffers > 1.5 * 2 ** 30) throw new Error(`${name}: memory grows (case ${i})`);
      }
    }
    all.set(name, counts);
  }
  return all;
}
