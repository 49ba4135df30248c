/** What a pipeline found: a table for people and Markdown, and one HTML page with its flow and the curves of its training. */
import { escapeHtml, htmlPage, table } from '../html-page.ts';
import { type Line, lineChart } from '../line-chart.ts';
import { headline, measuresText, percent } from '../progress.ts';
import { type AgainstScratch, againstScratch } from './against-scratch.ts';
import { flowGraph, stageText } from './chart.ts';
import { flowPicture } from './flow-picture.ts';
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
      // Of pipelines begun by an older version it was the test part.
      const part = test?.part ?? 'test';
      if (test?.accuracy !== undefined) return `${part} accuracy ${sure(test.accuracy, test.interval)}`;
      if (test) return `${part} ${headline(test.measures ?? { loss: test.loss })}`;
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

/** `tuned 90.40 % (95 %: ...) against random 90.80 % (...): -0.40 points; the intervals overlap ...`. */
function scratchText({ figure, tuned, scratch, part, points, accuracy, intervals, overlap }: AgainstScratch): string {
  const verdict = overlap
    ? 'the intervals overlap: so few samples may not tell the two apart'
    : 'the intervals do not overlap';
  return (
    `${figure}: ${tuned} ${sure(accuracy[0], intervals[0])} against ${scratch} ${sure(accuracy[1], intervals[1])} from random ` +
    `weights, ${part} accuracy: ${points < 0 ? '' : '+'}${points.toFixed(2)} points; ${verdict}`
  );
}

/** Markdown. */
export function pipelineTable(stages: readonly PlannedStage[], results: StageResults): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const rows = rowsOf(stages, results).map(
    ({ stage, what, steps, result }) => `| ${stage} | ${cell(what)} | ${steps} | ${cell(result)} |`,
  );
  const compared = againstScratch(stages, results).map((found) => `- ${scratchText(found)}\n`);
  return [
    '| stage | what it does | steps | result |',
    '| --- | --- | ---: | --- |',
    ...rows,
    ...(compared.length > 0 ? ['', `What the weights were worth:\n\n${compared.join('')}`] : ['']),
  ].join('\n');
}

/** Curves of stages with one `figure` are drawn together. */
export function pipelinePage(
  { name, description }: PipelineDefinition,
  stages: readonly PlannedStage[],
  results: StageResults,
): string {
  const rows = rowsOf(stages, results).map((row) =>
    [row.stage, row.what, row.steps, row.result].map((text) => escapeHtml(text)),
  );
  const figures = new Map<string, { name: string; result: StageResult }[]>();
  for (const { name: stage, stage: what } of stages) {
    const result = results[stage];
    if (what.kind !== 'train' || !result) continue;
    const title = what.figure ?? stage;
    figures.set(title, [...(figures.get(title) ?? []), { name: stage, result }]);
  }
  const worth = againstScratch(stages, results).map((found) => scratchRow(found));
  const charts = [...figures].map(([title, runs]) => chartOf(title, runs));
  return htmlPage(
    name,
    `${description === undefined ? '' : `<p>${escapeHtml(description)}</p>`}
<h2>Flow</h2>
${flowPicture(flowGraph(stages))}
<h2>Results</h2>
<div class="text">${table(['stage', 'what it does', 'steps', 'result'], rows)}</div>
${
  worth.length === 0
    ? ''
    : `<h2>What the weights were worth</h2>
${table(['', 'from weights', 'from random weights', 'difference', '95 % intervals'], worth)}
<p class="note">Accuracy; a difference in percentage points. Where the intervals overlap, so few samples may not tell the two apart.</p>`
}
<h2>Training</h2>
${charts.join('\n')}
<p class="note">The flow is in report.md too, in Mermaid's language. Every training stage has a report.html of its own in its folder.</p>`,
  );
}

function scratchRow({ figure, tuned, scratch, part, points, accuracy, intervals, overlap }: AgainstScratch): string[] {
  const one = (name: string, i: 0 | 1): string => escapeHtml(`${name}: ${sure(accuracy[i], intervals[i])}`);
  return [
    escapeHtml(part === 'test' ? figure : `${figure} (${part})`),
    one(tuned, 0),
    one(scratch, 1),
    `<b>${points < 0 ? '' : '+'}${points.toFixed(2)}</b>`,
    overlap ? 'overlap' : 'apart',
  ];
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
