/**
 * Rates of single kernels, in a process of its own: square products and an AdamW update of 134 M parameters.
 * usage: kernels.ts    prints lines of JSON, {"name", "ms", "flops" | "bytes"}
 */
import { AdamW } from '../src/optim/index.ts';
import { autocast, flush, manualSeed, normal, Variable } from '../src/tensor/index.ts';

export interface KernelTime {
  readonly name: string;
  readonly ms: number;
  /** Work of one run: multiply-adds x 2 in fp32 or bf16, or bytes read and written. */
  readonly flops?: number;
  readonly precision?: 'fp32' | 'bf16';
  readonly bytes?: number;
}

/** Median milliseconds of at least five runs and half a second. */
async function time(run: () => Promise<void>): Promise<number> {
  for (let i = 0; i < 2; i++) await run();
  const times: number[] = [];
  for (let spent = 0; times.length < 5 || (spent < 500 && times.length < 100); ) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
    spent += times.at(-1) as number;
  }
  return times.sort((a, b) => a - b)[times.length >> 1] as number;
}

const print = (result: KernelTime): void => void process.stdout.write(`${JSON.stringify(result)}\n`);

async function product(side: number, precision: 'fp32' | 'bf16'): Promise<void> {
  const a = await normal([side, side]).realize();
  const b = await normal([side, side]).realize();
  // Into a variable, so that no run pays for fresh memory.
  const c = new Variable(await normal([side, side]).realize());
  const ms = await time(async () => {
    autocast(precision, () => c.assign(a.matmul(b)));
    await flush([]);
  });
  print({ name: `GEMM ${side} x ${side} x ${side}, ${precision}`, ms, flops: 2 * side ** 3, precision });
}

async function adamw(): Promise<void> {
  const parameter = new Variable(normal([134_301_514]), { requiresGrad: true });
  const gradient = await normal([134_301_514]).realize();
  const optimizer = new AdamW([parameter], { lr: 1e-5 });
  const ms = await time(async () => {
    parameter.grad = gradient;
    optimizer.step();
    await flush([]);
  });
  // The gradient read; the parameter and both moments read and written.
  print({ name: 'AdamW, 134 M parameters', ms, bytes: 28 * parameter.size });
}

manualSeed(0);
for (const precision of ['fp32', 'bf16'] as const)
  for (const side of [1024, 2048, 4096]) await product(side, precision);
await adamw();
