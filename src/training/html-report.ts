/** A run's report as one HTML file that opens offline: no script, nothing fetched, every name from the data escaped. */
import { escapeHtml, htmlPage } from './html-page.ts';
import { type ClassificationReport, reportRows } from './metrics/index.ts';
import type { MetricsRecord } from './run/index.ts';
import type { ClassReport, HeadReport, ReportJson } from './run-report.ts';

const WIDTH = 640;
const HEIGHT = 200;

/**
 * Curve of the training loss, and by head its table; of classes the confusion matrix (rows: true class; columns: predicted class).
 * `metrics` are the lines of metrics.jsonl; those without a finite `loss` are left out.
 */
export function htmlReport(title: string, report: ReportJson, metrics: readonly MetricsRecord[]): string {
  const { accuracy, heads = {}, naiveBayes } = report;
  const own = accuracy === undefined ? undefined : (report as ReportJson & ClassReport);
  const sections = Object.entries(heads).map(
    ([field, head]) => `<h2>${escapeHtml(field)}</h2><p>loss ${head.loss.toFixed(4)}</p>\n${headSection(head)}`,
  );
  return htmlPage(
    title,
    `<p>${report.n} samples; loss ${report.loss.toFixed(4)}${own ? `; ${accuracyText(own)}` : ''}${
      naiveBayes === undefined ? '' : `; naive Bayes: ${naiveBayes.toFixed(4)}`
    }</p>
<h2>Training loss</h2>${curve(metrics)}
${own ? classSection(own) : sections.join('\n')}
<p>data sha256 ${escapeHtml(report.data ?? 'unknown')}<br>weights sha256 ${escapeHtml(report.weights ?? 'unknown')}</p>`,
  );
}

const accuracyText = ({ accuracy, interval, baseline }: ClassReport): string =>
  `accuracy ${accuracy.toFixed(4)} (95 %: ${interval.low.toFixed(4)} to ${interval.high.toFixed(4)}); ` +
  `always ${escapeHtml(baseline.label)}: ${baseline.accuracy.toFixed(4)}`;

function headSection(head: HeadReport): string {
  if (head.kind === 'class') return `<p>${accuracyText(head)}</p>\n${classSection(head)}`;
  if (head.kind === 'classes')
    return (
      `<p>a label applies from probability ${head.threshold} on; all labels right ${head.subsetAccuracy.toFixed(4)}; ` +
      `wrong answers ${head.hammingLoss.toFixed(4)}${
        head.meanAveragePrecision === null ? '' : `; mean average precision ${head.meanAveragePrecision.toFixed(4)}`
      }</p>\n${ratioTable(head.report)}`
    );
  const cell = (value: number | null): string => `<td>${value === null ? '-' : Number(value.toPrecision(5))}</td>`;
  const rows = Object.entries(head.numbers).map(
    ([name, { n, rmse, mae, r2, pearson, spearman, baseline }]) =>
      `<tr><th>${escapeHtml(name)}</th>${[rmse, mae, r2, pearson, spearman, n].map(cell).join('')}</tr>
<tr><th>always the mean</th>${[baseline.rmse, baseline.mae].map(cell).join('')}</tr>`,
  );
  const columns = ['RMSE', 'MAE', 'R2', 'Pearson', 'Spearman', 'samples'].map((name) => `<th>${name}</th>`).join('');
  return `<table><tr><th></th>${columns}</tr>\n${rows.join('\n')}</table>`;
}

function classSection({ report, confusion }: ClassReport): string {
  const head = confusion.classes.map((name) => `<th>${escapeHtml(name)}</th>`).join('');
  const matrix = confusion.counts.map(
    (counts, i) =>
      `<tr><th>${escapeHtml(confusion.classes[i] as string)}</th>${counts.map((n) => `<td>${n}</td>`).join('')}</tr>`,
  );
  return `<h2>Classes</h2>${ratioTable(report)}
<h2>Confusion matrix</h2><table><tr><th>true \\ predicted</th>${head}</tr>
${matrix.join('\n')}</table>`;
}

function ratioTable(report: ClassificationReport): string {
  const { classes, micro, macro, weighted, samples } = reportRows(report);
  const averages = { 'micro avg': micro, 'macro avg': macro, 'weighted avg': weighted, 'samples avg': samples };
  const rows = [...classes, ...Object.entries(averages)].flatMap(([name, row]) =>
    row
      ? `<tr><th>${escapeHtml(name)}</th>${(['precision', 'recall', 'f1-score'] as const)
          .map((key) => `<td>${row[key].toFixed(4)}</td>`)
          .join('')}<td>${row.support}</td></tr>`
      : [],
  );
  return `<table><tr><th></th><th>precision</th><th>recall</th><th>f1-score</th><th>support</th></tr>
${rows.join('\n')}</table>`;
}

function curve(metrics: readonly MetricsRecord[]): string {
  const points = metrics.flatMap(({ step, loss }) =>
    typeof step === 'number' && typeof loss === 'number' && Number.isFinite(loss) ? [[step, loss] as const] : [],
  );
  if (points.length === 0) return '<p>No steps were recorded.</p>';
  const last = points.reduce((most, [step]) => Math.max(most, step), 1);
  const top = points.reduce((most, [, loss]) => Math.max(most, loss), 0) || 1;
  const line = points
    .map(([step, loss]) => `${((step / last) * WIDTH).toFixed(1)},${(HEIGHT - (loss / top) * HEIGHT).toFixed(1)}`)
    .join(' ');
  return `<svg width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="training loss"><polyline fill="none" stroke="#06c" points="${line}"/></svg>
<p>steps 1 to ${last}; loss from 0 to ${top.toFixed(4)}</p>`;
}
