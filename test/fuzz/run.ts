/** What must hold for every mutated file: read, or refused by a typed error, in little time and memory. */
import { setImmediate as tick } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { CambiumError, InternalError } from '../../src/base/index.ts';
import { Random } from './mutate.ts';
import type { FuzzTarget } from './targets.ts';

export interface FuzzCounts {
  accepted: number;
  rejected: { [code: string]: number };
  /** Milliseconds of the slowest case, and which it was. */
  slowest: number;
  slowestCase: number;
  /** Most bytes a case took above those of its file, garbage included. */
  largest: number;
  largestCase: number;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly from?: number;
  readonly count: number;
  /** Milliseconds a case may take. */
  readonly timeLimit?: number;
  /** Called with the number of each case before it begins. */
  readonly onCase?: (index: number) => void;
}

/** Bytes a case may take beside two times its file. */
const MEMORY = 64 * 2 ** 20;

const allocated = (): number => {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
};

/** Runs cases `from` to `from + count`. Throws for the first that breaks a rule, with seed and case. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzCounts> {
  const { seed, from = 0, count, timeLimit = 1000, onCase } = options;
  const { name, make, parse, exitCodes = [3] } = target;
  const counts: FuzzCounts = { accepted: 0, rejected: {}, slowest: 0, slowestCase: 0, largest: 0, largestCase: 0 };
  const marks = Object.getOwnPropertyNames(Object.prototype).length;
  for (let i = from; i < from + count; i++) {
    onCase?.(i);
    const bytes = make(new Random(seed, i));
    const broke = (what: string, cause?: unknown): never => {
      throw new Error(`${name}: seed ${seed}, case ${i}: ${what}`, { cause });
    };
    const before = allocated();
    const begun = performance.now();
    try {
      await parse(bytes);
      counts.accepted++;
    } catch (error) {
      if (!(error instanceof CambiumError) || error instanceof InternalError) return broke('a raw error', error);
      if (!exitCodes.includes(error.exitCode)) broke(`exit code ${error.exitCode}`, error);
      const { offset } = error.details;
      // Of an archive's entry or an unpacked file the offset counts from its own beginning.
      if (offset !== undefined && !(offset >= 0 && offset <= bytes.length + 8192)) broke(`offset ${offset}`, error);
      if (error.message.length > 4096 || /[\u0000-\u0009\u001b\u202a-\u202e]/.test(error.message))
        broke('a message that is long or has control characters', error);
      counts.rejected[error.code] = (counts.rejected[error.code] ?? 0) + 1;
    }
    const took = performance.now() - begun;
    const grown = allocated() - before;
    if (took > counts.slowest) [counts.slowest, counts.slowestCase] = [took, i];
    if (grown > counts.largest) [counts.largest, counts.largestCase] = [grown, i];
    if (took > timeLimit) broke(`took ${took.toFixed(0)} ms`);
    if (grown > MEMORY + 2 * bytes.length) broke(`took ${(grown / 2 ** 20).toFixed(0)} MiB`);
    if (i % 256 === 0) {
      // Lets files close and garbage go.
      await tick();
      if (Object.getOwnPropertyNames(Object.prototype).length !== marks)
        broke('something was added to Object.prototype');
    }
  }
  return counts;
}
