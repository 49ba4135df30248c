/** Finds and loads the native engine, and says what it tried when there is none. The only door to the addon. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TypedArray } from '../../base/index.ts';

declare const programBrand: unique symbol;
/** A compiled program as the engine knows it; freed when collected. */
export type ProgramHandle = { readonly [programBrand]: true };

export interface NativeInfo {
  readonly isa: string;
  readonly isaAvailable: string[];
  readonly threads: number;
  /** Whether large allocations may use 2 MiB pages. */
  readonly hugePages: boolean;
  readonly version: string;
}

export interface NativeMemory {
  /** Bytes of the arena all programs share. */
  readonly arenaBytes: number;
  /** Bytes of packing and partial-sum scratch. */
  readonly scratchBytes: number;
  /** Bytes and number of live `allocate` buffers. */
  readonly allocatedBytes: number;
  readonly liveBuffers: number;
}

/** What binding/addon.cpp exports. Failures are Errors with a stable `code`. */
export interface NativeAddon {
  /** Zero-filled memory, 64-byte aligned, huge pages where they pay. */
  allocate(bytes: number): ArrayBuffer;
  /** See docs/native-program.md; throws on anything malformed. */
  createProgram(program: object): ProgramHandle;
  /** Resolves to -1, or to the `id` of the check that stopped the run. */
  run(handle: ProgramHandle, arrays: readonly TypedArray[]): Promise<number>;
  /** Threads used from the next run on; 0 restores the default. */
  setThreads(threads: number): void;
  info(): NativeInfo;
  /** Turns timing of steps on or off for all programs. */
  setProfiling(on: boolean): void;
  /** Nanoseconds per step of the last run, in the order of `steps`; empty when profiling is off. */
  profile(handle: ProgramHandle): Float64Array;
  memory(): NativeMemory;
}

export type LoadResult = { readonly addon: NativeAddon; readonly path: string } | { readonly reason: string };

let loaded: LoadResult | undefined;

/** Loads the engine once per process: CAMBIUM_ADDON, else the platform package, else this clone's build. */
export function loadAddon(): LoadResult {
  loaded ??= load();
  return loaded;
}

function load(): LoadResult {
  const require = createRequire(import.meta.url);
  const tried: string[] = [];
  const attempt = (target: string): LoadResult | undefined => {
    try {
      return { addon: require(target) as NativeAddon, path: target };
    } catch (error) {
      tried.push(`  ${target}: ${firstLine(error)}`);
      return undefined;
    }
  };

  // A path given by hand is an order: no silent fall-back to another build.
  const forced = process.env.CAMBIUM_ADDON;
  const candidates = forced
    ? [forced]
    : [`@cambium/native-${process.platform}-${process.arch}`, join(packageRoot(), 'build/native/cambium.node')];
  for (const candidate of candidates) {
    const result = attempt(candidate);
    if (result) return result;
  }
  return {
    reason:
      `no native engine for ${process.platform}-${process.arch}, Node ${process.versions.node}; tried\n` +
      `${tried.join('\n')}\n  hint: run \`npm run build:native\` (needs g++ or clang++)`,
  };
}

/** The nearest folder upwards with our package.json: the same from src/ and from dist/. */
function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && readFileSync(manifest, 'utf8').includes('"name": "cambium"')) return folder;
    if (dirname(folder) === folder) return start;
  }
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] as string;
}
