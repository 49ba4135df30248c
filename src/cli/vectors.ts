/** `cambium probe`, `label`, `search` and `project`: what is in files of features. */
import { basename } from 'node:path';
import { ConfigError, DataError, printable } from '../base/errors.ts';
import {
  applyLabels,
  clusterScores,
  type FeatureTable,
  kMeans,
  knnClassify,
  type LabelMethod,
  linearProbe,
  type Metric,
  type Neighbour,
  type ProjectionMethod,
  project,
  readFeatures,
  rowsOf,
  similaritySearch,
} from '../features/index.ts';
import { writeFileAtomic } from '../io/index.ts';
import { escapeHtml, htmlPage } from '../training/html-page.ts';
import { csvField, labelsCsv } from '../training/labels-csv.ts';
import { ConfusionMatrix, classificationReport, formatReport, wilsonInterval } from '../training/metrics/index.ts';
import { percent } from '../training/progress.ts';
import { scatterChart } from '../training/scatter-chart.ts';
import type { CommonOptions } from './options.ts';
import { note, print, printJson } from './output.ts';

export interface ProbeOptions extends CommonOptions {
  test?: string;
  method: 'linear' | 'knn' | 'kmeans';
  k?: number;
  metric: Metric;
  l2?: number;
  seed?: number;
}

/** Fits on a file of features; measures on another, or on every fifth sample of the same. */
export async function probeCommand(file: string, options: ProbeOptions): Promise<void> {
  const { method, metric, l2, seed, json = false } = options;
  const all = await readFeatures(file);
  if (method === 'kmeans')
    return clusters(all, { k: options.k ?? (all.labels ? (all.classes ?? namesOf(all)).length : 10), seed, json });
  const rows = Array.from({ length: all.shape[0] }, (_, i) => i);
  const part = (keep: (i: number) => boolean): FeatureTable => rowsOf(all, rows.filter(keep));
  const [train, test] = options.test
    ? [all, await readFeatures(options.test)]
    : [part((i) => i % 5 !== 4), part((i) => i % 5 === 4)];
  if (!test.labels)
    throw new DataError('LABEL_MISSING', `${printable(options.test ?? file)} has no labels to measure against`);
  const { predictions, accuracy } =
    method === 'linear'
      ? await linearProbe(train, test, l2 === undefined ? {} : { l2 })
      : await knnClassify(train, test, { k: options.k ?? 5, metric });
  const classes = train.classes ?? namesOf(train, test);
  const confusion = new ConfusionMatrix(classes);
  confusion.update(predictions, test.labels);
  const report = classificationReport(confusion);
  if (json) return printJson({ method, accuracy, trained: train.shape[0], measured: test.shape[0], report });
  await print(formatReport(report, { digits: 4 }));
}

const namesOf = (...tables: readonly FeatureTable[]): string[] => {
  const most = tables.reduce((top, { labels }) => labels?.reduce((a, b) => Math.max(a, b), top) ?? top, 0);
  return Array.from({ length: most + 1 }, (_, i) => String(i));
};

async function clusters(
  table: FeatureTable,
  { k, seed, json }: { k: number; seed: number | undefined; json: boolean },
): Promise<void> {
  const found = await kMeans(table, { k, ...(seed !== undefined && { seed }) });
  const scores = table.labels && clusterScores(found.clusters, table.labels);
  if (json)
    return printJson({
      method: 'kmeans',
      k,
      inertia: found.inertia,
      iterations: found.iterations,
      ...scores,
      clusters: [...found.clusters],
    });
  const sizes = Array.from({ length: k }, (_, c) => found.clusters.reduce((n, at) => n + Number(at === c), 0));
  await print(
    `${k} clusters of ${sizes.join(', ')} samples; inertia ${found.inertia.toFixed(2)} after ${found.iterations} rounds`,
  );
  if (scores)
    await print(`purity ${scores.purity.toFixed(4)}, NMI ${scores.nmi.toFixed(4)}, ARI ${scores.ari.toFixed(4)}`);
}

export interface LabelCommandOptions extends CommonOptions {
  out: string;
  method: LabelMethod;
  k?: number;
  metric: Metric;
  l2?: number;
}

/** Labels of one file's samples for those of another; measured where these have labels too. */
export async function labelCommand(known: string, asked: string, options: LabelCommandOptions): Promise<void> {
  const { out, method, k, metric, l2, json = false } = options;
  const foreign = method === 'linear' ? k !== undefined && '-k' : l2 !== undefined && '--l2';
  if (foreign)
    throw new ConfigError('OPTION_INVALID', `option ${foreign} is not for --method ${method}`, { field: foreign });
  const [from, to] = [await readFeatures(known), await readFeatures(asked)];
  const applied = await applyLabels(from, to, {
    method,
    metric,
    ...(k !== undefined && { k }),
    ...(l2 !== undefined && { l2 }),
  });
  await writeFileAtomic(out, labelsCsv(applied));
  const samples = to.shape[0];
  const right = to.labels?.reduce((n, label, i) => n + Number(label === applied.predictions[i]), 0);
  const interval = right === undefined ? undefined : wilsonInterval(right, samples);
  if (json)
    return printJson({ out, method, trained: from.shape[0], labelled: samples, accuracy: applied.accuracy, interval });
  if (interval && applied.accuracy !== undefined)
    await print(
      `accuracy ${percent(applied.accuracy)} of ${samples} (95 %: ${(100 * interval.low).toFixed(2)}-${(100 * interval.high).toFixed(2)})`,
    );
  await note(`saved: ${out}: ${samples} labels by ${method}, from ${from.shape[0]} samples`);
}

export interface SearchCommandOptions extends CommonOptions {
  id?: number;
  query?: string;
  k: number;
  metric: Metric;
}

/** Nearest to a sample of the file, or to each vector of another. */
export async function searchCommand(file: string, options: SearchCommandOptions): Promise<void> {
  const { id, query, k, metric, json = false } = options;
  if ((id === undefined) === (query === undefined))
    throw new ConfigError('USAGE', 'search needs --id, a sample of the file, or --query, a file of new features', {
      field: id === undefined ? '--id' : '--query',
    });
  const table = await readFeatures(file);
  if (query !== undefined) return searchAll(table, await readFeatures(query), { k, metric, json });
  const row = table.ids.indexOf(id as number);
  if (row < 0)
    throw new DataError('SAMPLE_UNKNOWN', `${printable(file)} has no sample ${id}`, {
      file,
      field: '--id',
      expected: `one of ${table.ids.length} ids`,
      got: id,
      hint: idsText(table.ids),
    });
  const [found = []] = await similaritySearch(table, rowsOf(table, [row]), { k, metric, excludeSelf: true });
  if (json) return printJson(found.map((neighbour) => named(table, neighbour)));
  for (const neighbour of found) await print(neighbourText(table, neighbour));
}

function idsText(ids: Int32Array): string {
  const [low, high] = [ids.reduce((a, b) => Math.min(a, b)), ids.reduce((a, b) => Math.max(a, b))];
  return `its ${ids.length} ids lie between ${low} and ${high}`;
}

async function searchAll(
  table: FeatureTable,
  queries: FeatureTable,
  { k, metric, json }: { k: number; metric: Metric; json: boolean },
): Promise<void> {
  const found = await similaritySearch(table, queries, { k, metric });
  for (const [i, neighbours] of found.entries()) {
    const query = queries.ids[i] as number;
    if (json) await printJson({ query, neighbours: neighbours.map((neighbour) => named(table, neighbour)) });
    else await print(`${query}: ${neighbours.map((neighbour) => neighbourText(table, neighbour)).join(', ')}`);
  }
}

const named = ({ classes, names }: FeatureTable, { label, ...rest }: Neighbour) => ({
  ...rest,
  ...(names && { name: names[rest.row] as string }),
  label: label === undefined ? undefined : (classes?.[label] ?? String(label)),
});

function neighbourText(table: FeatureTable, neighbour: Neighbour): string {
  const { id, score, label, name } = named(table, neighbour);
  return [id, score.toFixed(4), label, name].filter((part) => part !== undefined).join('  ');
}

export interface ProjectCommandOptions extends CommonOptions {
  method: ProjectionMethod;
  out: string;
  neighbours?: number;
  seed?: number;
}

const mapKinds = ['.csv', '.json', '.html'] as const;

/** .csv with a header, .json: an array of points, .html: a page with the map. */
export async function projectCommand(file: string, options: ProjectCommandOptions): Promise<void> {
  const { method, out, neighbours, seed, json = false } = options;
  const kind = mapKinds.find((end) => out.toLowerCase().endsWith(end));
  if (!kind)
    throw new ConfigError('FORMAT_UNKNOWN', `a map cannot be written to ${printable(out)}`, {
      field: '--out',
      got: out,
      expected: mapKinds.join(', '),
      hint: 'end the name in .csv, .json or .html',
    });
  const table = await readFeatures(file);
  const { points, explained } = await project(table, {
    method,
    ...(neighbours !== undefined && { neighbours }),
    ...(seed !== undefined && { seed }),
  });
  const rows = Array.from(table.ids, (id, i) => {
    const label = table.labels?.[i];
    return {
      id,
      ...(table.names && { name: table.names[i] as string }),
      label: label === undefined ? '' : (table.classes?.[label] ?? String(label)),
      x: points[2 * i] as number,
      y: points[2 * i + 1] as number,
    };
  });
  const head = `id,${table.names ? 'name,' : ''}label,x,y\n`;
  const line = ({ id, name, label, x, y }: (typeof rows)[number]): string =>
    `${id},${name === undefined ? '' : `${csvField(name)},`}${csvField(label)},${x},${y}\n`;
  const share = explained
    ? ` (${explained.map((v) => `${(100 * v).toFixed(1)} %`).join(' and ')} of the variance)`
    : '';
  const text =
    kind === '.json'
      ? `${JSON.stringify(rows)}\n`
      : kind === '.csv'
        ? head + rows.map(line).join('')
        : mapPage(file, table, rows, `${rows.length} points by ${method}${share}`);
  await writeFileAtomic(out, text);
  if (json) return printJson({ out, method, samples: rows.length, ...(explained && { explained }) });
  await note(`saved: ${out}: ${rows.length} points by ${method}${share}`);
}

function mapPage(
  file: string,
  { classes, labels, origin }: FeatureTable,
  rows: readonly { id: number; name?: string; label: string; x: number; y: number }[],
  caption: string,
): string {
  const points = rows.map(({ id, name, label, x, y }, i) => ({
    x,
    y,
    name: [name ?? `sample ${id}`, label].filter((part) => part !== '').join(': '),
    label: labels?.[i],
  }));
  const from = origin
    ? [origin.model, origin.layer, origin.weights && `weights ${origin.weights.slice(0, 12)}`]
        .filter(Boolean)
        .join(', ')
    : '';
  const body = `<p>${escapeHtml(caption)}${from === '' ? '' : `<br><span class="note">${escapeHtml(from)}</span>`}</p>`;
  return htmlPage(`Map of ${basename(file)}`, body + scatterChart(points, classes ? { classes } : {}));
}
