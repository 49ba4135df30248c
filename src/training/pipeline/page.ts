/** What a pipeline found: a table for people and Markdown, and one HTML page with the curves of its training. */
import { escapeHtml, htmlPage } from '../html-page.ts';
import { type Line, lineChart } from '../line-chart.ts';
import { measuresText, percent } from '../progress.ts';
import { stageText } from './chart.ts';
import type { PlannedStage } from './pipeline.ts';
import type { PipelineDefinition } from './schema.ts';
import type { StageResult, StageResults } from './stages.ts';

interface Row {
  readonly stage: string;
  readonly what: string;
  readonly steps: string;
  readonly result: string;
}

const rowsOf = (stages: readonly PlannedStage[], results: StageResults): Row[] =>
  stages.flatMap((planned) => {
    const result = results[planned.name];
    if (!result) return [];
    const steps = result.kind === 'train' ? String(result.steps) : '';
    return [{ stage: planned.name, what: stageText(planned), steps, result: resultText(result) }];
  });

const sure = (accuracy: number, interval: { low: number; high: number } | null | undefined): string =>
  `${percent(accuracy)}${interval ? ` (95 %: ${percent(interval.low)} to ${percent(interval.high)})` : ''}`;

function resultText(result: StageResult): string {
  switch (result.kind) {
    case 'train': {
      const { test, validation } = result;
      if (test?.accuracy !== undefined) return `test accuracy ${sure(test.accuracy, test.interval)}`;
      if (test) return `test loss ${test.loss.toFixed(4)}`;
      return validation ? `validation ${measuresText(validation)}` : 'trained';
    }
    case 'features':
      return `${result.samples.toLocaleString('en')} vectors of ${result.width}, from ${result.layer}`;
    case 'labels':
      return result.accuracy === null
        ? `${result.labelled.toLocaleString('en')} samples labelled`
        : `${sure(result.accuracy, result.interval)} of ${result.labelled.toLocaleString('en')} right, from ${result.trained.toLocaleString('en')} labels`;
    case 'compare': {
      const { cka, before, after } = result;
      return (
        `nearest neighbours ${percent(before.knn)} to ${percent(after.knn)}, ` +
        `linear ${percent(before.linear)} to ${percent(after.linear)}, CKA ${cka.toFixed(3)}`
      );
    }
  }
}

/** Markdown. */
export function pipelineTable(stages: readonly PlannedStage[], results: StageResults): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = rowsOf(stages, results).map(
    ({ stage, what, steps, result }) => `| ${stage} | ${cell(what)} | ${steps} | ${cell(result)} |`,
  );
  return ['| stage | what it does | steps | result |', '| --- | --- | ---: | --- |', ...rows, ''].join('\n');
}

/** Curves of stages with one `figure` are drawn together. */
export function pipelinePage(
  { name, description }: PipelineDefinition,
  stages: readonly PlannedStage[],
  results: StageResults,
): string {
  const rows = rowsOf(stages, results).map(
    ({ stage, what, steps, result }) =>
      `<tr><th>${escapeHtml(stage)}</th><td>${escapeHtml(what)}</td><td>${steps}</td><td>${escapeHtml(result)}</td></tr>`,
  );
  const figures = new Map<string, { name: string; result: StageResult }[]>();
  for (const { name: stage, stage: what } of stages) {
    const result = results[stage];
    if (what.kind !== 'train' || !result) continue;
    const title = what.figure ?? stage;
    figures.set(title, [...(figures.get(title) ?? []), { name: stage, result }]);
  }
  const charts = [...figures].map(([title, runs]) => chartOf(title, runs));
  return htmlPage(
    name,
    `${description === undefined ? '' : `<p>${escapeHtml(description)}</p>`}
<table><thead><tr><th>stage</th><th>what it does</th><th>steps</th><th>result</th></tr></thead>
${rows.join('\n')}</table>
<h2>Training</h2>
${charts.join('\n')}
<p class="note">The chart of the flow is in report.md, in Mermaid's language.</p>`,
  );
}

/** Validation accuracy where all of them have one, else the training loss. */
function chartOf(title: string, runs: readonly { readonly name: string; readonly result: StageResult }[]): string {
  const histories = runs.flatMap(({ name, result }) =>
    result.kind === 'train' ? [{ name, history: result.history }] : [],
  );
  const accurate = histories.every(({ history }) =>
    history.every(({ validation }) => validation?.accuracy !== undefined),
  );
  const lines: Line[] = histories.map(({ name, history }) => ({
    name,
    points: history.map(({ step, trainLoss, validation }) => [
      step,
      accurate ? (validation?.accuracy ?? 0) : trainLoss,
    ]),
  }));
  return accurate
    ? lineChart(lines, { title: `${title}: validation accuracy`, format: (y) => `${Number((100 * y).toFixed(2))} %` })
    : lineChart(lines, { title: `${title}: training loss` });
}
