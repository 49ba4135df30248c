/** Measures this machine's ceilings with bench/ceilings.cpp, built for this very processor. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export interface Ceilings {
  /** fp32 multiply-adds x 2 per second, all cores. */
  readonly flops: number;
  /** The same of bf16 pairs summed in fp32; 0 where the processor has no instructions for them. */
  readonly bf16Flops: number;
  /** Bytes per second, all cores, half read and half written. */
  readonly bandwidth: number;
}

export function measureCeilings(): Ceilings {
  const source = fileURLToPath(new URL('./ceilings.cpp', import.meta.url));
  const folder = fileURLToPath(new URL('../build/bench', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const program = `${folder}/ceilings`;
  const compiler = process.env.CXX ?? 'c++';
  run(compiler, ['-O3', '-march=native', '-std=c++20', '-pthread', source, '-o', program]);
  return JSON.parse(run(program, [])) as Ceilings;
}

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
  return stdout;
}
