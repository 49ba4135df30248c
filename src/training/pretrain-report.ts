/** The report of a pre-training: what validation measured on the weights that were kept, and on what exactly. */
import type { Json } from '../io/index.ts';
import { escapeHtml, facts, htmlPage } from './html-page.ts';
import { cards, closing, dataText, lead, lengthText, type RunPage, trainingSection } from './html-report.ts';
import type { PretrainResult } from './pretrain.ts';
import { measuresText, measureText } from './progress.ts';
import { gapOf, overfitOf, overfitText, parametersText, type RunFacts } from './run-facts.ts';

export function pretrainReport(
  { objective, validation, epochs, steps, best, history, weightsHash, plan }: PretrainResult,
  hashes: Record<string, string>,
): { json: Json; text: string } {
  const { parameters, trainable } = plan;
  const overfit = overfitOf(history);
  const json = {
    objective: objective.name,
    parameters,
    trainable: epochs === 0 ? 0 : trainable,
    epochs,
    steps,
    best: best?.epoch ?? null,
    validation: validation ? { ...validation } : null,
    gap: gapOf(history, best?.epoch),
    overfit,
    history: history.map(({ epoch, step, trainLoss, validation: measured }) => ({
      epoch,
      step,
      trainLoss,
      validation: measured ? { ...measured } : null,
    })),
    data: hashes,
    weights: weightsHash ?? null,
  };
  const rows = history.map(
    ({ epoch, trainLoss, validation: measured }) =>
      `  epoch ${epoch}: train loss ${trainLoss.toFixed(4)}${measured ? `, validation ${measuresText(measured)}` : ''}`,
  );
  const text = [
    epochs === 0
      ? `${objective.name}: nothing was trained, the weights are those it started from`
      : `pre-training by ${objective.name}: ${steps} steps, ${epochs} epoch${epochs === 1 ? '' : 's'}; the best is epoch ${best?.epoch ?? epochs}`,
    parametersText(plan),
    ...rows,
    ...(validation ? [`per ${objective.unit} of the validation part: ${measuresText(validation)}`] : []),
    ...(overfit ? [overfitText(overfit)] : []),
    ...Object.entries(hashes).map(([part, hash]) => `${part} sha256 ${hash}`),
    `weights sha256 ${weightsHash ?? 'unknown'}`,
    '',
  ].join('\n');
  return { json: json as unknown as Json, text };
}

/** The same as a page, with curves and the recipe. */
export function pretrainPage(
  { objective, validation, epochs, steps, best, history, weightsHash, plan }: PretrainResult,
  samples: RunFacts['samples'],
  page: RunPage,
): string {
  const { recipe } = page;
  const kept = best?.epoch ?? null;
  const measures = Object.entries(validation ?? {}).filter(([name]) => name !== 'predictions');
  const rows: [string, string][] = [
    ['objective', objective.name],
    ['model', `${recipe?.model.name ?? plan.model}: ${parametersText(plan)}`],
    ['started from', recipe?.init?.weights ?? 'random weights'],
    // What the validation measures are means over.
    [
      'measured',
      validation ? `validation, per ${objective.unit}, on the weights kept` : 'nothing: there is no validation part',
    ],
    ['data', dataText(recipe, samples)],
    ['length', lengthText(epochs, steps, kept)],
  ];
  return htmlPage(
    page.title,
    [
      lead(page),
      cards(
        measures.map(([name, value]) => [
          name,
          measureText(name, value as number),
          `validation, per ${objective.unit}`,
        ]),
      ),
      `<h2>Summary</h2>${facts(rows.map(([name, value]) => [name, escapeHtml(value)]))}`,
      trainingSection(page, { gap: gapOf(history, best?.epoch), overfit: overfitOf(history), best: kept }),
      closing(page, { data: null, weights: weightsHash ?? null }),
    ].join('\n'),
  );
}
