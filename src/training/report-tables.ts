/** What was measured of one head as HTML: tables of classes and numbers, the confusion matrix, the worst confusions. */
import { details, escapeHtml, table } from './html-page.ts';
import {
  type AverageRow,
  type ClassificationReport,
  ConfusionMatrix,
  type ConfusionMatrixJson,
  reportRows,
  worstConfusions,
} from './metrics/index.ts';
import { type ClassReport, type HeadReport, significant } from './run-report.ts';

/** Classes a matrix has room for; of more, those that were mixed up most. */
const CLASSES = 40;
/** Rows that are shown unasked. */
const ROWS = 50;
const PAIRS = 15;
const NAME = 40;

const fixed = (value: number): string => value.toFixed(4);
const count = (value: number): string => value.toLocaleString('en');
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** The sections of a head, below a heading of level `level - 1`. */
export function headSection(head: HeadReport, level: 2 | 3): string {
  if (head.kind === 'class') return classSection(head, level);
  if (head.kind === 'classes') {
    const { threshold, averagePrecision } = head;
    return (
      `<p>A label applies from probability ${threshold} on.</p>\n` +
      `${heading(level, 'Labels')}${ratioTable(head.report, averagePrecision ?? undefined)}`
    );
  }
  if (head.kind === 'tags')
    return (
      heading(level, head.of === 'entities' ? 'Entities' : 'Tags') +
      (Object.keys(head.report).length > 3 ? ratioTable(head.report) : '<p>None, neither tagged nor predicted.</p>')
    );
  const rows = Object.entries(head.numbers).flatMap(([name, { rmse, mae, r2, pearson, spearman, n, baseline }]) => [
    [escapeHtml(name), ...[rmse, mae, r2, pearson, spearman].map(significant), count(n)],
    ['<i>always the mean</i>', significant(baseline.rmse), significant(baseline.mae), '', '', '', ''],
  ]);
  return heading(level, 'Numbers') + table(['', 'RMSE', 'MAE', 'R2', 'Pearson', 'Spearman', 'samples'], rows);
}

export function classSection({ report, confusion }: ClassReport, level: 2 | 3): string {
  const matrix = ConfusionMatrix.fromJSON(confusion);
  return (
    `${heading(level, 'Classes')}${ratioTable(report)}\n` +
    `${heading(level, 'Confusion matrix')}${matrixTable(confusion)}\n` +
    `${heading(level, 'Most frequent confusions')}${confusionList(matrix)}`
  );
}

const heading = (level: 2 | 3, text: string): string => `<h${level}>${text}</h${level}>\n`;

function confusionList(matrix: ConfusionMatrix): string {
  const wrong = matrix.total - matrix.correct;
  const rows = worstConfusions(matrix, PAIRS);
  if (rows.length === 0) return '<p>None: every sample was right.</p>';
  const shown = rows.map(({ label, prediction, count: n, share }) => [
    escapeHtml(label),
    escapeHtml(prediction),
    count(n),
    percent(share),
    percent(n / wrong),
  ]);
  return `<div class="pairs">${table(['true', 'taken for', 'samples', 'of the class', 'of all mistakes'], shown)}</div>
<p class="note">${count(wrong)} mistakes in all.</p>`;
}

/** scikit-learn's rows; of labels with their average precision. */
function ratioTable(report: ClassificationReport, precisions?: Readonly<Record<string, number | null>>): string {
  const { classes, accuracy, micro, macro, weighted, samples } = reportRows(report);
  const ranked = (name: string): string[] => {
    if (!precisions) return [];
    const value = precisions[name];
    return [value === undefined || value === null ? '' : fixed(value)];
  };
  const cells = (row: AverageRow): string[] => [
    ...(['precision', 'recall', 'f1-score'] as const).map((key) => fixed(row[key])),
    count(row.support),
  ];
  const averages = { 'micro avg': micro, 'macro avg': macro, 'weighted avg': weighted, 'samples avg': samples };
  const rows = [
    ...classes.map(([name, row]) => [escapeHtml(name), ...cells(row), ...ranked(name)]),
    ...(accuracy === undefined ? [] : [['<i>accuracy</i>', '', '', fixed(accuracy), count(macro.support)]]),
    ...Object.entries(averages).flatMap(([name, row]) =>
      row ? [[`<i>${name}</i>`, ...cells(row), ...ranked(name)]] : [],
    ),
  ];
  const columns = ['', 'precision', 'recall', 'f1-score', 'support', ...(precisions ? ['average precision'] : [])];
  return details(
    `${count(classes.length)} ${precisions ? 'labels' : classes.length === 1 ? 'class' : 'classes'}`,
    table(columns, rows),
    classes.length <= ROWS,
  );
}

/** A cell is as dark as its share of the row: what is right in blue, what is wrong in red. */
function matrixTable({ classes, counts }: ConfusionMatrixJson): string {
  const chosen = classes.length <= CLASSES ? [...classes.keys()] : mostMixedUp(counts);
  const names = chosen.map((k) => shortName(classes[k] as string));
  // Upright where they would make the table wider than the page.
  const tall = names.join('  ').length > 80 ? ' class="tall"' : '';
  const head = names.map((name) => `<th${tall}>${escapeHtml(name)}</th>`).join('');
  const rows = chosen.map((k, i) => {
    const row = counts[k] as readonly number[];
    const support = Math.max(
      1,
      row.reduce((a, b) => a + b, 0),
    );
    const cells = chosen.map((j) => shadedCell(row[j] as number, (row[j] as number) / support, j === k));
    return `<tr><th>${escapeHtml(names[i] as string)}</th>${cells.join('')}</tr>`;
  });
  const note =
    chosen.length < classes.length
      ? `The ${chosen.length} of ${count(classes.length)} classes with the most mistakes; report.json has all. `
      : '';
  return `<div class="wide"><table class="matrix"><thead><tr><th>true \\ predicted</th>${head}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>
<p class="note">${note}Samples; the colour is their share of the row: blue where right, red where wrong.</p>`;
}

function mostMixedUp(counts: ConfusionMatrixJson['counts']): number[] {
  const mistakes = new Float64Array(counts.length);
  counts.forEach((row, i) => {
    row.forEach((n, j) => {
      if (i === j || n === 0) return;
      mistakes[i] = (mistakes[i] as number) + n;
      mistakes[j] = (mistakes[j] as number) + n;
    });
  });
  const byMistakes = [...counts.keys()].sort((a, b) => (mistakes[b] as number) - (mistakes[a] as number) || a - b);
  return byMistakes.slice(0, CLASSES).sort((a, b) => a - b);
}

const shortName = (name: string): string => {
  const letters = [...name];
  return letters.length > NAME ? `${letters.slice(0, NAME - 1).join('')}…` : name;
};

function shadedCell(n: number, share: number, right: boolean): string {
  if (n === 0) return '<td></td>';
  // From white; a single mistake among thousands is still seen.
  const depth = Math.max(0.06, share);
  const full = right ? [20, 90, 170] : [190, 40, 30];
  const colour = full.map((c) => Math.round(255 + (c - 255) * depth)).join(',');
  return `<td style="background:rgb(${colour})${depth > 0.72 ? ';color:#fff' : ''}">${n}</td>`;
}
