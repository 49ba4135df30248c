/** A pipeline as a Mermaid flowchart: data, weights and labels flow along the arrows. */
import { pretrainingOf } from '../pretrain-inputs.ts';
import type { Recipe } from '../recipe.ts';
import type { PlannedStage } from './pipeline.ts';

/** @see https://mermaid.js.org/syntax/flowchart.html */
export function mermaidChart(stages: readonly PlannedStage[]): string {
  const recipes = stages.flatMap(({ recipe }) => (recipe ? [recipe] : []));
  const data = [...new Set(recipes.map(dataOf))];
  const dataNode = new Map(data.map((name, i) => [name, `data${i + 1}`]));
  return [
    'flowchart LR',
    ...data.map((name, i) => `  data${i + 1}[(${quoted(name)})]`),
    ...stages.map((planned) => `  ${node(planned.name)}${shapeOf(planned)}`),
    ...stages.flatMap(({ name, stage, recipe }) => {
      const to = node(name);
      if (stage.kind === 'train' && recipe)
        return [
          `  ${dataNode.get(dataOf(recipe))} -->|${quoted(samplesOf(recipe))}| ${to}`,
          ...(stage.from === undefined ? [] : [`  ${node(stage.from)} -->|weights| ${to}`]),
        ];
      if (stage.kind === 'features') return [`  ${node(stage.of)} --> ${to}`];
      if (stage.kind === 'labels') return [`  ${node(stage.from)} -->|labels| ${to}`, `  ${node(stage.to)} --> ${to}`];
      return stage.kind === 'compare' ? [`  ${node(stage.before)} --> ${to}`, `  ${node(stage.after)} --> ${to}`] : [];
    }),
    '',
  ].join('\n');
}

/** Names such as `end` and `style` are Mermaid's own words. */
const node = (name: string): string => `stage_${name.replaceAll('-', '_')}`;

// Names hold nothing that ends a quoted text but quotes.
const quoted = (text: string): string => `"${text.replaceAll('"', '#quot;')}"`;

function shapeOf({ name, stage, recipe }: PlannedStage): string {
  const text = quoted(`${name}: ${stageText({ stage, recipe })}`);
  if (stage.kind === 'features') return `[/${text}/]`;
  return stage.kind === 'labels' || stage.kind === 'compare' ? `([${text}])` : `[${text}]`;
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
