/**
 * Loading a safetensors file against reading its bytes: `npm run bench:load -- [--megabytes 500] [--rounds 7] [--file PATH]`.
 * Each measurement is a process of its own and they alternate, the file being in the page cache. Four ways: one buffer
 * filled by read(2) on one thread, which is the yardstick; `readSafetensors`; the same with its sha256; and `loadWeights` into a
 * model. Prints the least time of each with its ratio, and by how much the process grew beyond the file.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type HostArray, readSafetensors, readSafetensorsHeader, writeSafetensors } from '../src/io/index.ts';
import { loadWeights, Module } from '../src/nn/index.ts';
import { flush, type Tensor, Variable, zeros } from '../src/tensor/index.ts';

const ways: { readonly [way: string]: (path: string) => unknown } = {
  read: readWhole,
  load: (path) => readSafetensors(path),
  'load, sha256': (path) => readSafetensors(path, { sha256: true }),
  'into a model': intoModel,
};

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    megabytes: { type: 'string', default: '500' },
    rounds: { type: 'string', default: '7' },
    file: { type: 'string' },
  },
});
const [way, path] = positionals;
if (way && path) await measure(way, path);
else await compare();

function readWhole(path: string): Uint8Array {
  const file = openSync(path, 'r');
  const { size } = fstatSync(file);
  const bytes = Buffer.allocUnsafeSlow(size);
  for (let at = 0; at < size; ) at += readSync(file, bytes, at, size - at, at);
  closeSync(file);
  return bytes;
}

/** A model of the file's tensors, in the backend's own memory at the end. */
async function intoModel(path: string): Promise<Module> {
  const { entries } = await readSafetensorsHeader(path);
  class Flat extends Module {
    readonly #own = new Map([...entries].map(([name, { shape }]) => [name, new Variable(zeros(shape))]));
    override stateDict(): Map<string, Variable> {
      return this.#own;
    }
    forward(x: Tensor): Tensor {
      return x;
    }
  }
  const model = new Flat();
  await loadWeights(model, path, { print: false });
  await flush([...model.stateDict().values()].map(({ node }) => node));
  return model;
}

async function measure(way: string, path: string): Promise<void> {
  // The code is compiled and the threads of the file system are there.
  const small = `${path}.small`;
  for (let i = 0; i < 3; i++) await ways[way]?.(small);
  const before = process.memoryUsage.rss();
  const begun = performance.now();
  const kept = await ways[way]?.(path);
  const ms = performance.now() - begun;
  const peak = process.resourceUsage().maxRSS * 1024 - before;
  console.log(JSON.stringify({ ms, peak, kept: kept !== undefined }));
}

/** The shapes of a BERT encoder, until there are enough of them: a large table, matrices, and vectors between them. */
async function write(path: string, bytes: number): Promise<void> {
  const tensors: Record<string, HostArray> = {};
  let total = 0;
  const add = (name: string, ...shape: number[]): void => {
    const count = shape.reduce((a, b) => a * b, 1);
    tensors[name] = { dtype: 'f32', shape, data: Float32Array.from({ length: count }, (_, i) => i % 977) };
    total += 4 * count;
  };
  add('embeddings', Math.min(30522, Math.ceil(bytes / 16 / 768)), 768);
  for (let layer = 0; total < bytes; layer++) {
    for (const name of ['query', 'key', 'value', 'output']) {
      add(`${layer}.${name}.weight`, 768, 768);
      add(`${layer}.${name}.bias`, 768);
    }
    add(`${layer}.up`, 3072, 768);
    add(`${layer}.down`, 768, 3072);
  }
  await writeSafetensors(path, tensors);
}

async function compare(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'cambium-load-'));
  try {
    const file = options.file ?? join(dir, 'weights.safetensors');
    if (!options.file) await write(file, Number(options.megabytes) * 1e6);
    const size = statSync(file).size;
    const link = options.file ? file : join(dir, 'weights.safetensors');
    await write(`${link}.small`, 1);
    const least: Record<string, { ms: number; peak: number }> = {};
    for (let round = 0; round < Number(options.rounds); round++)
      for (const name of Object.keys(ways)) {
        const jiti = fileURLToPath(new URL('../node_modules/.bin/jiti', import.meta.url));
        const text = execFileSync(jiti, [fileURLToPath(import.meta.url), name, link], { encoding: 'utf8' });
        const { ms, peak } = JSON.parse(text);
        const best = least[name] ?? { ms, peak };
        least[name] = { ms: Math.min(best.ms, ms), peak: Math.max(best.peak, peak) };
      }
    console.log(`${(size / 1e6).toFixed(0)} MB, least of ${options.rounds}`);
    for (const [name, { ms, peak }] of Object.entries(least))
      console.log(
        `${name.padEnd(13)} ${ms.toFixed(0).padStart(5)} ms ${(ms / (least.read?.ms ?? 1)).toFixed(2)}x, ` +
          `grows by the file and ${((peak - size) / 2 ** 20).toFixed(0)} MiB at most`,
      );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
