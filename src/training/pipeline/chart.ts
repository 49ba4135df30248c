/** A pipeline as a graph, and as a Mermaid flowchart: data, weights and labels flow along the arrows. */
import { pretrainingOf } from '../pretrain-inputs.ts';
import type { Recipe } from '../recipe.ts';
import type { PlannedStage } from './pipeline.ts';

/** What a pipeline's pictures show: data and stages, and what flows between them. */
export interface FlowGraph {
  readonly nodes: readonly FlowNode[];
  readonly edges: readonly FlowEdge[];
}

export interface FlowNode {
  readonly id: string;
  readonly kind: 'data' | 'stage';
  /** Data by name; of a stage its name and what it does. */
  readonly title: string;
  readonly text?: string;
  /** Of a stage. */
  readonly what?: PlannedStage['stage']['kind'];
}

export interface FlowEdge {
  readonly from: string;
  readonly to: string;
  readonly text?: string;
}

/** Data first, then the stages in order. */
export function flowGraph(stages: readonly PlannedStage[]): FlowGraph {
  const recipes = stages.flatMap(({ recipe }) => (recipe ? [recipe] : []));
  const data = [...new Set(recipes.map(dataOf))];
  const dataNode = new Map(data.map((name, i) => [name, `data${i + 1}`]));
  return {
    nodes: [
      ...data.map((title) => ({ id: dataNode.get(title) as string, kind: 'data' as const, title })),
      ...stages.map((planned) => ({
        id: node(planned.name),
        kind: 'stage' as const,
        title: planned.name,
        text: stageText(planned),
        what: planned.stage.kind,
      })),
    ],
    edges: stages.flatMap(({ name, stage, recipe }): FlowEdge[] => {
      const to = node(name);
      if (stage.kind === 'train' && recipe)
        return [
          { from: dataNode.get(dataOf(recipe)) as string, to, text: samplesOf(recipe) },
          ...(stage.from === undefined ? [] : [{ from: node(stage.from), to, text: 'weights' }]),
        ];
      if (stage.kind === 'features') return [{ from: node(stage.of), to }];
      if (stage.kind === 'labels')
        return [
          { from: node(stage.from), to, text: 'labels' },
          { from: node(stage.to), to },
        ];
      return stage.kind === 'compare' ? [stage.before, stage.after].map((other) => ({ from: node(other), to })) : [];
    }),
  };
}

/** @see https://mermaid.js.org/syntax/flowchart.html */
export function mermaidChart(stages: readonly PlannedStage[]): string {
  const { nodes, edges } = flowGraph(stages);
  return [
    'flowchart LR',
    ...nodes.map((one) => `  ${one.id}${shapeOf(one)}`),
    ...edges.map(({ from, to, text }) => `  ${from} -->${text === undefined ? '' : `|${quoted(text)}|`} ${to}`),
    '',
  ].join('\n');
}

/** Names such as `end` and `style` are Mermaid's own words. */
const node = (name: string): string => `stage_${name.replaceAll('-', '_')}`;

// Names hold nothing that ends a quoted text but quotes.
const quoted = (text: string): string => `"${text.replaceAll('"', '#quot;')}"`;

function shapeOf({ kind, title, text, what }: FlowNode): string {
  if (kind === 'data') return `[(${quoted(title)})]`;
  const label = quoted(`${title}: ${text}`);
  if (what === 'features') return `[/${label}/]`;
  return what === 'labels' || what === 'compare' ? `([${label}])` : `[${label}]`;
}

/** What a stage does, in a few words. */
export function stageText({ stage, recipe }: { stage: PlannedStage['stage']; recipe?: Recipe | undefined }): string {
  switch (stage.kind) {
    case 'train': {
      const objective = pretrainingOf(recipe?.task);
      if (objective) return `pre-train ${recipe?.model.name} by ${objective}`;
      return `${recipe?.init ? 'fine-tune' : 'train'} ${recipe?.model.name}`;
    }
    case 'features':
      return `features of the ${stage.split} part${stage.layer === undefined ? '' : ` at ${stage.layer}`}`;
    case 'labels':
      return `labels by ${stage.method === 'linear' ? 'a linear classifier' : 'nearest neighbours'}`;
    case 'compare':
      return `features of ${stage.before} and ${stage.after}`;
  }
}

const dataOf = ({ data }: Recipe): string => data.file ?? data.dir ?? data.name;

function samplesOf({ task, limit }: Recipe): string {
  if (pretrainingOf(task)) return 'without labels';
  return limit.train === undefined ? 'labels' : `${limit.train.toLocaleString('en')} labels`;
}
