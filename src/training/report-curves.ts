/** A run's curves for its page: losses, measures and learning rate, and the table of its epochs. */
import type { Measures } from './events.ts';
import { details, escapeHtml, plural, table } from './html-page.ts';
import { type Line, lineChart } from './line-chart.ts';
import { measureText } from './progress.ts';
import type { MetricsRecord } from './run/index.ts';
import type { EpochRecord } from './train-state.ts';

/** Points a line has at most; more are averaged: a picture has no room for them. */
const MOST = 300;
/** Measures of many heads would hide one another. */
const LINES = 6;
/** Rows that are shown unasked. */
const ROWS = 20;

export interface Curves {
  /** Lines of metrics.jsonl; those without a finite `loss` are left out of the curve of the steps. */
  readonly metrics: readonly MetricsRecord[];
  readonly history: readonly EpochRecord[];
  /** The epoch that was kept. */
  readonly best?: number | undefined;
}

/** Charts of a run, as HTML. */
export function curves({ metrics, history, best }: Curves): string {
  const mark = best === undefined || history.length < 2 ? undefined : { x: best, name: 'kept' };
  const losses = seriesOf(metrics, 'loss');
  const charts = [
    lineChart([thinned('training loss', losses)], {
      title: titleOf('Training loss per step', losses.length),
      x: 'step',
    }),
    ...(history.length > 1 ? byEpoch(history, mark) : []),
  ];
  const rates = seriesOf(metrics, 'lr');
  // A constant rate stands in the recipe.
  if (rates.some(([, lr]) => lr !== rates[0]?.[1]))
    charts.push(
      lineChart([{ name: 'learning rate', points: thinned('', rates).points }], { title: 'Learning rate', x: 'step' }),
    );
  return charts.join('\n');
}

const titleOf = (title: string, points: number): string =>
  points > MOST ? `${title} (means of ${Math.ceil(points / MOST).toLocaleString('en')} steps, and their range)` : title;

function byEpoch(history: readonly EpochRecord[], mark: { x: number; name: string } | undefined): string[] {
  const points = (of: (record: EpochRecord) => number | undefined): Line['points'] =>
    history.flatMap((record) => {
      const value = of(record);
      return value === undefined ? [] : [[record.epoch, value] as const];
    });
  const losses: Line[] = [
    { name: 'training (mean over the epoch)', points: points(({ trainLoss }) => trainLoss) },
    { name: 'validation', points: points(({ validation }) => validation?.loss) },
  ];
  const groups = new Map<string, string[]>();
  for (const name of measureNames(history)) {
    const title = groupOf(name);
    if (title !== undefined) groups.set(title, [...(groups.get(title) ?? []), name]);
  }
  const measured = [...groups].map(([title, names]) =>
    lineChart(
      names.slice(0, LINES).map((name) => ({ name, points: points(({ validation }) => validation?.[name]) })),
      {
        title: `Validation: ${names.length > 2 ? title : names.join(' and ')}${names.length > LINES ? ` (the first ${LINES} of ${names.length})` : ''}`,
        x: 'epoch',
        mark,
        ...(title === 'shares right' && { format: (y: number) => `${Number((100 * y).toFixed(2))} %` }),
      },
    ),
  );
  return [lineChart(losses, { title: 'Loss per epoch', x: 'epoch', mark }), ...measured];
}

/** Measures of one unit are drawn together; losses have a chart of their own, counts none. */
function groupOf(name: string): string | undefined {
  const last = name.split('.').at(-1) as string;
  if (/(accuracy|F1|Precision)$/i.test(last)) return 'shares right';
  if (/^(rmse|mae)$/.test(last)) return 'errors';
  if (last === 'r2') return 'R2';
  return last === 'perplexity' ? 'perplexity' : undefined;
}

const measureNames = (history: readonly EpochRecord[]): string[] => [
  ...new Set(history.flatMap(({ validation }) => Object.keys(validation ?? {}))),
];

/** Finite values of a field by step. */
const seriesOf = (metrics: readonly MetricsRecord[], field: string): (readonly [number, number])[] =>
  metrics.flatMap(({ step, [field]: value }) =>
    typeof step === 'number' && typeof value === 'number' && Number.isFinite(value) ? [[step, value] as const] : [],
  );

/** The line as it is, or means of as many neighbours as leave `MOST` points, with their least and greatest. */
export function thinned(name: string, points: Line['points']): Line {
  if (points.length <= MOST) return { name, points };
  const size = Math.ceil(points.length / MOST);
  const line: (readonly [number, number])[] = [];
  const band: (readonly [number, number, number])[] = [];
  for (let from = 0; from < points.length; from += size) {
    const part = points.slice(from, from + size);
    let [x, y, low, high] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const [step, value] of part) {
      [x, y] = [x + step, y + value];
      [low, high] = [Math.min(low, value), Math.max(high, value)];
    }
    const middle = x / part.length;
    line.push([middle, y / part.length]);
    band.push([middle, low, high]);
  }
  return { name, points: line, band };
}

/** A row an epoch, as HTML; empty where there were none. */
export function epochTable(history: readonly EpochRecord[], best: number | undefined): string {
  if (history.length === 0) return '';
  // The losses of single heads are in metrics.jsonl.
  const names = measureNames(history).filter((name) => !/(^|\.)loss$/.test(name) && name !== 'predictions');
  const columns = ['epoch', 'steps', 'training loss', 'validation loss', ...names, 'learning rate', ''];
  const rows = history.map(({ epoch, step, trainLoss, lr, validation }) => [
    String(epoch),
    step.toLocaleString('en'),
    trainLoss.toFixed(4),
    measured(validation, 'loss'),
    ...names.map((name) => measured(validation, name)),
    String(Number(lr.toPrecision(3))),
    epoch === best ? '<b>kept</b>' : '',
  ]);
  return details(plural(history.length, 'epoch'), table(columns, rows), history.length <= ROWS);
}

const measured = (measures: Measures | undefined, name: string): string => {
  const value = measures?.[name];
  return value === undefined ? '-' : escapeHtml(measureText(name, value));
};
