/** A run's report as one HTML file that opens offline: no script, nothing fetched, every name from the data escaped. */
import { reportRows } from './metrics/index.ts';
import type { MetricsRecord } from './run/index.ts';
import type { ReportJson } from './run-report.ts';

// Bidi overrides and separators would let a class name rearrange the page.
const UNSAFE = /[&<>"'\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const NAMED: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escapeHtml = (text: string): string =>
  text.replace(UNSAFE, (c) => NAMED[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

const WIDTH = 640;
const HEIGHT = 200;

/**
 * Curve of the training loss, per-class table and confusion matrix (rows: true class; columns: predicted class).
 * `metrics` are the lines of metrics.jsonl; those without a finite `loss` are left out.
 */
export function htmlReport(title: string, report: ReportJson, metrics: readonly MetricsRecord[]): string {
  const { classes, macro, weighted } = reportRows(report.report);
  const rows = [...classes, ['macro avg', macro] as const, ['weighted avg', weighted] as const].map(
    ([name, row]) =>
      `<tr><th>${escapeHtml(name)}</th>${(['precision', 'recall', 'f1-score'] as const)
        .map((key) => `<td>${row[key].toFixed(4)}</td>`)
        .join('')}<td>${row.support}</td></tr>`,
  );
  const head = report.confusion.classes.map((name) => `<th>${escapeHtml(name)}</th>`).join('');
  const matrix = report.confusion.counts.map(
    (counts, i) =>
      `<tr><th>${escapeHtml(report.confusion.classes[i] as string)}</th>${counts.map((n) => `<td>${n}</td>`).join('')}</tr>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}th,td{padding:2px 8px;text-align:right}</style>
</head><body><h1>${escapeHtml(title)}</h1>
<p>Accuracy ${report.accuracy.toFixed(4)} on ${report.n} samples (95 %: ${report.interval.low.toFixed(4)} to
${report.interval.high.toFixed(4)}); loss ${report.loss.toFixed(4)}; always ${escapeHtml(report.baseline.label)}: ${report.baseline.accuracy.toFixed(4)}${
    report.naiveBayes === undefined ? '' : `; naive Bayes: ${report.naiveBayes.toFixed(4)}`
  }</p>
<h2>Training loss</h2>${curve(metrics)}
<h2>Classes</h2><table><tr><th></th><th>precision</th><th>recall</th><th>f1-score</th><th>support</th></tr>
${rows.join('\n')}</table>
<h2>Confusion matrix</h2><table><tr><th>true \\ predicted</th>${head}</tr>
${matrix.join('\n')}</table>
<p>data sha256 ${escapeHtml(report.data ?? 'unknown')}<br>weights sha256 ${escapeHtml(report.weights ?? 'unknown')}</p>
</body></html>
`;
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
