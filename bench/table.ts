/** The results as Markdown: one row a workload, single kernels, memory. Written between two marks of a page. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Ceilings } from './ceilings.ts';
import type { KernelTime } from './kernels.ts';

/** One contestant's times, in milliseconds. */
export interface Row {
  contestant: string;
  median: number;
  min: number;
  max: number;
  samplesPerSecond: number;
  peakMB: number;
  /** Peak memory known before the first step; ours only. */
  plannedMB?: number;
  ofLimit: number;
  loss: number;
}

export interface Result {
  workload: string;
  title: string;
  limitMs: number;
  firstStepMs: number;
  rows: Row[];
}

export interface Report {
  date: string;
  machine: string;
  command: string;
  ceilings: Ceilings;
  results: Result[];
  kernels: KernelTime[];
}

const START = '<!-- measured -->';
const END = '<!-- /measured -->';

/** Puts the tables between the marks of the page at `path`. Throws if it has none. */
export function writeTables(path: string, report: Report): void {
  const page = readFileSync(path, 'utf8');
  const [start, end] = [page.indexOf(START), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`${path} has no ${START} ... ${END}`);
  writeFileSync(path, `${page.slice(0, start + START.length)}\n\n${tables(report)}\n${page.slice(end)}`);
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

const ms = (value: number | undefined): string =>
  value === undefined ? '-' : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const times = (a: number | undefined, b: number | undefined): string =>
  a === undefined || b === undefined ? '-' : `${(a / b).toFixed(2)}x`;
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

export function tables({ date, machine, command, ceilings, results, kernels }: Report): string {
  const of = (result: Result, name: string): Row | undefined => result.rows.find((row) => row.contestant === name);
  const speed = results.map((result) => {
    const [mine, mine16] = [of(result, 'cambium fp32'), of(result, 'cambium bf16')];
    const [eager, tuned, peer16] = ['eager', 'tuned', 'bf16'].map((name) => of(result, `torch ${name}`)?.median);
    const half = mine16 ?? mine;
    return [
      result.workload,
      ms(result.limitMs),
      ms(eager),
      ms(tuned),
      ms(peer16),
      mine ? `${ms(mine.median)} (${ms(mine.min)}-${ms(mine.max)})` : '-',
      ms(mine16?.median),
      times(eager, mine?.median),
      times(tuned, mine?.median),
      times(peer16, half?.median),
    ];
  });
  const memory = results.map((result) => {
    const [mine, eager, tuned] = ['cambium fp32', 'torch eager', 'torch tuned'].map((name) => of(result, name));
    return [
      result.workload,
      mine ? mine.peakMB.toFixed(0) : '-',
      mine?.plannedMB ? mine.plannedMB.toFixed(0) : '-',
      eager ? eager.peakMB.toFixed(0) : '-',
      tuned ? tuned.peakMB.toFixed(0) : '-',
      mine && eager ? percent(mine.peakMB / eager.peakMB) : '-',
      ms(result.firstStepMs),
    ];
  });
  const rates = kernels.map(({ name, ms: time, flops, bytes, precision }) => {
    const [rate, ceiling, unit] =
      flops !== undefined
        ? [flops / time / 1e6, (precision === 'bf16' ? ceilings.bf16Flops : ceilings.flops) / 1e9, 'GFLOP/s']
        : [(bytes as number) / time / 1e6, ceilings.bandwidth / 1e9, 'GB/s'];
    return [name, ms(time), `${rate.toFixed(0)} ${unit}`, ceiling > 0 ? percent(rate / ceiling) : '-'];
  });
  const peaks =
    `${(ceilings.flops / 1e9).toFixed(0)} GFLOP/s fp32, ${(ceilings.bf16Flops / 1e9).toFixed(0)} bf16, ` +
    `${(ceilings.bandwidth / 1e9).toFixed(1)} GB/s`;
  const parts = [
    `${date}; ${machine}; measured at the start: ${peaks}. Medians in ms (least-most for ours). \`${command}\``,
    table(
      [
        '',
        'limit',
        'torch eager',
        'torch tuned',
        'torch bf16',
        'ours fp32',
        'ours bf16',
        '/ eager',
        '/ tuned',
        'bf16 / bf16',
      ],
      speed,
    ),
    'Peak resident memory in MB, what was planned before the first step, and our first step (compile included) in ms:',
    table(['', 'ours', 'planned', 'torch eager', 'torch tuned', 'ours / eager', 'first step'], memory),
    results.map(({ workload, title }) => `- ${workload}: ${title}`).join('\n'),
  ];
  if (rates.length > 0) parts.push('Single kernels:', table(['', 'ms', 'rate', 'of the ceiling'], rates));
  return `${parts.join('\n\n')}\n`;
}
