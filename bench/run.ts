/**
 * Training steps of this engine and of PyTorch, alternately in one run, from the same weights and batch.
 *
 *   npm run bench -- [WORKLOAD...] [--peer eager,tuned,bf16 | --peer none] [--ours fp32,bf16] [--rounds 5] [--json FILE] [--write PAGE]
 *
 * `kernels` beside the workloads measures single kernels. --write puts the tables between the marks of a page, as in
 * docs/benchmarks.md. CAMBIUM_PYTHON names a Python that has torch and safetensors (and transformers for BERT). Prints, for each contestant,
 * median, least and most milliseconds, samples per second, peak memory, the fraction of the physical limit, and ratios.
 * The limit is max(FLOP of the direct algorithm / measured FMA peak, 28 bytes per parameter / measured bandwidth): the
 * parameter read once forward, then it and both moments read and written by AdamW; nothing if all of that fits the cache.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Ceilings, measureCeilings } from './ceilings.ts';
import { Contestant, median } from './contestant.ts';
import type { KernelTime } from './kernels.ts';
import { type Result, type Row, writeTables } from './table.ts';
import { type Workload, workloads } from './workloads.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: 'string', default: process.env.CAMBIUM_PYTHON ? 'eager,tuned' : 'none' },
    ours: { type: 'string', default: 'fp32' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'string' },
    write: { type: 'string' },
  },
});
const list = (text: string): string[] => (text === 'none' ? [] : text.split(','));
const KERNELS = 'kernels';
const known = [...Object.keys(workloads), KERNELS];
const chosen = positionals.length > 0 ? positionals : known;
for (const id of chosen) if (!known.includes(id)) throw new Error(`no workload "${id}"; there are ${known.join(', ')}`);

// A round of one contestant lasts about this long.
const ROUND_MS = 1500;
const CACHE_BYTES = 32 << 20;
const TOLERANCE = { fp32: 1e-3, bf16: 5e-2 };
// glibc told to keep what was freed instead of giving it back to the system after every step.
const KEEP_MEMORY = { MALLOC_MMAP_MAX_: '0', MALLOC_TRIM_THRESHOLD_: '-1', MALLOC_TOP_PAD_: '67108864' };

/** Both sides run as they are shipped: ours as the JavaScript that is installed. */
function compiled(): URL {
  const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
  const tsc = [path('node_modules/typescript/bin/tsc'), '-p', path('bench/tsconfig.json')];
  const { status, stdout } = spawnSync(process.execPath, tsc, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the benchmark does not compile:\n${stdout}`);
  return new URL('../build/bench-js/bench/', import.meta.url);
}
const scripts = compiled();
const worker = fileURLToPath(new URL('worker.js', scripts));

const ours = (id: string, precision: string, folder: string): Contestant =>
  new Contestant(`cambium ${precision}`, process.execPath, [worker, id, precision, folder]);

function peer(id: string, variant: string, folder: string): Contestant {
  const script = fileURLToPath(new URL('./peers/torch_worker.py', import.meta.url));
  const env = variant === 'eager' ? {} : KEEP_MEMORY;
  return new Contestant(
    `torch ${variant}`,
    process.env.CAMBIUM_PYTHON ?? 'python3',
    [script, id, variant, folder],
    env,
  );
}

async function bench(id: string, ceilings: Ceilings): Promise<Result> {
  const workload = workloads[id] as Workload;
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const all: Contestant[] = [];
  try {
    let parameters = 0;
    for (const precision of list(options.ours)) {
      const contestant = ours(id, precision, folder);
      all.push(contestant);
      parameters = (await contestant.ready).parameters ?? 0;
    }
    for (const variant of list(options.peer)) {
      const contestant = peer(id, variant, folder);
      all.push(contestant);
      await contestant.ready;
    }
    const losses = new Map<Contestant, number>();
    for (const contestant of all) losses.set(contestant, await contestant.check());
    const reference = losses.get(all[0] as Contestant) as number;
    for (const [{ name }, loss] of losses) {
      const tolerance = name.endsWith('bf16') ? TOLERANCE.bf16 : TOLERANCE.fp32;
      if (!(Math.abs(loss - reference) <= tolerance * Math.max(1, Math.abs(reference))))
        throw new Error(`${id}: the work differs: ${name} has loss ${loss}, ${all[0]?.name} ${reference}`);
    }
    const firstStepMs = (await (all[0] as Contestant).run(1, false))[0] as number;
    for (const contestant of all) await contestant.run(2, false);
    for (let round = 0; round < Number(options.rounds); round++)
      for (const contestant of all) {
        const [first = 1] = await contestant.run(1);
        const steps = Math.min(200, Math.max(2, Math.round(ROUND_MS / first)));
        await contestant.run(steps);
      }
    const bytes = workload.training && parameters * 16 > CACHE_BYTES ? 28 * parameters : 0;
    const limitMs = 1000 * Math.max((workload.gflop * 1e9) / ceilings.flops, bytes / ceilings.bandwidth);
    const rows = all.map((contestant): Row => {
      const { name, times, peakMB, plannedMB } = contestant;
      const middle = median(times);
      return {
        contestant: name,
        median: middle,
        min: Math.min(...times),
        max: Math.max(...times),
        samplesPerSecond: (1000 * workload.samples) / middle,
        peakMB,
        ...(plannedMB !== undefined && { plannedMB }),
        ofLimit: limitMs / middle,
        loss: losses.get(contestant) as number,
      };
    });
    return { workload: id, title: workload.title, limitMs, firstStepMs, rows };
  } finally {
    for (const contestant of all) contestant.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function print({ workload, title, limitMs, firstStepMs, rows }: Result): void {
  console.log(`\n${workload}  ${title}; limit ${limitMs.toFixed(2)} ms; our first step ${firstStepMs.toFixed(0)} ms`);
  const mine = rows.find((row) => row.contestant === 'cambium fp32') ?? rows[0];
  for (const row of rows) {
    const ratio = row.median / (mine as Row).median;
    console.log(
      `  ${row.contestant.padEnd(14)} median ${row.median.toFixed(2).padStart(9)} ms  ` +
        `(${row.min.toFixed(2)} - ${row.max.toFixed(2)})  ${row.samplesPerSecond.toFixed(1).padStart(9)} samples/s  ` +
        `peak ${row.peakMB.toFixed(0).padStart(5)} MB  ${(100 * row.ofLimit).toFixed(0).padStart(3)} % of limit  ` +
        `${ratio.toFixed(2)}x`,
    );
  }
}

const ceilings = measureCeilings();
const machine = `${cpus()[0]?.model.trim()}, ${cpus().length} cores, Node ${process.versions.node}`;
console.log(
  `${new Date().toISOString().slice(0, 10)}  ${machine}; measured ${(ceilings.flops / 1e9).toFixed(0)} GFLOP/s fp32, ` +
    `${(ceilings.bf16Flops / 1e9).toFixed(0)} bf16, ${(ceilings.bandwidth / 1e9).toFixed(1)} GB/s`,
);
/** In a process of their own, so that nothing of the workloads is left in memory. */
function singleKernels(): KernelTime[] {
  const script = fileURLToPath(new URL('kernels.js', scripts));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the kernels stopped:\n${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as KernelTime);
}

const results: Result[] = [];
let kernels: KernelTime[] = [];
for (const id of chosen) {
  if (id === KERNELS) {
    kernels = singleKernels();
    for (const { name, ms } of kernels) console.log(`${name}: ${ms.toFixed(2)} ms`);
  } else {
    const result = await bench(id, ceilings);
    results.push(result);
    print(result);
  }
  save();
}

/** After every workload, so that an interrupted run keeps what it measured. */
function save(): void {
  const date = new Date().toISOString();
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`;
  const report = { date: date.slice(0, 10), machine, command, ceilings, results, kernels };
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (options.write) writeTables(options.write, report);
}
