/**
 * Feeds mutated files to the parsers: every case must be read or end in a typed error, within a second and 64 MiB beside
 * two times its file. Each parser runs in a thread of its own, so that a hang or an exhausted heap is found and named too.
 *   npm run fuzz -- [--parser NAME,NAME] [--count 1000000] [--seed 1] [--from 0]
 * With no parser, all of them; `weights` stands for those of weights. `--from N --count 1` repeats case N.
 */
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type FuzzCounts, fuzz } from '../test/fuzz/run.ts';
import { makeTarget, targetNames } from '../test/fuzz/targets.ts';

const HANG_MS = 20_000;
const HEAP_MIB = 1024;

interface Job {
  readonly name: string;
  readonly seed: number;
  readonly from: number;
  readonly count: number;
  /** The case that runs. */
  readonly at: Int32Array;
}

async function work({ name, seed, from, count, at }: Job): Promise<void> {
  const target = await makeTarget(name);
  try {
    // Without their stacks errors cost a tenth; a case that breaks a rule can be repeated alone.
    if (count > 1) Error.stackTraceLimit = 0;
    const counts = await fuzz(target, { seed, from, count, onCase: (i) => void Atomics.store(at, 0, i) });
    parentPort?.postMessage(counts);
  } finally {
    target.close?.();
  }
}

function run(job: Omit<Job, 'at'>): Promise<FuzzCounts> {
  const at = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ...job, at },
    execArgv: ['--import', 'jiti/register'],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  });
  return new Promise((resolve, reject) => {
    let last = -1;
    const watch = setInterval(() => {
      const now = Atomics.load(at, 0);
      if (now === last) {
        void worker.terminate();
        reject(new Error(`${job.name}: seed ${job.seed}, case ${now}: hangs`));
      }
      last = now;
    }, HANG_MS);
    worker.once('message', resolve);
    worker.once('error', (cause) => {
      const where = `${job.name}: seed ${job.seed}, case ${Atomics.load(at, 0)}`;
      reject(cause.message.startsWith(job.name) ? cause : new Error(`${where}: the thread ended`, { cause }));
    });
    worker.once('exit', () => clearInterval(watch));
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      parser: { type: 'string', default: targetNames.join(',') },
      count: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      from: { type: 'string', default: '0' },
    },
  });
  const [seed, from, count] = [values.seed, values.from, values.count].map(Number) as [number, number, number];
  const names: string[] = [];
  for (const name of values.parser.split(','))
    if (name !== 'weights') names.push(name);
    else
      for (const each of targetNames) {
        const target = await makeTarget(each);
        target.close?.();
        if (target.weights) names.push(each);
      }
  for (const name of names) {
    const begun = performance.now();
    try {
      const { accepted, rejected, slowest, slowestCase, largest, largestCase } = await run({ name, seed, from, count });
      const seconds = ((performance.now() - begun) / 1000).toFixed(0);
      console.log(
        `${name}: ${count} cases in ${seconds} s, ${accepted} read; slowest ${slowest.toFixed(1)} ms (case ${slowestCase}), ` +
          `largest ${(largest / 2 ** 20).toFixed(1)} MiB (case ${largestCase})`,
      );
      const sorted = Object.entries(rejected).sort(([, a], [, b]) => b - a);
      console.log(`  ${sorted.map(([code, n]) => `${code} ${n}`).join(', ')}`);
    } catch (error) {
      console.error(error);
      process.exitCode = 1;
    }
  }
  console.log(`peak resident memory ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`);
}

await (isMainThread ? main() : work(workerData as Job));
