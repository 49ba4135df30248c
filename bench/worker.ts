/**
 * One workload in a process of its own, steered by lines on stdin like bench/peers/torch_worker.py.
 * usage: worker.ts WORKLOAD {fp32|bf16} FOLDER    writes weights.safetensors and batch.safetensors to FOLDER first
 */
import { createInterface } from 'node:readline';
import { type Precision, withPrecision } from '../src/graph/index.ts';
import { writeSafetensors } from '../src/io/index.ts';
import { currentBackend, manualSeed, type Tensor, type Variable } from '../src/tensor/index.ts';
import { arraysOf } from '../src/training/model-weights.ts';
import { type Workload, workloads } from './workloads.ts';

const [id = '', precision = 'fp32', folder = ''] = process.argv.slice(2);
// A workload builds its whole step before it first awaits, so that this scope covers it.
const run = <T>(body: () => T): T => withPrecision(precision as Precision, body);
// What compiled programs will need, known before they run.
const backend = currentBackend();
const planned = { arenaBytes: 0, scratchBytes: 0 };
const compile = backend.compile.bind(backend);
backend.compile = (graph) => {
  const executable = compile(graph);
  for (const key of ['arenaBytes', 'scratchBytes'] as const)
    planned[key] = Math.max(planned[key], executable.plan[key]);
  return executable;
};
manualSeed(0);
const workload = workloads[id] as Workload;
const work = await workload.make();
const variables = new Map<string, Variable>();
for (const [name, module] of Object.entries(work.modules))
  for (const [key, variable] of module.stateDict()) variables.set(name ? `${name}.${key}` : key, variable);
const host = async (t: Tensor) => ({ dtype: t.dtype, shape: t.shape, data: await t.data() });
await writeSafetensors(`${folder}/weights.safetensors`, await arraysOf(variables));
await writeSafetensors(
  `${folder}/batch.safetensors`,
  new Map(await Promise.all(Object.entries(work.batch).map(async ([k, t]) => [k, await host(t)] as const))),
);
const parameters = [...variables.values()].reduce((n, v) => n + (v.requiresGrad ? v.size : 0), 0);
const answer = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
// AdamW keeps two moments a parameter; Node's heap and code grow by about 24 MB while a model trains.
const before = process.memoryUsage.rss() + 24 * 2 ** 20 + (workload.training ? 8 * parameters : 0);
answer({ ready: true, parameters });

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ');
  if (command === 'check') {
    answer({ loss: await run(work.check) });
    continue;
  }
  const times: number[] = [];
  for (let i = 0; i < Number(count); i++) {
    const start = performance.now();
    await run(work.step);
    times.push(performance.now() - start);
  }
  const plannedMB = (before + planned.arenaBytes + planned.scratchBytes) / 2 ** 20;
  answer({ times, peakMB: process.resourceUsage().maxRSS / 1024, plannedMB });
}
