/** A step's profile as a page for people. */
import { formatBytes } from './machine-memory.ts';
import { formatFlops } from './plan.ts';
import type { Cost, StepProfile } from './profile.ts';

export interface ProfileTextOptions {
  /** Rows of the tables of layers and kernels. */
  readonly top?: number;
}

const fixed = (value: number): string => value.toFixed(value < 10 ? 3 : value < 100 ? 2 : 1);
const share = (part: number, whole: number): string => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '-');

/** ms, share of the step, rates and the fraction of the limit. */
const costCells = (cost: Cost, stepMs: number): string[] => [
  fixed(cost.ms),
  share(cost.ms, stepMs),
  cost.flops > 0 && cost.ms > 0 ? (cost.flops / cost.ms / 1e6).toFixed(0) : '-',
  cost.bytes > 0 ? (cost.bytes / 1e6).toFixed(1) : '-',
  cost.bytes > 0 && cost.ms > 0 ? (cost.bytes / cost.ms / 1e6).toFixed(1) : '-',
  fixed(cost.limitMs),
  cost.ms > 0 ? `${((100 * cost.limitMs) / cost.ms).toFixed(0)} %` : '-',
];
const costHead = ['ms', 'of step', 'GFLOP/s', 'MB', 'GB/s', 'limit ms', 'of limit'];

/** Tables by class, layer and kernel. */
export function profileText(profile: StepProfile, { top = 15 }: ProfileTextOptions = {}): string {
  const { ceilings, stepMs, total, overhead, classes } = profile;
  const batch = profile.accumulate > 1 ? `${profile.batchSize} x ${profile.accumulate}` : `${profile.batchSize}`;
  const layers = [...profile.layers].sort((a, b) => b.ms - a.ms);
  const empty = ['', '', '', '', ''];
  const spent = (name: string, ms: number): string[] => [name, fixed(ms), share(ms, stepMs), ...empty];
  const sections = [
    [
      `${profile.model}, batch ${batch}, ${profile.precision}, ${profile.isa}, ${profile.threads} threads`,
      `one step: ${fixed(stepMs)} ms, the mean of the faster ${profile.averaged} of ${profile.steps}; ` +
        `${formatFlops(total.flops)}, ${formatBytes(total.bytes)} moved`,
      `limits measured now: ${formatFlops(ceilings.flops)}/s in fp32 and ${formatFlops(ceilings.bf16Flops)}/s in bf16 ` +
        `(a large product), ${(ceilings.bandwidth / 1e9).toFixed(1)} GB/s (a pass over memory)`,
    ].join('\n'),
    table(
      ['class', ...costHead],
      [
        ...classes.filter((c) => c.kernels > 0).map((c) => [c.class, ...costCells(c, stepMs)]),
        spent('overhead', overhead.totalMs),
        spent('  building the graph', overhead.graphMs),
        spent('  hashing and lookup', overhead.lookupMs),
        spent('  the native call', overhead.callMs),
        spent('  the rest', overhead.restMs),
        ['all', ...costCells({ ...total, ms: stepMs }, stepMs)],
      ],
    ),
    table(
      ['layer', 'forward', 'backward', ...costHead],
      layers.slice(0, top).map((l) => [l.layer, fixed(l.forwardMs), fixed(l.backwardMs), ...costCells(l, stepMs)]),
    ) + more(layers.slice(top), 'layers'),
    table(
      ['kernel', 'layer', 'shape', ...costHead],
      profile.kernels
        .slice(0, top)
        .map((k) => [
          k.kernel === 'fused' ? k.name : k.kernel,
          k.direction === 'backward' ? `${k.layer} '` : k.layer,
          k.shape,
          ...costCells(k, stepMs),
        ]),
      3,
    ) + more(profile.kernels.slice(top), 'kernels'),
    "' backward. Limits count the direct algorithm's operations and every value once: Winograd's convolutions and values\nstill in cache may pass 100 %.",
  ];
  return sections.join('\n\n');
}

function more(rest: readonly Cost[], what: string): string {
  if (rest.length === 0) return '';
  return `\n... ${rest.length} more ${what}, ${fixed(rest.reduce((sum, { ms }) => sum + ms, 0))} ms (--top, --json)`;
}

/** Words left, numbers right; the first `words` columns are words. */
function table(head: readonly string[], rows: readonly (readonly string[])[], words = 1): string {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i < words ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)].join('\n');
}
