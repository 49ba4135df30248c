/** A table of a model's layers: output shapes, parameters and cost, found without computing anything. */
import { type DType, type Shape, sizeOf } from '../base/index.ts';
import { type Tensor, zeros } from '../tensor/index.ts';
import { Branches, isOfAdapter } from './adapters.ts';
import { Conv2d } from './conv.ts';
import { Linear } from './linear.ts';
import type { Module } from './module.ts';
import { isQuantizedLayer } from './quantized-weight.ts';

export interface LayerSummary {
  readonly name: string;
  readonly type: string;
  readonly outputShape: Shape;
  /** Parameters of the layer itself, children not counted. */
  readonly parameters: number;
  readonly trainable: number;
  /** Floating-point operations of one forward: multiply and add count one each. */
  readonly flops: number;
}
export interface ModelSummary {
  readonly layers: readonly LayerSummary[];
  readonly parameters: number;
  readonly trainable: number;
  readonly flops: number;
}

/** Layers met by one forward over an input of `inputShape`, in order; those without children only. Computes nothing. */
export function summarize(model: Module, inputShape: Shape, { dtype = 'f32' }: { dtype?: DType } = {}): ModelSummary {
  const layers: LayerSummary[] = [];
  const modes = [...model.namedModules()].map(([, module]) => [module, module.training] as const);
  model.eval();
  try {
    model.withForwardHook(
      (name, module, output) => {
        if (isOfAdapter(name) || !isLeaf(module)) return;
        const own = module.namedParameters();
        const count = (list: typeof own): number => list.reduce((n, p) => n + p.variable.size, 0);
        layers.push({
          name,
          type: String(module),
          outputShape: output.shape,
          parameters: count(own),
          trainable: count(own.filter((p) => p.variable.requiresGrad)),
          flops: layerFlops(module, output),
        });
      },
      () => model.forward(zeros(inputShape, dtype)),
    );
  } finally {
    // Each as it was: part of a model may be in evaluation mode on purpose.
    for (const [module, training] of modes) module.training = training;
  }
  const all = model.namedParameters().map((p) => p.variable);
  return {
    layers,
    parameters: all.reduce((n, p) => n + p.size, 0),
    trainable: all.reduce((n, p) => n + (p.requiresGrad ? p.size : 0), 0),
    flops: layers.reduce((n, l) => n + l.flops, 0),
  };
}

/** Adapters and weights in 8 bits belong to the layer that has them. */
const isLeaf = (module: Module): boolean =>
  isQuantizedLayer(module) || module.children().every(([, child]) => child instanceof Branches);

function layerFlops(module: Module, output: Tensor): number {
  if (module instanceof Conv2d) return 2 * output.size * sizeOf(module.weight.shape.slice(1));
  if (module instanceof Linear) return 2 * output.size * module.inFeatures;
  return output.size;
}

/** The summary as a text table. */
export function formatSummary(summary: ModelSummary): string {
  const rows = summary.layers.map((l) => [
    l.name,
    l.type,
    l.outputShape.join(' x '),
    count(l.parameters),
    cost(l.flops),
  ]);
  const table = [['layer', 'type', 'output', 'parameters', 'cost'], ...rows];
  const widths = (table[0] as string[]).map((_, c) => Math.max(...table.map((row) => (row[c] as string).length)));
  const lines = table.map((row) =>
    row
      .map((cell, c) => (c >= 3 ? cell.padStart(widths[c] as number) : cell.padEnd(widths[c] as number)))
      .join('  ')
      .trimEnd(),
  );
  lines.push(
    `${count(summary.parameters)} parameters, ${count(summary.trainable)} trainable, ${cost(summary.flops)} forward`,
  );
  return lines.join('\n');
}

const count = (n: number): string => n.toLocaleString('en-US');
const cost = (flops: number): string =>
  flops >= 1e9
    ? `${(flops / 1e9).toFixed(2)} GFLOP`
    : flops >= 1e6
      ? `${(flops / 1e6).toFixed(2)} MFLOP`
      : `${(flops / 1e3).toFixed(1)} kFLOP`;
